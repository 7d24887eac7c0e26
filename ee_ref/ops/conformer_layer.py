from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .conv_module import conv_module
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .multi_head_attention import multi_head_attention


def conformer_layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5
) -> np.ndarray:
    """One macaron layer, as torchaudio.models.conformer.ConformerLayer in evaluation.

    x += ff1(x) / 2; x += attention(layer_norm(x)); x += conv(x); x += ff2(x) / 2; layer_norm(x)
    weights: the tensors of one layer by the part of their name after `group.G.layer.L.`
    (weights_io/layout.py): ff1.*, attn.*, conv.*, ff2.*, norm.*
    x (T, D) -> (T, D)
    """

    def module(prefix: str, *parts: str) -> list[np.ndarray]:
        return [weights[f"{prefix}.{part}.{kind}"] for part in parts for kind in ("weight", "bias")]

    x = x + feed_forward(x, *module("ff1", "norm", "up", "down"), eps) * 0.5
    normed = layer_norm(x, *module("attn", "norm"), eps)
    x = x + multi_head_attention(normed, *module("attn", "in", "out"), heads)
    x = x + conv_module(x, *module("conv", "norm", "in", "depthwise", "out"), eps)
    x = x + feed_forward(x, *module("ff2", "norm", "up", "down"), eps) * 0.5
    return layer_norm(x, weights["norm.weight"], weights["norm.bias"], eps)
