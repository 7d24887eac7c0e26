from __future__ import annotations

import numpy as np

from .layer_norm_exact import layer_norm_exact
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8
from .silu_exact import silu_exact

LINE = (
    "x (T D), norm_weight (D), norm_bias (D), up_weight (H D) int8, up_weight_scale (H), up_bias "
    "(H), down_weight (D H) int8, down_weight_scale (D), down_bias (D), eps -> y (T D)"
)


def feed_forward_qs8(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, up_weight: np.ndarray,
    up_weight_scale: np.ndarray, up_bias: np.ndarray, down_weight: np.ndarray,
    down_weight_scale: np.ndarray, down_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """Layer norm -> linear up -> SiLU -> linear down, the inputs of both linears quantised.

    x (T, D) float32, norm (D,), up (ff, D) int8, (ff,) and (ff,), down (D, ff) int8, (D,) and (D,)
    -> (T, D) float32
    """
    normed = layer_norm_exact(x, norm_weight, norm_bias, eps)
    hidden = silu_exact(linear_qs8(*quantize_qs8(normed), up_weight, up_weight_scale, up_bias))
    return linear_qs8(*quantize_qs8(hidden), down_weight, down_weight_scale, down_bias)
