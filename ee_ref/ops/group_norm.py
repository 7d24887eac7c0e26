from __future__ import annotations

import numpy as np

LINE = "x (T D), weight (D), bias (D), eps -> y (T D)"


def group_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """y[:, d] = (x[:, d] - mean) / sqrt(variance + eps) * weight[d] + bias[d]

    with the mean and the biased variance of channel d over all frames: torch.nn.GroupNorm(D, D), a
    group a channel. They are summed in float64, since there are as many terms as frames.
    x (T, D), weight (D,), bias (D,) -> (T, D)
    """
    if not len(x):
        return x.copy()
    centred = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    variance = np.square(centred).mean(axis=0, dtype=np.float64)
    scale = weight / np.sqrt(variance + eps).astype(np.float32)
    return centred * scale + bias
