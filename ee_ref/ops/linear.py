from __future__ import annotations

import numpy as np

LINE = "x (T I), weight (O I), bias? (O) -> y (T O)"


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """y = x weight' + bias, as torch.nn.Linear.

    x (T, in), weight (out, in), bias (out,) or None -> (T, out)
    """
    y = x @ weight.T
    return y if bias is None else y + bias
