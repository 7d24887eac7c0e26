from __future__ import annotations

import numpy as np

from .depthwise_conv_qs8 import depthwise_conv_qs8
from .glu_qs8 import glu_qs8
from .layer_norm_qs8 import layer_norm_qs8
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8
from .silu_qs8 import silu_qs8


def conv_module_qs8(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, in_weight: np.ndarray,
    in_weight_scale: np.ndarray, in_bias: np.ndarray, depthwise_weight: np.ndarray,
    depthwise_bias: np.ndarray, out_weight: np.ndarray, out_weight_scale: np.ndarray,
    out_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """Layer norm -> linear -> GLU -> depthwise -> SiLU -> linear, the linears' inputs quantised.

    x (T, D) float32, norm (D,), in (2D, D) int8, (2D,) and (2D,), depthwise (kernel, D) float32 and
    (D,), out (D, D) int8, (D,) and (D,) -> (T, D) float32
    """
    normed = layer_norm_qs8(x, norm_weight, norm_bias, eps)
    gated = glu_qs8(linear_qs8(*quantize_qs8(normed), in_weight, in_weight_scale, in_bias))
    hidden = silu_qs8(depthwise_conv_qs8(gated, depthwise_weight, depthwise_bias))
    return linear_qs8(*quantize_qs8(hidden), out_weight, out_weight_scale, out_bias)
