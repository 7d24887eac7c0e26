from __future__ import annotations

import numpy as np

from ._arrays import check, padded, pointer, scratch
from ._lib import lib, ops, team


def feed_forward(
    x: np.ndarray,
    norm_weight: np.ndarray,
    norm_bias: np.ndarray,
    up_weight: np.ndarray,
    up_bias: np.ndarray,
    down_weight: np.ndarray,
    down_bias: np.ndarray,
    eps: float = 1e-5,
) -> np.ndarray:
    """See `ee_ref.ops.feed_forward`."""
    rows, dim = check("x", x, None, None)
    check("norm_weight", norm_weight, dim)
    check("norm_bias", norm_bias, dim)
    ff, _ = check("up_weight", up_weight, None, dim)
    check("up_bias", up_bias, ff)
    check("down_weight", down_weight, dim, ff)
    check("down_bias", down_bias, dim)

    out = np.empty_like(x)
    up_weight, down_weight = padded(up_weight), padded(down_weight)
    work = scratch(lib.ee_feed_forward_f32_scratch(rows, dim, ff, team()))
    lib.ee_feed_forward_f32_c(
        pointer(out), pointer(x), pointer(norm_weight), pointer(norm_bias), pointer(up_weight),
        pointer(up_bias), pointer(down_weight), pointer(down_bias), rows, dim, ff, eps,
        pointer(work), ops(), team(),
    )
    return out
