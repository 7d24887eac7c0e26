from __future__ import annotations

import numpy as np

from ._exact import ONE, exp, flush

LINE = "x (T 2D) -> y (T D)"


def glu_exact(x: np.ndarray) -> np.ndarray:
    """y = a / (1 + exp(-b)), x = [a b] split in half, in the operations of int8 mode.

    What is below 2**-50 is +0: no product or sum of a depthwise convolution is subnormal.
    x (T, 2D) float32 -> (T, D)
    """
    a, b = np.split(x, 2, axis=-1)
    return flush(a / (ONE + exp(-b)))
