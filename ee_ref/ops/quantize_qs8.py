from __future__ import annotations

import numpy as np

from ._exact import ONE, ZERO, round_even

LINE = "x (T I) -> q (T I) int8, scale (T)"

LEVELS = np.float32(127)
SMALLEST = np.float32(2.0**-40)


def quantize_qs8(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as int8 and one scale each, x = q * scale: scale = max|x| / 127, q = round(x / scale).

    A row whose largest magnitude is below 2**-40 gets scale 0 and zeros. q is never -128.
    x (..., n) float32 -> q (..., n) int8, scale (...) float32
    """
    largest = np.abs(x).max(axis=-1, initial=ZERO)
    used = largest >= SMALLEST
    largest = np.where(used, largest, ONE)
    q = round_even(x * (LEVELS / largest)[..., None]).astype(np.int8)
    return np.where(used[..., None], q, np.int8(0)), np.where(used, largest / LEVELS, ZERO)
