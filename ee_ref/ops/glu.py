from __future__ import annotations

import numpy as np

LINE = "x (T 2D) -> y (T D)"


def glu(x: np.ndarray) -> np.ndarray:
    """y = a sigmoid(b) = a / (1 + exp(-b)), x = [a b] split in half, as torch.nn.GLU.

    x (T, 2D) finite -> (T, D)
    """
    a, b = np.split(x, 2, axis=-1)
    with np.errstate(over="ignore"):  # a / inf is the limit, 0
        return a / (1 + np.exp(-b))
