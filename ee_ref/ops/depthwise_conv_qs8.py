from __future__ import annotations

import numpy as np

from .depthwise_conv import depthwise_conv


def depthwise_conv_qs8(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, ahead: int | None = None, before: int = 0,
    after: int = 0,
) -> np.ndarray:
    """`depthwise_conv`, its products rounded and added one after another, k = 0, 1, ...

    x (T, D), weight (kernel, D) with kernel odd, bias (D,), all float32
    -> (T - before - after, D)
    """
    return depthwise_conv(x, weight, bias, ahead, before, after)
