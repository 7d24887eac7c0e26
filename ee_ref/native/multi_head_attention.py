from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ._arrays import check, padded, pointer, scratch
from ._lib import lib, ops, team


def multi_head_attention(
    x: np.ndarray,
    in_weight: np.ndarray,
    in_bias: np.ndarray,
    out_weight: np.ndarray,
    out_bias: np.ndarray,
    heads: int,
) -> np.ndarray:
    """See `ee_ref.ops.multi_head_attention`."""
    rows, dim = check("x", x, None, None)
    check("in_weight", in_weight, 3 * dim, dim)
    check("in_bias", in_bias, 3 * dim)
    check("out_weight", out_weight, dim, dim)
    check("out_bias", out_bias, dim)
    if heads < 1 or dim % heads:
        raise ArgumentError(f"heads: expected a divisor of {dim}, found {heads}")

    out = np.empty_like(x)
    in_weight, out_weight = padded(in_weight), padded(out_weight)
    work = scratch(lib.ee_multi_head_attention_f32_scratch(rows, dim, heads, team()))
    lib.ee_multi_head_attention_f32_c(
        pointer(out), pointer(x), pointer(in_weight), pointer(in_bias), pointer(out_weight),
        pointer(out_bias), rows, dim, heads, pointer(work), ops(), team(),
    )
    return out
