"""What the queries of some heads take from keys and values: of ops and graphs with attention."""

from __future__ import annotations

import numpy as np

from ._exact import digits_product, integer_product
from .softmax import softmax
from .softmax_qs8 import softmax_qs8


def by_head(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows (T, D), the heads side by side in each, as (heads, T, D / heads)."""
    return x.reshape(len(x), heads, x.shape[1] // heads).transpose(1, 0, 2)


def side_by_side(x: np.ndarray) -> np.ndarray:
    """`by_head` undone: (heads, T, d) -> (T, heads d)"""
    heads, rows, width = x.shape
    return x.transpose(1, 0, 2).reshape(rows, heads * width)


def context(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(q k') v of every head; q has 1 / sqrt(d) in it.

    q (heads, T, d), k and v (heads, S, d) -> (heads, T, d)
    """
    return softmax(q @ k.transpose(0, 2, 1)) @ v


def context_qs8(
    q: np.ndarray, q_scale: np.ndarray, k: np.ndarray, k_scale: np.ndarray, v: np.ndarray,
    v_scale: np.ndarray, bias: np.ndarray | None = None,
) -> np.ndarray:
    """softmax(q k' + bias) v on int8 products, probabilities, with the scales of the values in
    them, in two digits; q_scale has 1 / sqrt(d) in it.

    q (heads, T, d), k and v (heads, S, d) int8, a scale for each of their rows, bias (heads, T, S)
    float32 -> (heads, T, d) float32
    """
    scales = q_scale[:, :, None] * k_scale[:, None]
    scores = integer_product(q, k).astype(np.float32) * scales
    high, low, scale = softmax_qs8(scores if bias is None else scores + bias, v_scale)
    return digits_product(high, low, v.transpose(0, 2, 1)) * scale[:, :, None]
