from __future__ import annotations

import numpy as np

from ._exact import digits_product
from .quantize_digits_qs8 import quantize_digits_qs8

LINE = "x (T I), weight (O I) int8, weight_scale (O), bias (O) -> y (T O)"


def linear_digits_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """y = x weight' + bias, rows of x in two digits: where one costs too much of the result.

    x (T, in) float32, weight (out, in) int8, weight_scale (out,), bias (out,) -> (T, out) float32
    """
    high, low, scale = quantize_digits_qs8(x)
    return digits_product(high, low, weight) * (scale[:, None] * weight_scale) + bias
