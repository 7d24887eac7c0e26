from __future__ import annotations

import numpy as np

from ._arrays import check, check_matrix, padded_int8, pointer, scratch_qs8
from ._lib import lib, ops_qs8, team


def feed_forward_qs8(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, up_weight: np.ndarray,
    up_weight_scale: np.ndarray, up_bias: np.ndarray, down_weight: np.ndarray,
    down_weight_scale: np.ndarray, down_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """See `ee_ref.ops.feed_forward_qs8`."""
    rows, dim = check("x", x, None, None)
    check("norm_weight", norm_weight, dim)
    check("norm_bias", norm_bias, dim)
    ff = check_matrix("up_weight", up_weight, up_weight_scale, up_bias, None, dim)
    check_matrix("down_weight", down_weight, down_weight_scale, down_bias, dim, ff)

    out = np.empty_like(x)
    up_weight, down_weight = padded_int8(up_weight), padded_int8(down_weight)
    work = scratch_qs8(lib.ee_feed_forward_qs8_scratch(rows, dim, ff, team()))
    lib.ee_feed_forward_qs8_c(
        pointer(out), pointer(x), pointer(norm_weight), pointer(norm_bias), pointer(up_weight),
        pointer(up_weight_scale), pointer(up_bias), pointer(down_weight),
        pointer(down_weight_scale), pointer(down_bias), rows, dim, ff, eps,
        work, ops_qs8(), team(),
    )
    return out
