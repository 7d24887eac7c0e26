"""Golden values of Splitformers, as gen_model.py makes those of Conformers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchaudio.models import Conformer

from ee_ref.conformance.draw import SMALL_SPLITFORMER, random_features, random_state_dict
from ee_ref.families.splitformer import Config
from tests.golden.gen_model import PublishedModel, one_digit_up, published_model
from tests.support import (
    FULL_SEED,
    FULL_SPLITFORMER,
    SMALL_CLIPS,
    SMALL_SEED,
    SPLITFORMER_CLIPS,
)


def generate() -> dict[str, np.ndarray]:
    """small/FRAMES: (exits, T', vocab) log-probabilities. full/FRAMES: the same of every
    `stride`-th frame; full/FRAMES/pytorch_float32_distance: see gen_model.py."""
    with torch.no_grad():
        return {**_small(), **_full()}


class PublishedSplitformer(PublishedModel):
    """The layout of the published checkpoints (models/model/early_exit.py, Splitformer)."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.beside = [exit_ for exit_, layers in enumerate(config.parallel) if layers]
        self.conformer_parallel = nn.ModuleList(
            Conformer(config.dim, config.heads, config.ff, 1, config.kernel) for _ in self.beside)

    def steps(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        x = self.conv_subsample.sequential(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder.pe[: x.shape[1], 0]
        frames = x.shape[1]
        for number, (group, linear) in enumerate(zip(self.conformer, self.linears)):
            y, _ = group(x, torch.tensor([frames]))
            if number in self.beside:
                even = nn.functional.pad(x, (0, 0, 0, frames % 2))[:, ::2]
                parallel = self.conformer_parallel[self.beside.index(number)]
                slow, _ = parallel(even, torch.tensor([even.shape[1]]))
                y = y + slow.repeat_interleave(2, dim=1)[:, :frames]
            x = y
            yield linear(x).log_softmax(dim=-1)[0]


def _small() -> dict[str, np.ndarray]:
    state = random_state_dict(SMALL_SPLITFORMER, SMALL_SEED)
    model = published_model(SMALL_SPLITFORMER, state, PublishedSplitformer).double()
    values = {}
    for frames in SMALL_CLIPS:
        features = torch.from_numpy(random_features(frames, SMALL_SEED, SMALL_SPLITFORMER.mels))
        values[f"small/{frames}"] = torch.stack(model(features.double())).float().numpy()
    return values


def _full() -> dict[str, np.ndarray]:
    values = {}
    state = random_state_dict(FULL_SPLITFORMER, FULL_SEED)
    single = published_model(FULL_SPLITFORMER, state, PublishedSplitformer)
    double = published_model(FULL_SPLITFORMER, state, PublishedSplitformer).double()
    for clip in SPLITFORMER_CLIPS:
        features = torch.from_numpy(random_features(clip.frames, clip.seed))
        exits = torch.stack(double(features.double()))
        distance = (torch.stack(single(features)).double() - exits).abs().max().item()
        values[f"full/{clip.frames}"] = exits[:, :: clip.stride].float().numpy()
        values[f"full/{clip.frames}/pytorch_float32_distance"] = one_digit_up(distance)
    return values
