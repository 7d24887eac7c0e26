from __future__ import annotations

import numpy as np

from ._exact import TOP, ZERO, exp, round_even, row_max, row_sum

LINE = "x (T D), value_scale (D) -> high (T D) int8, low (T D) int8, scale (T)"

LEAST = np.float32(2.0**-80)
"""A row whose weights are all below this is taken for zeros."""


def softmax_qs8(
    x: np.ndarray, value_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Softmax of rows in 14 bits for a product with value rows of int8, their scales folded in:

    softmax(x) value_scale = p scale, p = 128 high + low = round(16256 w / max w),
    w = exp(x - max x) value_scale. Of a row of w that is below 2**-80 p and scale are 0.
    x (..., T, D) float32, value_scale (..., D) float32, 0 or at least 2**-47
    -> high and low (..., T, D) int8, 0..127, scale (..., T) float32
    """
    e = exp(x - row_max(x))
    weight = e * value_scale[..., None, :]
    top = row_max(weight)
    used = top >= LEAST
    gain = np.where(used, TOP / np.maximum(top, LEAST), ZERO)
    p = round_even(weight * gain).astype(np.int32)
    scale = (np.where(used, top, ZERO)[..., 0] / TOP) / row_sum(e)
    return (p >> 7).astype(np.int8), (p & 127).astype(np.int8), scale
