from __future__ import annotations

import numpy as np

from ._exact import ONE, TOP, ZERO, round_even
from .quantize_qs8 import SMALLEST

LINE = "x (T I) -> high (T I) int8, low (T I) int8, scale (T)"


def quantize_digits_qs8(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows as integers of 15 bits in two digits and one scale each, x = (128 high + low) scale:

    scale = max|x| / 16256, 128 high + low = round(x / scale), low in -64..63, high in -127..127.
    A row whose largest magnitude is below 2**-40 gets scale 0 and zeros.
    x (..., n) float32 -> high and low (..., n) int8, scale (...) float32
    """
    largest = np.abs(x).max(axis=-1, initial=ZERO)
    used = largest >= SMALLEST
    largest = np.where(used, largest, ONE)
    p = np.where(used[..., None], round_even(x * (TOP / largest)[..., None]), ZERO).astype(np.int32)
    high = (p + 64) >> 7
    scale = np.where(used, largest / TOP, ZERO)
    return high.astype(np.int8), (p - 128 * high).astype(np.int8), scale
