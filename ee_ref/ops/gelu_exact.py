from __future__ import annotations

import numpy as np

from ._exact import HALF, constant, flush, horner

LINE = "x (T D) -> y (T D)"

_LIMIT = constant("0x1.571aap+2")
_ABOVE = tuple(map(constant, (
    "0x1.8751bap-26", "0x1.b38c92p-18", "0x1.719e6ap-13", "0x1.357ae2p-8", "0x1.1a8b8ep-5",
    "0x1.988446p-2",
)))
_BELOW = tuple(map(constant, (
    "0x1.44734ap-20", "0x1.40e18ap-14", "0x1.f8bab4p-10", "0x1.db93aep-6", "0x1.033194p-2",
    "0x1p+0",
)))


def gelu_exact(x: np.ndarray) -> np.ndarray:
    """y = x P(x), P the distribution function of the normal distribution, in the operations of int8
    mode.

    P(x) - 1/2 is x times a quotient of polynomials of x x, fitted up to |x| = 5.36, and clamped to
    1/2. What is below 2**-50 is +0.
    x (T, D) float32 -> (T, D)
    """
    c = np.minimum(np.maximum(x, -_LIMIT), _LIMIT)
    square = c * c
    middle = (c * horner(_ABOVE, square)) / horner(_BELOW, square)
    return flush(x * (np.minimum(np.maximum(middle, -HALF), HALF) + HALF))
