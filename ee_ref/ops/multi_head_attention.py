from __future__ import annotations

import numpy as np

from .linear import linear
from .softmax import softmax


def multi_head_attention(
    x: np.ndarray, in_weight: np.ndarray, in_bias: np.ndarray, out_weight: np.ndarray,
    out_bias: np.ndarray, heads: int,
) -> np.ndarray:
    """Self-attention over all frames, as torch.nn.MultiheadAttention(D, heads) without a mask.

    Each head of d = D / heads values: softmax(q k' / sqrt(d)) v; heads side by side -> linear.
    x (T, D), in_weight (3D, D) = queries, keys, values stacked, in_bias (3D,), out_weight (D, D),
    out_bias (D,) -> (T, D)
    """
    frames, dim = x.shape
    qkv = linear(x, in_weight, in_bias).reshape(frames, 3, heads, dim // heads)
    q, k, v = qkv.transpose(1, 2, 0, 3)                               # each (heads, T, d)
    scores = q * (dim // heads) ** -0.5 @ k.transpose(0, 2, 1)        # (heads, T, T)
    mixed = softmax(scores) @ v                                       # (heads, T, d)
    return linear(mixed.transpose(1, 0, 2).reshape(frames, dim), out_weight, out_bias)
