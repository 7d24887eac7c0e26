from __future__ import annotations

import numpy as np

from ._exact import ONE, flush

LINE = "x (T D), weight (D), bias (D), eps -> y (T D)"

BLOCK = 256
"""Frames whose mean and squares are summed at once."""


def group_norm_exact(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """y[:, d] = (x[:, d] - mean) / sqrt(variance + eps) * weight[d] + bias[d], in the operations of
    int8 mode, with the mean and the variance of channel d over all frames.

    Those of blocks of 256 frames are joined one after another (Chan, Golub and LeVeque), so that x
    is read once for them. Differences and products below 2**-50 are +0: nothing that counts is
    subnormal.
    x (T, D), weight (D,), bias (D,), all float32 -> (T, D) float32
    """
    frames, mean, squares = np.float32(0), np.zeros_like(bias), np.zeros_like(bias)
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        own = np.float32(len(block))
        own_mean = _sum(block) * (ONE / own)
        centred = flush(block - own_mean)
        apart = flush(own_mean - mean)
        all_frames = frames + own
        mean = mean + apart * (own / all_frames)
        squares = (squares + _sum(centred * centred)) + (apart * apart) * (
            frames * own / all_frames)
        frames = all_frames
    if not len(x):
        return x.copy()
    inverse = ONE / np.sqrt(squares * (ONE / frames) + np.float32(eps))
    return flush((flush(x - mean) * inverse) * weight) + bias


def _sum(rows: np.ndarray) -> np.ndarray:
    """Over the frames, in their order. (T, D) -> (D,)"""
    total = np.zeros(rows.shape[1], np.float32)
    for row in rows:
        total += row
    return total
