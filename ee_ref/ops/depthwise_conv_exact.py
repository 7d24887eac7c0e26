from __future__ import annotations

import numpy as np

from ._view import reach_ahead

LINE = (
    "x (T D), weight (K D), bias (D), ahead?, before, after -> y (N D); K odd, ahead below K, N "
    "of T without before after"
)


def depthwise_conv_exact(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, ahead: int | None = None, before: int = 0,
    after: int = 0,
) -> np.ndarray:
    """`depthwise_conv` with the taps k = 0, 1, ... added in order, frames outside x skipped.

    x (T, D), weight (kernel, D) with kernel odd, bias (D,), all float32
    -> (T - before - after, D)
    """
    frames, kernel = len(x) - before - after, len(weight)
    shift = before + reach_ahead(ahead, kernel) - (kernel - 1)
    y = np.tile(bias, (frames, 1))
    for k in range(kernel):
        t = np.arange(max(0, -shift - k), min(frames, len(x) - shift - k))
        y[t] += x[t + shift + k] * weight[k]
    return y
