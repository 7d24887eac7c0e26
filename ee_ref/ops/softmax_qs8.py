from __future__ import annotations

import numpy as np

from ._exact import ONE, ZERO, exp, round_even, row_max, row_sum

TOP = np.float32(127 * 128)
"""The largest probability of a row, as an integer of two digits of 7 bits."""
FURTHEST = np.float32(-30)
"""Scores further below the largest count as this far below."""


def softmax_qs8(
    x: np.ndarray, value_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Softmax of rows in 14 bits for a product with value rows of int8, their scales folded in:

    softmax(x) value_scale = p scale, p = 128 high + low = round(16256 w / max w),
    w = exp(x - max x) value_scale. Of a row of w that is all zeros p and scale are 0.
    x (..., T, D) float32, value_scale (..., D) float32, 0 or at least 2**-47
    -> high and low (..., T, D) int8, 0..127, scale (..., T) float32
    """
    e = exp(np.maximum(x - row_max(x), FURTHEST))
    weight = e * value_scale[..., None, :]
    top = row_max(weight)
    gain = np.where(top > ZERO, TOP / np.where(top > ZERO, top, ONE), ZERO)
    p = round_even(weight * gain).astype(np.int32)
    scale = (top[..., 0] / TOP) / row_sum(e)
    return (p >> 7).astype(np.int8), (p & 127).astype(np.int8), scale
