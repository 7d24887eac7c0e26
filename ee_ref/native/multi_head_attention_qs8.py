from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ._arrays import check, check_matrix, padded_int8, pointer, scratch_qs8
from ._lib import lib, ops_qs8, team


def multi_head_attention_qs8(
    x: np.ndarray, in_weight: np.ndarray, in_weight_scale: np.ndarray, in_bias: np.ndarray,
    out_weight: np.ndarray, out_weight_scale: np.ndarray, out_bias: np.ndarray, heads: int,
) -> np.ndarray:
    """See `ee_ref.ops.multi_head_attention_qs8`."""
    rows, dim = check("x", x, None, None)
    check_matrix("in_weight", in_weight, in_weight_scale, in_bias, 3 * dim, dim)
    check_matrix("out_weight", out_weight, out_weight_scale, out_bias, dim, dim)
    if heads < 1 or dim % heads:
        raise ArgumentError(f"heads: expected a divisor of {dim}, found {heads}")

    out = np.empty_like(x)
    in_weight, out_weight = padded_int8(in_weight), padded_int8(out_weight)
    work = scratch_qs8(lib.ee_multi_head_attention_qs8_scratch(rows, dim, heads, team()))
    lib.ee_multi_head_attention_qs8_c(
        pointer(out), pointer(x), pointer(in_weight), pointer(in_weight_scale), pointer(in_bias),
        pointer(out_weight), pointer(out_weight_scale), pointer(out_bias), rows, dim, heads,
        work, ops_qs8(), team(),
    )
    return out
