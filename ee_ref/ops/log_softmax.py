from __future__ import annotations

import numpy as np

LINE = "x (T D) -> y (T D)"


def log_softmax(x: np.ndarray) -> np.ndarray:
    """y = x - log(sum(exp(x))) over the last axis, with the maximum subtracted first.

    Natural logarithm. x (T, D) -> (T, D), all entries <= 0
    """
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
