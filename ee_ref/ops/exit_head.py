from __future__ import annotations

import numpy as np

from .linear import linear
from .log_softmax import log_softmax

LINE = "x (T D), weight (V D), bias (V) -> y (T V)"


def exit_head(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Natural-log probabilities of the CTC labels at one exit: log_softmax(linear(x)).

    x (T, D), weight (vocab, D), bias (vocab,) -> (T, vocab)
    """
    return log_softmax(linear(x, weight, bias))
