from __future__ import annotations

import numpy as np

LINE = "x (T D) -> y (T D)"


def softmax(x: np.ndarray) -> np.ndarray:
    """y = exp(x) / sum(exp(x)) over the last axis, with the maximum subtracted first.

    Entries of -inf give 0; a row needs at least one finite entry.
    x (T, D) -> (T, D), rows sum to 1
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
