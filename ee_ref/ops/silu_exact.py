from __future__ import annotations

import numpy as np

from ._exact import ONE, exp

LINE = "x (T D) -> y (T D)"


def silu_exact(x: np.ndarray) -> np.ndarray:
    """y = x / (1 + exp(-x)), in the operations of int8 mode. x (T, D) float32 -> (T, D)"""
    return x / (ONE + exp(-x))
