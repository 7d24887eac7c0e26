from __future__ import annotations

import numpy as np

from .log_softmax_qs8 import log_softmax_qs8
from .stem_conv_qs8 import stem_conv_qs8


def exit_head_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Natural-log probabilities of the CTC labels at one exit: log_softmax(linear(x)).

    x is not quantised: the linear layer is a `stem_conv_qs8` of one tap.
    x (T, D) float32, weight (vocab, D) int8, weight_scale (vocab,), bias (vocab,)
    -> (T, vocab) float32
    """
    return log_softmax_qs8(stem_conv_qs8(x, weight, weight_scale, bias, stride=1))
