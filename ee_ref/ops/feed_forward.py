from __future__ import annotations

import numpy as np

from .layer_norm import layer_norm
from .linear import linear
from .silu import silu

LINE = (
    "x (T D), norm_weight (D), norm_bias (D), up_weight (H D), up_bias (H), down_weight (D H), "
    "down_bias (D), eps -> y (T D)"
)


def feed_forward(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, up_weight: np.ndarray,
    up_bias: np.ndarray, down_weight: np.ndarray, down_bias: np.ndarray, eps: float = 1e-5,
) -> np.ndarray:
    """Layer norm -> linear up -> SiLU -> linear down, the feed-forward module of the Conformer.

    The half step and the residual belong to `conformer_layer`.
    x (T, D), norm (D,), up (ff, D) and (ff,), down (D, ff) and (D,) -> (T, D)
    """
    hidden = silu(linear(layer_norm(x, norm_weight, norm_bias, eps), up_weight, up_bias))
    return linear(hidden, down_weight, down_bias)
