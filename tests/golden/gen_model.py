"""Golden values of whole models: torchaudio's Conformer between the published stem and heads.

Double precision, rounded to float32 once, as in gen_ops.py. For the full shape the distance of
PyTorch's own float32 run is kept beside the values, so that a test can say how far ee_ref is from
what a user of PyTorch sees. Long outputs are kept on a stride of frames, their argmax in full.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchaudio.models import Conformer

from ee_ref.conformance.draw import SMALL, random_features, random_state_dict
from ee_ref.families.conformer import Config
from tests.support import FULL, FULL_CLIPS, FULL_SEED, PROMISES, SMALL_CLIPS, SMALL_SEED


def generate() -> dict[str, np.ndarray]:
    """The values of the small and the full model.

    small/FRAMES/states: (1 + layers, T', dim), what the stem and each layer give.
    small/FRAMES/exits: (exits, T', vocab) log-probabilities.
    full/GAIN/FRAMES/log_probs: (exits, every `stride`-th frame, vocab); argmax: (exits, T');
    pytorch_float32_distance: the most that PyTorch in float32 is away, to one digit, rounded up.
    """
    with torch.no_grad():
        return {**_small(), **_full()}


class PublishedModel(nn.Module):
    """The layout of the published checkpoints (models/model/early_exit.py, Early_conformer)."""

    def __init__(self, config: Config):
        super().__init__()
        self.conv_subsample = nn.Module()
        self.conv_subsample.sequential = nn.Sequential(
            nn.Conv1d(config.mels, config.dim, 3, stride=2),
            nn.Conv1d(config.dim, config.dim, 3, stride=2),
        )
        self.positional_encoder = nn.Module()
        self.positional_encoder.register_buffer("pe", torch.zeros(config.max_frames, 1, config.dim))
        self.conformer = nn.ModuleList(
            Conformer(config.dim, config.heads, config.ff, layers, config.kernel)
            for layers in config.layers_per_exit
        )
        self.linears = nn.ModuleList(nn.Linear(config.dim, config.vocab) for _ in self.conformer)

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """(T, mels) -> the log-probabilities of every exit, each (T', vocab)."""
        return list(self.steps(features))

    def steps(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        """The same, from exit to exit."""
        x = self.conv_subsample.sequential(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder.pe[: x.shape[1], 0]
        lengths = torch.tensor([x.shape[1]])
        for group, linear in zip(self.conformer, self.linears):
            x, _ = group(x, lengths)
            yield linear(x).log_softmax(dim=-1)[0]


def published_model(config: Config, state: dict[str, np.ndarray],
                    layout: type[PublishedModel] = PublishedModel) -> PublishedModel:
    """A float32 model with this state, in evaluation mode."""
    model = layout(config).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model


def _small() -> dict[str, np.ndarray]:
    model = published_model(SMALL, random_state_dict(SMALL, SMALL_SEED)).double()
    states: list[torch.Tensor] = []
    first, *_ = layers = [layer for group in model.conformer for layer in group.conformer_layers]
    first.register_forward_pre_hook(lambda _layer, inputs: states.append(inputs[0][:, 0]))
    for layer in layers:
        layer.register_forward_hook(lambda _layer, _inputs, output: states.append(output[:, 0]))
    values = {}
    for frames in SMALL_CLIPS:
        states.clear()
        features = torch.from_numpy(random_features(frames, SMALL_SEED, SMALL.mels))
        exits = model(features.double())
        values[f"small/{frames}/states"] = torch.stack(states).float().numpy()
        values[f"small/{frames}/exits"] = torch.stack(exits).float().numpy()
    return values


def _full() -> dict[str, np.ndarray]:
    values = {}
    for qk_gain, promise in PROMISES.items():
        single = published_model(FULL, random_state_dict(FULL, FULL_SEED, qk_gain))
        double = published_model(FULL, random_state_dict(FULL, FULL_SEED, qk_gain)).double()
        for clip in FULL_CLIPS:
            features = torch.from_numpy(random_features(clip.frames, clip.seed))
            exits = torch.stack(double(features.double()))
            distance = (torch.stack(single(features)).double() - exits).abs().max().item()
            gap = _least_gap(exits)
            if gap < 2 * promise:
                raise ValueError(
                    f"gain {qk_gain}, {clip}: two labels are {gap:.1e} apart, and argmax may "
                    f"differ by rounding alone; take another seed"
                )
            key = f"full/{qk_gain}/{clip.frames}"
            values[f"{key}/log_probs"] = exits[:, :: clip.stride].float().numpy()
            values[f"{key}/argmax"] = exits.argmax(dim=-1).numpy().astype(np.uint8)
            values[f"{key}/pytorch_float32_distance"] = one_digit_up(distance)
    return values


def _least_gap(log_probs: torch.Tensor) -> float:
    """Least distance between the first and the second label of a frame."""
    best = log_probs.topk(2, dim=-1).values
    return (best[..., 0] - best[..., 1]).min().item()


def one_digit_up(value: float) -> np.ndarray:
    """[value] rounded up to one digit: its further digits depend on the CPU that ran this."""
    power = 10.0 ** math.floor(math.log10(value))
    return np.array([math.ceil(value / power) * power])
