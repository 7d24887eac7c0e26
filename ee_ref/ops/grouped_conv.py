from __future__ import annotations

import numpy as np

from .linear import linear

LINE = (
    "x (T D), weight (D I), bias (D), groups -> y (T D); groups divides D, I taps of D groups"
)


def grouped_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, groups: int
) -> np.ndarray:
    """y[t, own] = weight[own] @ x[t - before : t - before + kernel, own].ravel() + bias[own]

    for the D / groups channels `own` of each group, before = kernel // 2, with x 0 outside:
    torch.nn.Conv1d(D, D, kernel, padding=kernel // 2, groups=groups) without the frame T + 1 that
    an even kernel gives. Weight rows are tap-major: taps outer, the channels of the group inner.
    x (T, D), weight (D, kernel D / groups), bias (D,) -> (T, D)
    """
    frames, dim = x.shape
    width = dim // groups
    kernel = weight.shape[1] // width
    padded = np.pad(x, ((kernel // 2, kernel - 1 - kernel // 2), (0, 0)))
    seen = np.arange(frames)[:, None] + np.arange(kernel)
    y = np.empty_like(x)
    for start in range(0, dim, width):
        own = slice(start, start + width)
        windows = padded[:, own][seen].reshape(frames, kernel * width)
        y[:, own] = linear(windows, weight[own], bias[own])
    return y
