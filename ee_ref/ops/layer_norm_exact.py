from __future__ import annotations

import numpy as np

from ._exact import ONE, flush, row_sum

LINE = "x (T D), weight (D), bias (D), eps -> y (T D)"


def layer_norm_exact(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, in the operations of int8 mode.

    Differences and products below 2**-50 are +0: nothing that counts is subnormal.
    x (T, D), weight (D,), bias (D,), all float32 -> (T, D) float32
    """
    one_over_dim = ONE / np.float32(x.shape[-1])
    centred = flush(x - (row_sum(x) * one_over_dim)[:, None])
    variance = row_sum(centred * centred) * one_over_dim
    inverse = ONE / np.sqrt(variance + np.float32(eps))
    return flush((centred * inverse[:, None]) * weight) + bias
