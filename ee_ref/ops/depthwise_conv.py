from __future__ import annotations

import numpy as np

from ._view import reach_ahead


def depthwise_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, ahead: int | None = None, before: int = 0,
    after: int = 0,
) -> np.ndarray:
    """y[t] = bias + weight[0] x[t + ahead - (kernel - 1)] + ... + weight[kernel - 1] x[t + ahead]

    by channel, taps outside x skipped. y has no row for the first `before` and the last `after`
    frames of x. With `ahead` None it is kernel // 2: torch.nn.Conv1d(D, D, kernel, groups=D,
    padding=kernel // 2) with the axes the other way round. The batch norm that follows in the
    Conformer is already folded into weight and bias.
    x (T, D), weight (kernel, D) with kernel odd, bias (D,) -> (T - before - after, D)
    """
    frames, kernel = len(x) - before - after, len(weight)
    first = before + reach_ahead(ahead, kernel) - (kernel - 1)  # the first tap of the first row
    y = np.tile(bias, (frames, 1))
    for k in range(kernel):
        t = np.arange(max(0, -(first + k)), min(frames, len(x) - (first + k)))
        y[t] += x[first + k + t] * weight[k]
    return y
