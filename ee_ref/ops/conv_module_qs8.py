from __future__ import annotations

import numpy as np

from ._view import after_past, reach_ahead, windows
from .depthwise_conv_exact import depthwise_conv_exact
from .glu_exact import glu_exact
from .layer_norm_exact import layer_norm_exact
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8
from .silu_exact import silu_exact

LINE = (
    "x (T D), norm_weight (D), norm_bias (D), in_weight (2D D) int8, in_weight_scale (2D), "
    "in_bias (2D), depthwise_weight (K D), depthwise_bias (D), out_weight (D D) int8, "
    "out_weight_scale (D), out_bias (D), eps, ahead?, chunk, past? (P D) -> y (T D), gated (T D); "
    "K odd, ahead below K, chunk natural"
)


def conv_module_qs8(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, in_weight: np.ndarray,
    in_weight_scale: np.ndarray, in_bias: np.ndarray, depthwise_weight: np.ndarray,
    depthwise_bias: np.ndarray, out_weight: np.ndarray, out_weight_scale: np.ndarray,
    out_bias: np.ndarray, eps: float = 1e-5, ahead: int | None = None, chunk: int = 0,
    past: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`conv_module`, the linears' inputs quantised.

    x (T, D) float32, norm (D,), in (2D, D) int8, (2D,) and (2D,), depthwise (kernel, D) float32 and
    (D,), out (D, D) int8, (D,) and (D,), past (P, D) float32: the gated rows of the frames before x
    -> (T, D), gated (T, D), float32
    """
    normed = layer_norm_exact(x, norm_weight, norm_bias, eps)
    gated = glu_exact(linear_qs8(*quantize_qs8(normed), in_weight, in_weight_scale, in_bias))
    seen = after_past(past, gated)
    behind = len(depthwise_weight) - 1 - reach_ahead(ahead, len(depthwise_weight))
    convolved = np.empty_like(gated)
    for own, window in windows(len(x), chunk, behind, len(seen) - len(x)):
        before = window.stop - window.start - (own.stop - own.start)
        convolved[own] = depthwise_conv_exact(
            seen[window], depthwise_weight, depthwise_bias, ahead, before)
    hidden = silu_exact(convolved)
    return linear_qs8(*quantize_qs8(hidden), out_weight, out_weight_scale, out_bias), gated
