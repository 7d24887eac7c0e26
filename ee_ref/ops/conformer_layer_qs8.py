from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ._exact import HALF
from ._view import FULL, LayerPast, View, newest
from .conv_module_qs8 import conv_module_qs8
from .feed_forward_qs8 import feed_forward_qs8
from .layer_norm_exact import layer_norm_exact
from .multi_head_attention_qs8 import multi_head_attention_qs8

LINE = (
    "x (T D), weights, heads, eps, view, past? -> y (T D); heads divides D, ahead below K, chunk "
    "natural, left natural"
)


def conformer_layer_qs8(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5,
    view: View = FULL, past: LayerPast | None = None,
) -> tuple[np.ndarray, LayerPast]:
    """One macaron layer with int8 products; the residual stream stays float32.

    x += ff1(x) / 2; x += attention(layer_norm(x)); x += conv(x); x += ff2(x) / 2; layer_norm(x)
    weights: the tensors of one layer by the part of their name after `group.G.layer.L.`
    (ee_ref/families/conformer.py), int8 matrices with their scales: ff1.*, attn.*, conv.*, ff2.*,
    norm.*
    past: as in `conformer_layer`, float32.
    x (T, D) float32 -> (T, D), the past of the frames after x
    """
    past_kv, past_gated = past or (None, None)

    def floats(part: str) -> tuple[np.ndarray, np.ndarray]:
        return weights[f"{part}.weight"], weights[f"{part}.bias"]

    def matrix(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return weights[f"{part}.weight"], weights[f"{part}.weight_scale"], weights[f"{part}.bias"]

    def half_feed_forward(module: str) -> np.ndarray:
        return HALF * feed_forward_qs8(
            x, *floats(f"{module}.norm"), *matrix(f"{module}.up"), *matrix(f"{module}.down"), eps)

    x = x + half_feed_forward("ff1")
    normed = layer_norm_exact(x, *floats("attn.norm"), eps)
    attended, kv = multi_head_attention_qs8(
        normed, *matrix("attn.in"), *matrix("attn.out"), heads, view.chunk, view.left, past_kv)
    x = x + attended
    convolved, gated = conv_module_qs8(
        x, *floats("conv.norm"), *matrix("conv.in"), *floats("conv.depthwise"),
        *matrix("conv.out"), eps, view.ahead, view.chunk, past_gated)
    x = x + convolved
    x = x + half_feed_forward("ff2")
    y = layer_norm_exact(x, *floats("norm"), eps)
    return y, newest(past, kv, gated, view, len(weights["conv.depthwise.weight"]))
