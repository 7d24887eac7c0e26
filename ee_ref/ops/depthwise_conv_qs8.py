from __future__ import annotations

import numpy as np


def depthwise_conv_qs8(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y[t, d] = bias[d], + weight[k, d] x[t + k - kernel // 2, d] for k = 0, 1, ... in order.

    Frames outside x are skipped.
    x (T, D), weight (kernel, D) with kernel odd, bias (D,), all float32 -> (T, D)
    """
    frames, kernel = len(x), len(weight)
    y = np.tile(bias, (frames, 1))
    for k in range(kernel):
        shift = k - kernel // 2
        first, last = max(0, -shift), min(frames, frames - shift)
        if first < last:
            y[first:last] += x[first + shift : last + shift] * weight[k]
    return y
