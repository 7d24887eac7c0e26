from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._arrays import check, check_matrix, padded, padded_int8, pointer, scratch_qs8
from ._lib import lib, ops_qs8, team


def conv_module_qs8(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, in_weight: np.ndarray,
    in_weight_scale: np.ndarray, in_bias: np.ndarray, depthwise_weight: np.ndarray,
    depthwise_bias: np.ndarray, out_weight: np.ndarray, out_weight_scale: np.ndarray,
    out_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """See `ee_ref.ops.conv_module_qs8`."""
    rows, dim = check("x", x, None, None)
    check("norm_weight", norm_weight, dim)
    check("norm_bias", norm_bias, dim)
    check_matrix("in_weight", in_weight, in_weight_scale, in_bias, 2 * dim, dim)
    kernel, _ = check("depthwise_weight", depthwise_weight, None, dim)
    check("depthwise_bias", depthwise_bias, dim)
    check_matrix("out_weight", out_weight, out_weight_scale, out_bias, dim, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"depthwise_weight: expected an odd number of taps, found {kernel}")

    out = np.empty_like(x)
    in_weight, out_weight = padded_int8(in_weight), padded_int8(out_weight)
    depthwise_weight = padded(depthwise_weight)
    work = scratch_qs8(lib.ee_conv_module_qs8_scratch(rows, dim, kernel, team()))
    lib.ee_conv_module_qs8_c(
        pointer(out), pointer(x), pointer(norm_weight), pointer(norm_bias), pointer(in_weight),
        pointer(in_weight_scale), pointer(in_bias), pointer(depthwise_weight),
        pointer(depthwise_bias), pointer(out_weight), pointer(out_weight_scale),
        pointer(out_bias), rows, dim, kernel, eps, work, ops_qs8(), team(),
    )
    return out
