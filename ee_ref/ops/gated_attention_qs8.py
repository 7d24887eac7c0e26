from __future__ import annotations

import numpy as np

from ._attention import context_qs8, side_by_side
from ._exact import ONE, exp
from .linear_digits_qs8 import linear_digits_qs8
from .linear_qs8 import linear_qs8
from .quantize_qs8 import quantize_qs8

LINE = (
    "x (T D), in_weight (3D D) int8, in_weight_scale (3D), in_bias (3D), out_weight (D D) int8, "
    "out_weight_scale (D), out_bias (D), gate_weight (8 W) int8, gate_weight_scale (8), gate_bias "
    "(8), gate_scale (H), distances (H N) -> y (T D); D is W times H, "
    "N spans T"
)

TWO = np.float32(2)


def gated_attention_qs8(
    x: np.ndarray, in_weight: np.ndarray, in_weight_scale: np.ndarray, in_bias: np.ndarray,
    out_weight: np.ndarray, out_weight_scale: np.ndarray, out_bias: np.ndarray,
    gate_weight: np.ndarray, gate_weight_scale: np.ndarray, gate_bias: np.ndarray,
    gate_scale: np.ndarray, distances: np.ndarray,
) -> np.ndarray:
    """`gated_attention` on int8 products, those of the gates with inputs of two digits.

    What is quantised and how in attention itself says `context_qs8`; distances and their product
    with the gates are float32.
    x (T, D) float32, in_weight (3D, D) int8 = queries, keys, values stacked, in_weight_scale (3D,),
    in_bias (3D,), out_weight (D, D) int8, out_weight_scale (D,), out_bias (D,), gate_weight (8, W)
    int8, gate_weight_scale (8,), gate_bias (8,), gate_scale (H,), distances (H, 2T - 1) float32
    -> (T, D) float32
    """
    frames, dim = x.shape
    heads = len(gate_scale)
    width = dim // heads
    own = x.reshape(frames * heads, width)
    z = linear_digits_qs8(own, gate_weight, gate_weight_scale, gate_bias)
    z = z.reshape(frames, heads, 2, 4).transpose(3, 2, 1, 0)  # (4, 2, heads, T)
    u, r = ONE / (ONE + exp(-(((z[0] + z[1]) + z[2]) + z[3])))
    gate = u * (r * gate_scale[:, None] - ONE) + TWO
    relative = np.arange(frames) - np.arange(frames)[:, None] + frames - 1
    bias = gate[:, :, None] * distances[:, relative]

    qkv = linear_qs8(*quantize_qs8(x), in_weight, in_weight_scale, in_bias)
    q, k, v = qkv.reshape(frames, 3, heads, width).transpose(1, 2, 0, 3)  # (heads, T, W)
    (q, q_scale), (k, k_scale), (v, v_scale) = map(quantize_qs8, (q, k, v))
    q_scale = q_scale * (ONE / np.sqrt(np.float32(width)))
    context = side_by_side(context_qs8(q, q_scale, k, k_scale, v, v_scale, bias))
    return linear_qs8(*quantize_qs8(context), out_weight, out_weight_scale, out_bias)
