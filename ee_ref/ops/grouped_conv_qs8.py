from __future__ import annotations

import numpy as np

from ._exact import digits_product
from .quantize_digits_qs8 import quantize_digits_qs8

LINE = (
    "x (T D), weight (D I) int8, weight_scale (D), bias (D), groups -> y (T D); groups divides D, "
    "I taps of D groups"
)


def grouped_conv_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray, groups: int
) -> np.ndarray:
    """As `grouped_conv`, the channels of a group in two digits with one scale for all frames.

    So a window is rows of the digits, one after another, and no frame is quantised twice.
    x (T, D) float32, weight (D, kernel D / groups) int8, weight_scale (D,), bias (D,) -> (T, D)
    """
    frames, dim = x.shape
    width = dim // groups
    kernel = weight.shape[1] // width
    seen = np.arange(frames)[:, None] + np.arange(kernel)
    y = np.empty_like(x)
    for start in range(0, dim, width):
        own = slice(start, start + width)
        *digits, scale = quantize_digits_qs8(x[:, own].reshape(1, frames * width))
        high, low = (
            np.pad(digit.reshape(frames, width), ((kernel // 2, kernel - 1 - kernel // 2), (0, 0)))
            [seen].reshape(frames, kernel * width) for digit in digits)
        y[:, own] = digits_product(high, low, weight[own]) * (scale * weight_scale[own]) + bias[own]
    return y
