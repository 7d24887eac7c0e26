"""Golden values of Zipformers, as gen_model.py makes those of Conformers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchaudio.models import Conformer

from ee_ref.conformance.draw import SMALL_ZIPFORMER, random_features, random_state_dict
from ee_ref.families.zipformer import Config
from tests.golden.gen_model import one_digit_up
from tests.support import (
    FULL_SEED,
    FULL_ZIPFORMER,
    ONE_EXIT_ZIPFORMER,
    SMALL_SEED,
    ZIPFORMER_CLIPS,
    ZIPFORMER_FRAMES,
    of_one_exit,
)


def generate() -> dict[str, np.ndarray]:
    """small/FRAMES and one/FRAMES: (exits, T', vocab) log-probabilities, with ten exits and one.
    full/FRAMES: of the published shape with ten, every `stride`-th frame;
    full/FRAMES/pytorch_float32_distance: see gen_model.py."""
    with torch.no_grad():
        return {**_small(), **_full()}


class PublishedZipformer(nn.Module):
    """The layouts of the authors' checkpoints (models/model/early_exit.py, Early_zipformer and
    Early_zipformer_2layer_exits), and what these do with one utterance."""

    stacks = ((2, 2), (4, 4), (8, 5), (4, 4), (2, 2))  # after the first two layers

    def __init__(self, config: Config):
        super().__init__()
        self.conv_subsample = nn.Module()
        self.conv_subsample.conv = nn.Conv1d(config.mels, config.dim, 3, stride=2)
        self.positional_encoder = nn.Module()
        self.positional_encoder.register_buffer(
            "pe", torch.zeros(2 * config.max_frames, 1, config.dim))
        self.conformer = nn.ModuleList(
            Conformer(config.dim, config.heads, config.ff, 1, config.kernel) for _ in range(19))
        if config.exits == 1:
            self.linear = nn.Linear(config.dim, config.vocab)
        else:
            self.linears = nn.ModuleList(
                nn.Linear(config.dim, config.vocab) for _ in range(config.exits))

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """(T, mels) -> the log-probabilities of every exit, each (T', vocab)."""
        read = list(self.read(features))
        if hasattr(self, "linear"):
            return [self.linear(read[-1][:, ::2]).log_softmax(dim=-1)[0]]
        return [linear(x[:, ::2]).log_softmax(dim=-1)[0] for linear, x in zip(self.linears, read)]

    def read(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        """What the heads see before they take every second frame, of ten exits."""
        def run(layer, x):
            return self.conformer[layer](x, torch.tensor([x.shape[1]]))[0]

        x = self.conv_subsample.conv(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder.pe[: x.shape[1], 0]
        frames = x.shape[1]
        x = run(1, run(0, x))
        yield x
        layer = 2
        for rate, layers in self.stacks:
            slow = nn.functional.pad(x, (0, 0, 0, -frames % rate))[:, ::rate]
            for _ in range(layers):
                slow = run(layer, slow)
                layer += 1
                repeated = slow.repeat_interleave(rate, dim=1)[:, :frames]
                if layer % 2 == 0:
                    yield repeated
            x = x + repeated
        yield x


def published(config: Config, state: dict[str, np.ndarray]) -> PublishedZipformer:
    """A float32 model with this state, in evaluation mode."""
    model = PublishedZipformer(config).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model


def _small() -> dict[str, np.ndarray]:
    values = {}
    for name, config in (("small", SMALL_ZIPFORMER), ("one", ONE_EXIT_ZIPFORMER)):
        state = random_state_dict(config, SMALL_SEED)
        if config.exits == 1:
            state = of_one_exit(state, layers=False)
        model = published(config, state).double()
        for frames in ZIPFORMER_FRAMES:
            features = torch.from_numpy(random_features(frames, SMALL_SEED, config.mels))
            values[f"{name}/{frames}"] = torch.stack(model(features.double())).float().numpy()
    return values


def _full() -> dict[str, np.ndarray]:
    values = {}
    state = random_state_dict(FULL_ZIPFORMER, FULL_SEED)
    single, double = published(FULL_ZIPFORMER, state), published(FULL_ZIPFORMER, state).double()
    for clip in ZIPFORMER_CLIPS:
        features = torch.from_numpy(random_features(clip.frames, clip.seed))
        exits = torch.stack(double(features.double()))
        distance = (torch.stack(single(features)).double() - exits).abs().max().item()
        values[f"full/{clip.frames}"] = exits[:, :: clip.stride].float().numpy()
        values[f"full/{clip.frames}/pytorch_float32_distance"] = one_digit_up(distance)
    return values
