from __future__ import annotations

import numpy as np

from ._arrays import check, check_matrix, padded_int8, pointer
from ._lib import lib, ops_qs8, team


def exit_head_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """See `ee_ref.ops.exit_head_qs8`."""
    rows, dim = check("x", x, None, None)
    vocab = check_matrix("weight", weight, weight_scale, bias, None, dim)

    out = np.empty((rows, vocab), np.float32)
    weight = padded_int8(weight)
    lib.ee_exit_head_qs8_c(
        pointer(out), pointer(x), pointer(weight), pointer(weight_scale), pointer(bias), rows, dim,
        vocab, ops_qs8(), team(),
    )
    return out
