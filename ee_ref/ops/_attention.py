"""Attention of int8 mode between projections, in whichever op it stands."""

from __future__ import annotations

import numpy as np

from ._exact import ONE, digits_product, integer_product
from .quantize_qs8 import quantize_qs8
from .softmax_qs8 import softmax_qs8


def context_qs8(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """softmax(q k' / sqrt(d) + bias) v of each head, on int8 products.

    Queries, keys and values are quantised by frame and head; probabilities, with the scales of the
    values in them, are integers of 14 bits in two digits.
    queries (heads, T, d), keys and values (heads, U, d), bias (heads, T, U), all float32
    -> (heads, T, d) float32
    """
    q, q_scale = quantize_qs8(queries)                          # (heads, T, d), (heads, T)
    k, k_scale = quantize_qs8(keys)                             # (heads, U, d), (heads, U)
    v, v_scale = quantize_qs8(values)
    q_scale = q_scale * (ONE / np.sqrt(np.float32(queries.shape[-1])))
    scales = q_scale[:, :, None] * k_scale[:, None]
    scores = integer_product(q, k).astype(np.float32) * scales
    high, low, scale = softmax_qs8(scores if bias is None else scores + bias, v_scale)
    return digits_product(high, low, v.transpose(0, 2, 1)) * scale[:, :, None]
