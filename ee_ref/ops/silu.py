from __future__ import annotations

import numpy as np

LINE = "x (T D) -> y (T D)"


def silu(x: np.ndarray) -> np.ndarray:
    """y = x sigmoid(x) = x / (1 + exp(-x)), as torch.nn.SiLU.

    x (T, D) finite -> (T, D)
    """
    with np.errstate(over="ignore"):  # x / inf is the limit, 0
        return x / (1 + np.exp(-x))
