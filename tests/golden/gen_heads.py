"""Golden values of Conformers with other heads, as gen_model.py makes those of the usual ones: with
a single exit, and with LSTMs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchaudio.models import Conformer

from ee_ref.conformance.draw import SMALL_LSTM, random_features, random_state_dict
from ee_ref.families import conformer, conformer_lstm
from tests.golden.gen_model import PublishedModel, one_digit_up, published_model
from tests.support import (
    FULL_LSTM,
    FULL_SEED,
    LSTM_CLIPS,
    ONE_EXIT,
    SMALL_CLIPS,
    SMALL_SEED,
    of_one_exit,
)


def generate() -> dict[str, np.ndarray]:
    """one/FRAMES and lstm/FRAMES: (exits, T', vocab) log-probabilities of small models.
    full/FRAMES: of the published shape with LSTMs, every `stride`-th frame;
    full/FRAMES/pytorch_float32_distance: see gen_model.py."""
    with torch.no_grad():
        one = of_one_exit(random_state_dict(ONE_EXIT, SMALL_SEED))
        lstm = random_state_dict(SMALL_LSTM, SMALL_SEED)
        return {**_small("one", published_model(ONE_EXIT, one, OneExit)),
                **_small("lstm", published_model(SMALL_LSTM, lstm, WithLstm)), **_full()}


class OneExit(PublishedModel):
    """The layout of checkpoints with one exit (models/model/early_exit.py, my_conformer)."""

    def __init__(self, config: conformer.Config):
        super().__init__(config)
        del self.linears
        self.conformer = Conformer(config.dim, config.heads, config.ff, config.layers_per_exit[0],
                                   config.kernel)
        self.linear = nn.Linear(config.dim, config.vocab)

    def steps(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        x = self.conv_subsample.sequential(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder.pe[: x.shape[1], 0]
        x, _ = self.conformer(x, torch.tensor([x.shape[1]]))
        yield self.linear(x).log_softmax(dim=-1)[0]


class WithLstm(PublishedModel):
    """The layout of checkpoints with LSTMs in the heads (branch "lstm")."""

    def __init__(self, config: conformer_lstm.Config):
        super().__init__(config)
        self.lstms = nn.ModuleList(
            nn.LSTM(config.dim, config.lstm_width, config.lstm_layers, batch_first=True,
                    bidirectional=True) for _ in self.linears)
        self.linears = nn.ModuleList(
            nn.Linear(2 * config.lstm_width, config.vocab) for _ in self.linears)

    def steps(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        x = self.conv_subsample.sequential(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder.pe[: x.shape[1], 0]
        lengths = torch.tensor([x.shape[1]])
        for group, lstm, linear in zip(self.conformer, self.lstms, self.linears):
            x, _ = group(x, lengths)
            yield linear(lstm(x)[0]).log_softmax(dim=-1)[0]


def _small(name: str, model: PublishedModel) -> dict[str, np.ndarray]:
    values = {}
    for frames in SMALL_CLIPS:
        features = torch.from_numpy(random_features(frames, SMALL_SEED, SMALL_LSTM.mels))
        exits = model.double()(features.double())
        values[f"{name}/{frames}"] = torch.stack(exits).float().numpy()
    return values


def _full() -> dict[str, np.ndarray]:
    values = {}
    state = random_state_dict(FULL_LSTM, FULL_SEED)
    single = published_model(FULL_LSTM, state, WithLstm)
    double = published_model(FULL_LSTM, state, WithLstm).double()
    for clip in LSTM_CLIPS:
        features = torch.from_numpy(random_features(clip.frames, clip.seed))
        exits = torch.stack(double(features.double()))
        distance = (torch.stack(single(features)).double() - exits).abs().max().item()
        values[f"full/{clip.frames}"] = exits[:, :: clip.stride].float().numpy()
        values[f"full/{clip.frames}/pytorch_float32_distance"] = one_digit_up(distance)
    return values
