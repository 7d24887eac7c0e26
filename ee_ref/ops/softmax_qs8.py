from __future__ import annotations

import numpy as np

from ._exact import ONE, exp, round_even, row_max

TOP = np.float32(127 * 128)
"""The largest probability of a row, as an integer of two digits of 7 bits."""


def softmax_qs8(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Softmax of rows in 14 bits: softmax(x) = p inverse, p = 128 high + low = round(exp(x) 16256).

    The maximum of a row is subtracted first, so that its p is 16256; inverse = 1 / (sum of p).
    x (..., D) float32 -> high and low (..., D) int8, 0..127, inverse (...) float32
    """
    p = round_even(exp(x - row_max(x)) * TOP).astype(np.int32)
    inverse = ONE / p.sum(axis=-1, dtype=np.int32).astype(np.float32)
    return (p >> 7).astype(np.int8), (p & 127).astype(np.int8), inverse
