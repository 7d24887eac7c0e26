from __future__ import annotations

import numpy as np

from ._view import strided
from .linear import linear

LINE = (
    "x (F C), weight (O KC), bias (O), stride -> y (N O); stride positive, N frames of F K stride"
)


def stem_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 2
) -> np.ndarray:
    """y[t] = weight @ x[stride t : stride t + kernel].ravel() + bias, without padding.

    torch.nn.Conv1d(C, out, kernel, stride); weight rows are tap-major: taps outer, channels inner.
    x (T, C), weight (out, kernel C), bias (out,) -> (T', out), T' = (T - kernel) // stride + 1,
    or no frames when T < kernel
    """
    return linear(strided(x, weight.shape[1] // x.shape[1], stride), weight, bias)
