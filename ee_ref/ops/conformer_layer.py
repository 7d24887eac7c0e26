from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ._view import FULL, LayerPast, View, newest
from .conv_module import conv_module
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .multi_head_attention import multi_head_attention


def conformer_layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5,
    view: View = FULL, past: LayerPast | None = None,
) -> tuple[np.ndarray, LayerPast]:
    """One macaron layer, as torchaudio.models.conformer.ConformerLayer in evaluation.

    x += ff1(x) / 2; x += attention(layer_norm(x)); x += conv(x); x += ff2(x) / 2; layer_norm(x)
    weights: the tensors of one layer by the part of their name after `group.G.layer.L.`
    (ee_ref/families/conformer.py): ff1.*, attn.*, conv.*, ff2.*, norm.*
    past: what the call for the frames before x gave; None where the utterance begins. Whole chunks
    call after call give what one call for all frames gives.
    x (T, D) -> (T, D), the past of the frames after x
    """
    past_kv, past_gated = past or (None, None)

    def affine(part: str) -> tuple[np.ndarray, np.ndarray]:
        return weights[f"{part}.weight"], weights[f"{part}.bias"]

    def half_feed_forward(module: str) -> np.ndarray:
        return 0.5 * feed_forward(
            x, *affine(f"{module}.norm"), *affine(f"{module}.up"), *affine(f"{module}.down"), eps)

    x = x + half_feed_forward("ff1")
    normed = layer_norm(x, *affine("attn.norm"), eps)
    attended, kv = multi_head_attention(
        normed, *affine("attn.in"), *affine("attn.out"), heads, view.chunk, view.left, past_kv)
    x = x + attended
    convolved, gated = conv_module(
        x, *affine("conv.norm"), *affine("conv.in"), *affine("conv.depthwise"),
        *affine("conv.out"), eps, view.ahead, view.chunk, past_gated)
    x = x + convolved
    x = x + half_feed_forward("ff2")
    y = layer_norm(x, *affine("norm"), eps)
    return y, newest(past, kv, gated, view, len(weights["conv.depthwise.weight"]))
