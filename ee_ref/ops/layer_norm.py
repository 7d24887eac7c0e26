from __future__ import annotations

import numpy as np

LINE = "x (T D), weight (D), bias (D), eps -> y (T D)"


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """y = (x - mean) / sqrt(variance + eps) * weight + bias over the last axis.

    As torch.nn.LayerNorm; the variance is the biased one (divided by D), of the centred values.
    x (T, D), weight (D,), bias (D,) -> (T, D)
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * weight + bias
