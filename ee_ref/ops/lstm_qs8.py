from __future__ import annotations

import numpy as np

from .glu_exact import glu_exact
from .linear_qs8 import linear_qs8
from .lstm import both_directions
from .quantize_qs8 import quantize_qs8

LINE = (
    "x (T I), in_weight (8H I) int8, in_weight_scale (8H), in_bias (8H), forward_weight (4H H) "
    "int8, forward_weight_scale (4H), backward_weight (4H H) int8, backward_weight_scale (4H) -> "
    "y (T 2H)"
)


def lstm_qs8(
    x: np.ndarray, in_weight: np.ndarray, in_weight_scale: np.ndarray, in_bias: np.ndarray,
    forward_weight: np.ndarray, forward_weight_scale: np.ndarray, backward_weight: np.ndarray,
    backward_weight_scale: np.ndarray,
) -> np.ndarray:
    """A bidirectional LSTM layer (`lstm`), the inputs of all products quantised, each h too.

    x (T, I) float32, in_weight (8H, I) int8, (8H,) and (8H,), forward_weight and backward_weight
    (4H, H) int8, each with its (4H,) -> (T, 2H) float32
    """
    gates = linear_qs8(*quantize_qs8(x), in_weight, in_weight_scale, in_bias)
    return both_directions(
        gates,
        lambda h, bias: linear_qs8(*quantize_qs8(h), forward_weight, forward_weight_scale, bias),
        lambda h, bias: linear_qs8(*quantize_qs8(h), backward_weight, backward_weight_scale, bias),
        glu_exact)
