from __future__ import annotations

import numpy as np

from ._view import after_past, reach_ahead, windows
from .depthwise_conv import depthwise_conv
from .glu import glu
from .layer_norm import layer_norm
from .linear import linear
from .silu import silu

LINE = (
    "x (T D), norm_weight (D), norm_bias (D), in_weight (2D D), in_bias (2D), depthwise_weight (K "
    "D), depthwise_bias (D), out_weight (D D), out_bias (D), eps, ahead?, chunk, past? (P D) -> y "
    "(T D), gated (T D); K odd, ahead below K, chunk natural"
)


def conv_module(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, in_weight: np.ndarray,
    in_bias: np.ndarray, depthwise_weight: np.ndarray, depthwise_bias: np.ndarray,
    out_weight: np.ndarray, out_bias: np.ndarray, eps: float = 1e-5, ahead: int | None = None,
    chunk: int = 0, past: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Layer norm -> linear -> GLU -> depthwise -> SiLU -> linear; also what the GLU gives.

    The depthwise convolution sees nothing after the frame's chunk (`View`), and before x the past.
    The batch norm after it is folded into it; the residual belongs to `conformer_layer`.
    x (T, D), norm (D,), in (2D, D) and (2D,), depthwise (kernel, D) and (D,), out (D, D) and (D,),
    past (P, D): the gated rows of the frames before x -> (T, D), gated (T, D)
    """
    gated = glu(linear(layer_norm(x, norm_weight, norm_bias, eps), in_weight, in_bias))
    seen = after_past(past, gated)
    behind = len(depthwise_weight) - 1 - reach_ahead(ahead, len(depthwise_weight))
    convolved = np.empty_like(gated)
    for own, window in windows(len(x), chunk, behind, len(seen) - len(x)):
        before = window.stop - window.start - (own.stop - own.start)
        convolved[own] = depthwise_conv(
            seen[window], depthwise_weight, depthwise_bias, ahead, before)
    return linear(silu(convolved), out_weight, out_bias), gated
