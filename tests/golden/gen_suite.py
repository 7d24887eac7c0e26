"""Golden values of the float32 models of the conformance suite, as gen_model.py makes its own.

That with a limited view is made of gen_ops.py: PyTorch on the whole utterance, with masks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ee_ref.conformance import suite
from ee_ref.conformance.draw import random_model
from ee_ref.families import conformer, grouped
from tests.golden import gen_ops
from tests.golden.gen_model import published_model


def generate() -> dict[str, np.ndarray]:
    """FRAMES/EXIT -> log-probabilities (T', vocab); feeds/NAME/EXIT, of all that is fed."""
    model = published_model(suite.F32_CONFIG, suite.f32_state_dict()).double()
    values = {}
    with torch.no_grad():
        for frames in suite.F32_FRAMES.values():
            features = torch.from_numpy(suite.f32_features(frames))
            for number, log_probs in enumerate(model(features.double()), start=1):
                values[f"{frames}/{number}"] = log_probs.float().numpy()
        for name, (feeds, _) in suite.FEEDS.items():
            fed = suite.feed_features(sum(frames for frames, _ in feeds), suite.F32_CONFIG.mels)
            for number, log_probs in enumerate(_with_masks(torch.from_numpy(fed).double()), 1):
                values[f"feeds/{name}/{number}"] = log_probs.float().numpy()
    return values


def _with_masks(features: torch.Tensor) -> Iterator[torch.Tensor]:
    """(T, mels) -> the log-probabilities of every exit of the model `chunks-f32`."""
    config, arrays = random_model(suite.CHUNKS_F32_CONFIG, suite.CHUNKS_SEED)
    weights = {prefix: {name: torch.from_numpy(array).double() for name, array in own.items()}
               for prefix, own in grouped(config, arrays).items()}
    x = features
    for conv in ("conv1", "conv2"):
        x = gen_ops.stem_conv(x, *_affine(weights["stem."], f"{conv}."), config.stem_stride)
    for group, layers in enumerate(config.layers_per_exit, start=1):
        for layer in range(1, layers + 1):
            own = weights[conformer.layer_prefix(group, layer)]
            x = gen_ops.conformer_layer(x, own, config.heads, config.norm_eps, config.view)
        yield gen_ops.exit_head(x, *_affine(weights[f"head.{group}."]))


def _affine(tensors, prefix: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    return tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]
