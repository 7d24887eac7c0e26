from __future__ import annotations

import numpy as np

from ._exact import exp, log, row_max, row_sum

LINE = "x (T D) -> y (T D)"


def log_softmax_exact(x: np.ndarray) -> np.ndarray:
    """y = x - log(sum(exp(x))), the maximum subtracted first, in the operations of int8 mode.

    x (T, D) float32 -> (T, D), all entries <= 0
    """
    shifted = x - row_max(x)
    return shifted - log(row_sum(exp(shifted)))[:, None]
