from __future__ import annotations

import numpy as np

from .linear import linear
from .softmax import softmax

LINE = (
    "x (T D), in_weight (3D D), in_bias (3D), out_weight (D D), out_bias (D), gate_weight (8 W), "
    "gate_bias (8), gate_scale (H), distances (H N) -> y (T D); D is W times H, N spans T"
)


def gated_attention(
    x: np.ndarray, in_weight: np.ndarray, in_bias: np.ndarray, out_weight: np.ndarray,
    out_bias: np.ndarray, gate_weight: np.ndarray, gate_bias: np.ndarray, gate_scale: np.ndarray,
    distances: np.ndarray,
) -> np.ndarray:
    """Self-attention with a gated bias by relative position (WavLM, arXiv:2110.13900), full view.

    As `multi_head_attention`, and the score of query t for key s in head h of W = D / H values has
    gate[h, t] distances[h, s - t + T - 1] added to it, where of the head's own columns of x[t]
        z = gate_weight @ x[t, own] + gate_bias
        u, r = sigmoid(z[0] + ... + z[3]), sigmoid(z[4] + ... + z[7])
        gate[h, t] = u (r gate_scale[h] - 1) + 2
    x (T, D), in_weight (3D, D) = queries, keys, values stacked, in_bias (3D,), out_weight (D, D),
    out_bias (D,), gate_weight (8, W), gate_bias (8,), gate_scale (H,), distances (H, 2T - 1)
    -> (T, D)
    """
    frames, dim = x.shape
    heads = len(gate_scale)
    width = dim // heads
    own = x.reshape(frames, heads, width).transpose(1, 0, 2)  # (heads, T, W)
    z = (own @ gate_weight.T + gate_bias).reshape(heads, frames, 2, 4).sum(axis=-1)
    u, r = 1 / (1 + np.exp(-z.transpose(2, 0, 1)))
    gate = u * (r * gate_scale[:, None] - 1) + 2
    qkv = linear(x, in_weight, in_bias)
    q, k, v = qkv.reshape(frames, 3, heads, width).transpose(1, 2, 0, 3)  # (heads, T, W)
    scores = (q * width**-0.5) @ k.transpose(0, 2, 1)
    relative = np.arange(frames) - np.arange(frames)[:, None] + frames - 1
    scores += gate[:, :, None] * distances[:, relative]
    context = (softmax(scores) @ v).transpose(1, 0, 2).reshape(frames, dim)
    return linear(context, out_weight, out_bias)
