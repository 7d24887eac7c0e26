from __future__ import annotations

import numpy as np

from ._attention import by_head, context_qs8, side_by_side
from ._exact import ONE
from ._view import after_past, windows
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8

LINE = (
    "x (T D), in_weight (3D D) int8, in_weight_scale (3D), in_bias (3D), out_weight (D D) int8, "
    "out_weight_scale (D), out_bias (D), heads, chunk, left, past? (P 2D) -> y (T D), kv (T 2D); "
    "heads divides D, chunk natural, left natural"
)


def multi_head_attention_qs8(
    x: np.ndarray, in_weight: np.ndarray, in_weight_scale: np.ndarray, in_bias: np.ndarray,
    out_weight: np.ndarray, out_weight_scale: np.ndarray, out_bias: np.ndarray, heads: int,
    chunk: int = 0, left: int = 0, past: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Self-attention, softmax(q k' / sqrt(d)) v, on int8 products; also keys and values.

    What is quantised and how says `context_qs8`. A frame sees what it sees in
    `multi_head_attention`.
    x (T, D) float32, in_weight (3D, D) int8 = queries, keys, values stacked, in_weight_scale (3D,),
    in_bias (3D,), out_weight (D, D) int8, out_weight_scale (D,), out_bias (D,), past (P, 2D)
    float32: keys and values of the frames before x -> (T, D), keys and values (T, 2D), float32
    """
    frames, dim = x.shape
    qkv = linear_qs8(*quantize_qs8(x), in_weight, in_weight_scale, in_bias)
    kv = qkv[:, dim:].copy()
    seen = after_past(past, kv)
    q, q_scale = quantize_qs8(by_head(qkv[:, :dim], heads))     # (heads, T, d), (heads, T)
    k, k_scale = quantize_qs8(by_head(seen[:, :dim], heads))    # (heads, P + T, d), (heads, P + T)
    v, v_scale = quantize_qs8(by_head(seen[:, dim:], heads))

    q_scale = q_scale * (ONE / np.sqrt(np.float32(dim // heads)))
    mixed = np.empty(q.shape, np.float32)
    for own, window in windows(frames, chunk, left, len(seen) - frames):
        mixed[:, own] = context_qs8(q[:, own], q_scale[:, own], k[:, window], k_scale[:, window],
                                    v[:, window], v_scale[:, window])
    return linear_qs8(*quantize_qs8(side_by_side(mixed)), out_weight, out_weight_scale,
                      out_bias), kv
