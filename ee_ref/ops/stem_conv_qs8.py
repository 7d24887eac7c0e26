from __future__ import annotations

import numpy as np

from ._view import strided
from .linear_digits_qs8 import linear_digits_qs8

LINE = (
    "x (F C), weight (O KC) int8, weight_scale (O), bias (O), stride -> y (N O); stride positive, "
    "N frames of F K stride"
)


def stem_conv_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray, stride: int = 2
) -> np.ndarray:
    """y[t] = weight @ x[stride t : stride t + kernel].ravel() + bias, each window in two digits.

    Otherwise as `stem_conv`.
    x (T, C) float32, weight (out, kernel C) int8, weight_scale (out,), bias (out,)
    -> (T', out) float32, T' = (T - kernel) // stride + 1, or no frames when T < kernel
    """
    windows = strided(x, weight.shape[1] // x.shape[1], stride)
    return linear_digits_qs8(windows, weight, weight_scale, bias)
