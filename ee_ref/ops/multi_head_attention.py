from __future__ import annotations

import numpy as np

from ._attention import by_head, context, side_by_side
from ._view import after_past, windows
from .linear import linear

LINE = (
    "x (T D), in_weight (3D D), in_bias (3D), out_weight (D D), out_bias (D), heads, chunk, left, "
    "past? (P 2D) -> y (T D), kv (T 2D); heads divides D, chunk natural, left natural"
)


def multi_head_attention(
    x: np.ndarray, in_weight: np.ndarray, in_bias: np.ndarray, out_weight: np.ndarray,
    out_bias: np.ndarray, heads: int, chunk: int = 0, left: int = 0,
    past: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Self-attention, as torch.nn.MultiheadAttention(D, heads) with a mask; also keys and values.

    Each head of d = D / heads values: softmax(q k' / sqrt(d)) v; heads side by side -> linear.
    A frame sees its chunk and `left` frames before that (`View`), also those of the past.
    x (T, D), in_weight (3D, D) = queries, keys, values stacked, in_bias (3D,), out_weight (D, D),
    out_bias (D,), past (P, 2D): keys and values of the frames before x
    -> (T, D), keys and values (T, 2D)
    """
    frames, dim = x.shape
    qkv = linear(x, in_weight, in_bias)
    kv = qkv[:, dim:].copy()
    seen = after_past(past, kv)
    q = by_head(qkv[:, :dim], heads) * (dim // heads)**-0.5                  # (heads, T, d)
    k, v = by_head(seen[:, :dim], heads), by_head(seen[:, dim:], heads)      # (heads, P + T, d)
    mixed = np.empty_like(q)
    for own, window in windows(frames, chunk, left, len(seen) - frames):
        mixed[:, own] = context(q[:, own], k[:, window], v[:, window])
    return linear(side_by_side(mixed), out_weight, out_bias), kv
