from __future__ import annotations

import numpy as np

from ._view import reach_ahead

LINE = (
    "x (T D), weight (K D), bias (D), ahead?, before, after -> y (N D); K odd, ahead below K, N "
    "of T without before after"
)


def depthwise_conv(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, ahead: int | None = None, before: int = 0,
    after: int = 0,
) -> np.ndarray:
    """y[t, d] = bias[d] + sum over k of weight[k, d] x[t + k - (kernel - 1 - ahead), d]

    with x 0 outside, and no row for the first `before` and the last `after` frames of x. `ahead`
    None is kernel // 2: torch.nn.Conv1d(D, D, kernel, padding=kernel // 2, groups=D) with the axes
    the other way round. The batch norm that follows it in the Conformer is already folded into
    weight and bias.
    x (T, D), weight (kernel, D) with kernel odd, bias (D,) -> (T - before - after, D)
    """
    ahead = reach_ahead(ahead, len(weight))
    padded = np.pad(x, ((len(weight) - 1 - ahead, ahead), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(weight), axis=0)
    return np.einsum("tdk,kd->td", windows[before : len(x) - after], weight) + bias
