from __future__ import annotations

import numpy as np

from .linear_digits_qs8 import linear_digits_qs8
from .log_softmax_exact import log_softmax_exact

LINE = "x (T D), weight (V D) int8, weight_scale (V), bias (V) -> y (T V)"


def exit_head_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Natural-log probabilities of the CTC labels at one exit: log_softmax(linear_digits(x)).

    x (T, D) float32, weight (vocab, D) int8, weight_scale (vocab,), bias (vocab,)
    -> (T, vocab) float32
    """
    return log_softmax_exact(linear_digits_qs8(x, weight, weight_scale, bias))
