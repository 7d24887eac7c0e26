from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._arrays import check, padded, pointer, scratch
from ._lib import lib, ops, team


def conv_module(
    x: np.ndarray,
    norm_weight: np.ndarray,
    norm_bias: np.ndarray,
    in_weight: np.ndarray,
    in_bias: np.ndarray,
    depthwise_weight: np.ndarray,
    depthwise_bias: np.ndarray,
    out_weight: np.ndarray,
    out_bias: np.ndarray,
    eps: float = 1e-5,
) -> np.ndarray:
    """See `ee_ref.ops.conv_module`."""
    rows, dim = check("x", x, None, None)
    check("norm_weight", norm_weight, dim)
    check("norm_bias", norm_bias, dim)
    check("in_weight", in_weight, 2 * dim, dim)
    check("in_bias", in_bias, 2 * dim)
    kernel, _ = check("depthwise_weight", depthwise_weight, None, dim)
    check("depthwise_bias", depthwise_bias, dim)
    check("out_weight", out_weight, dim, dim)
    check("out_bias", out_bias, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"depthwise_weight: expected an odd number of taps, found {kernel}")

    out = np.empty_like(x)
    in_weight, out_weight = padded(in_weight), padded(out_weight)
    depthwise_weight = padded(depthwise_weight)
    work = scratch(lib.ee_conv_module_f32_scratch(rows, dim, kernel, team()))
    lib.ee_conv_module_f32_c(
        pointer(out), pointer(x), pointer(norm_weight), pointer(norm_bias), pointer(in_weight),
        pointer(in_bias), pointer(depthwise_weight), pointer(depthwise_bias),
        pointer(out_weight), pointer(out_bias), rows, dim, kernel, eps, pointer(work), ops(),
        team(),
    )
    return out
