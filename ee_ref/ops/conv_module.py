from __future__ import annotations

import numpy as np

from .depthwise_conv import depthwise_conv
from .glu import glu
from .layer_norm import layer_norm
from .linear import linear
from .silu import silu


def conv_module(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, in_weight: np.ndarray,
    in_bias: np.ndarray, depthwise_weight: np.ndarray, depthwise_bias: np.ndarray,
    out_weight: np.ndarray, out_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """Layer norm -> linear -> GLU -> depthwise -> SiLU -> linear: the convolution module.

    The batch norm after the depthwise convolution is folded into it; the residual belongs to
    `conformer_layer`.
    x (T, D), norm (D,), in (2D, D) and (2D,), depthwise (kernel, D) and (D,), out (D, D) and (D,)
    -> (T, D)
    """
    gated = glu(linear(layer_norm(x, norm_weight, norm_bias, eps), in_weight, in_bias))
    hidden = silu(depthwise_conv(gated, depthwise_weight, depthwise_bias))
    return linear(hidden, out_weight, out_bias)
