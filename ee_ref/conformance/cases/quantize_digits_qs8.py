import numpy as np

from ..draw import Case
from . import BIT_EXACT, quantize_qs8


def _beside_ties():
    """Odd multiples of half a step: x (16256 / a), 16256 x / a and x / (a / 16256) round apart."""
    largest = np.arange(3, 67, 2, dtype=np.float32)[:, None] / np.float32(7)
    steps = np.arange(0, 16256, 99, dtype=np.float32) + np.float32(0.5)
    return {"x": np.hstack([largest, steps * largest / np.float32(16256)])}


def _digits():
    """Every low digit, beside high digits of both signs, and the ends."""
    p = np.concatenate([np.arange(-200, 201), [-16256, -16255, -16193, 16191, 16192, 16255, 16256]])
    return {"x": p.astype(np.float32)[None]}


CASES = [
    *(case for case in quantize_qs8.CASES if case.name not in ("beside_ties", "ties_to_even")),
    Case("beside_ties", _beside_ties, 0.0, BIT_EXACT),
    Case("digits", _digits, 0.0, BIT_EXACT),
    Case("ties_to_even", lambda: {"x": np.array([[16256, 0.5, 1.5, -0.5, -1.5, 63.5, 64.5, -64.5,
                                                  -65.5, 16255.5]], np.float32)}, 0.0, BIT_EXACT),
]
