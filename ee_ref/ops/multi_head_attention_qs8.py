from __future__ import annotations

import numpy as np

from ._exact import ONE, digits_product, integer_product
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8
from .softmax_qs8 import softmax_qs8


def multi_head_attention_qs8(
    x: np.ndarray, in_weight: np.ndarray, in_weight_scale: np.ndarray, in_bias: np.ndarray,
    out_weight: np.ndarray, out_weight_scale: np.ndarray, out_bias: np.ndarray, heads: int,
) -> np.ndarray:
    """Self-attention over all frames, softmax(q k' / sqrt(d)) v, on int8 products.

    Queries, keys and values are quantised by frame and head; probabilities, with the scales of the
    values in them, are integers of 14 bits in two digits.
    x (T, D) float32, in_weight (3D, D) int8 = queries, keys, values stacked, in_weight_scale (3D,),
    in_bias (3D,), out_weight (D, D) int8, out_weight_scale (D,), out_bias (D,) -> (T, D) float32
    """
    frames, dim = x.shape
    width = dim // heads
    qkv = linear_qs8(*quantize_qs8(x), in_weight, in_weight_scale, in_bias)
    queries, keys, values = qkv.reshape(frames, 3, heads, width).transpose(1, 2, 0, 3)
    q, q_scale = quantize_qs8(queries)                                # (heads, T, d), (heads, T)
    k, k_scale = quantize_qs8(keys)
    v, v_scale = quantize_qs8(values)

    q_scale = q_scale * (ONE / np.sqrt(np.float32(width)))
    scores = integer_product(q, k).astype(np.float32) * (q_scale[:, :, None] * k_scale[:, None, :])
    high, low, scale = softmax_qs8(scores, v_scale)                   # (heads, T, T), (heads, T)
    mixed = digits_product(high, low, v.transpose(0, 2, 1)) * scale[:, :, None]  # (heads, T, d)

    context = mixed.transpose(1, 0, 2).reshape(frames, dim)
    return linear_qs8(*quantize_qs8(context), out_weight, out_weight_scale, out_bias)
