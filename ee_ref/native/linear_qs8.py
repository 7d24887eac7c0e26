from __future__ import annotations

import numpy as np

from ._arrays import check, check_matrix, padded_int8, pointer
from ._lib import ops_qs8


def linear_qs8(
    q: np.ndarray, scale: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    """See `ee_ref.ops.linear_qs8`."""
    rows, ins = check("q", q, None, None, dtype=np.int8)
    check("scale", scale, rows)
    outs = check_matrix("weight", weight, weight_scale, bias, None, ins)

    out = np.empty((rows, outs), np.float32)
    q, weight = padded_int8(q), padded_int8(weight)
    ops_qs8().linear(pointer(out), pointer(q), pointer(scale), pointer(weight),
                     pointer(weight_scale), pointer(bias), rows, ins, outs, outs, q.shape[1],
                     weight.shape[1])
    return out
