from __future__ import annotations

import numpy as np

from ._exact import integer_product

LINE = "q (T I) int8, scale (T), weight (O I) int8, weight_scale (O), bias (O) -> y (T O)"


def linear_qs8(
    q: np.ndarray, scale: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    """y = (q weight') (scale weight_scale) + bias, the product exact in int32.

    q (T, in) int8, scale (T,), weight (out, in) int8, weight_scale (out,), bias (out,)
    -> (T, out) float32
    """
    products = integer_product(q, weight).astype(np.float32)
    return products * (scale[:, None] * weight_scale) + bias
