from __future__ import annotations

import numpy as np


def depthwise_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y[t, d] = bias[d] + sum over k of weight[k, d] x[t + k - kernel // 2, d]; x is 0 outside.

    torch.nn.Conv1d(D, D, kernel, padding=kernel // 2, groups=D) with the axes the other way round;
    the batch norm that follows it in the Conformer is already folded into weight and bias.
    x (T, D), weight (kernel, D) with kernel odd, bias (D,) -> (T, D)
    """
    frames, kernel = len(x), len(weight)
    padded = np.pad(x, ((kernel // 2, kernel // 2), (0, 0)))
    return sum((padded[k : k + frames] * weight[k] for k in range(kernel)), start=bias)
