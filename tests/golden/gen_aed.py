"""Golden values of Conformers with attention decoders: the authors' wiring of torchaudio's
Conformer and torch.nn.TransformerDecoder, run anew over all labels at every step.

Double precision, rounded to float32 once, as in gen_model.py. The search is the authors'
(util/beam_infer.py): every step's log-probabilities divided by a penalty of the length so far, a
sentence that ends only after 300 steps, a number of steps that follows from that of mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from ee_ref.conformance.draw import SMALL_AED, random_features, random_state_dict
from ee_ref.families.aed import Config
from tests.aed_layouts import AED_CLIPS, FULL_AED, LABELS, authors
from tests.golden.gen_model import PublishedModel, one_digit_up, published_model
from tests.support import FULL_SEED, SMALL_CLIPS, SMALL_SEED

BEAM = 10
LEAST_GAP = 1e-4
"""Of greedy decoding between the two best labels: several times what float32 noise is."""


def generate() -> dict[str, np.ndarray]:
    """Of each clip: `ctc`, log-probabilities of the CTC heads (exits, T', vocab); `steps`, those of
    the decoders (exits, labels, vocab) after each of some labels; and the labels of searches,
    one row an exit, filled up with -1: `greedy`, up to the end, and `beam`, by the authors' rule.

    small/FRAMES/...: `steps` of LABELS. full/FRAMES/...: `steps` of the greedy labels, `ctc` and
    `steps` of every `stride`-th frame or label, `beam` of the first and the last exit; and the
    most that PyTorch in float32 is away (see gen_model.py), whose labels have
    to be the same.
    """
    with torch.no_grad():
        return {**_small(), **_full()}


class PublishedAed(PublishedModel):
    """The layout of the authors' checkpoints (models/model/early_exit.py, full_conformer)."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.config = config
        self.linears_1, self.linears_2 = self.linears, nn.ModuleList(
            nn.Linear(config.dim, config.vocab) for _ in range(config.exits))
        self.positional_encoder_1 = self.positional_encoder
        del self.linears, self.positional_encoder
        self.positional_encoder_2 = nn.Module()
        self.positional_encoder_2.register_buffer(
            "pe", torch.zeros(config.max_tokens, 1, config.dim))
        self.emb = nn.Embedding(config.vocab, config.dim)
        self.layer_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        layer = nn.TransformerDecoderLayer(
            config.dim, config.heads, config.ff, norm_first=True, batch_first=True)
        self.decoders = nn.ModuleList(
            nn.TransformerDecoder(layer, config.decoder_layers, self.layer_norm)
            for _ in range(config.exits))

    def hidden(self, features: torch.Tensor) -> Iterator[torch.Tensor]:
        """(T, mels) -> what the group of each exit gives, each (1, T', dim)."""
        x = self.conv_subsample.sequential(features.T[None]).transpose(1, 2)
        x = x + self.positional_encoder_1.pe[: x.shape[1], 0]
        for group in self.conformer:
            x, _ = group(x, torch.tensor([x.shape[1]]))
            yield x

    def ctc(self, exit_: int, hidden: torch.Tensor) -> torch.Tensor:
        """(T', vocab)"""
        return self.linears_1[exit_](hidden).log_softmax(dim=-1)[0]

    def decode(self, exit_: int, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """labels (B, n) -> log-probabilities (B, n, vocab) of the label after each."""
        count = labels.shape[1]
        x = self.emb(labels) + self.positional_encoder_2.pe[:count, 0]
        ahead = torch.ones(count, count, dtype=torch.bool).triu(1)
        y = self.decoders[exit_](x, hidden.expand(len(labels), -1, -1), tgt_mask=ahead,
                                 tgt_key_padding_mask=labels == self.config.pad_token)
        return self.linears_2[exit_](y).log_softmax(dim=-1)


Step = Callable[[torch.Tensor], torch.Tensor]
"""Labels (B, n) -> log-probabilities (B, n, vocab)."""


def greedy(config: Config, step: Step, rows: int) -> tuple[list[int], float]:
    """The best label after each, until the end or the limit of so many encoder frames, and the
    least distance of a best label from the second."""
    labels, gap = [config.start_token], math.inf
    while len(labels) <= min(config.max_tokens, rows // 2 + 8):
        best = step(torch.tensor([labels]))[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        labels.append(int(best.indices[0]))
        if labels[-1] in (config.end_token, config.pad_token):
            break
    return labels[1:], gap


def authors_steps(frames: int) -> int:
    """How many labels the authors let a sentence have."""
    return frames // 12 if frames >= 200 else math.floor(30 - frames / 40)


def authors_beam(config: Config, step: Step, frames: int, least: int = 300) -> list[int]:
    """The labels that the authors' search gives."""
    labels, scores = torch.tensor([[config.start_token]]), torch.zeros(1).double()
    ended: list[tuple[float, list[int]]] = []
    for number in range(min(authors_steps(frames), config.max_tokens)):
        log_probs = step(labels)[:, -1] / ((5 + number + 1) / 6)
        scores, indices = (scores[:, None] + log_probs).flatten().topk(BEAM - len(ended))
        labels = torch.cat([labels[indices // config.vocab], indices[:, None] % config.vocab], 1)
        ends = (labels[:, -1] == config.end_token) & (number > least)
        ended += [(score.item(), found.tolist())
                  for score, found in zip(scores[ends], labels[ends])]
        labels, scores = labels[~ends], scores[~ends]
        if not len(labels):
            break
    ended += [(score.item(), found.tolist()) for score, found in zip(scores, labels)]
    return max(ended, key=lambda found: found[0])[1][1:]


def _of(model: PublishedAed, features: torch.Tensor, given: tuple[int, ...] | None,
        searched: Sequence[int]) -> tuple[dict[str, np.ndarray], float]:
    """The values of one clip, and the least gap of the greedy searches."""
    config, gaps = model.config, []
    found: dict[str, list] = {"ctc": [], "steps": [], "greedy": [], "beam": []}
    for exit_, hidden in enumerate(model.hidden(features)):
        def step(labels: torch.Tensor, exit_: int = exit_, hidden: torch.Tensor = hidden
                 ) -> torch.Tensor:
            return model.decode(exit_, hidden, labels)

        labels, gap = greedy(config, step, hidden.shape[1])
        gaps.append(gap)
        found["ctc"].append(model.ctc(exit_, hidden))
        found["greedy"].append(labels)
        if exit_ in searched:
            found["beam"].append(authors_beam(config, step, len(features)))
        said = given if given is not None else [config.start_token, *labels[:-1]]
        found["steps"].append(step(torch.tensor([said]))[0])
    values = {name: _rows(found[name]) for name in ("greedy", "beam")}
    values["ctc"] = torch.stack(found["ctc"]).numpy()
    values["steps"] = _rows([rows.numpy() for rows in found["steps"]], np.nan)
    return values, min(gaps)


def _rows(rows: list, filler: float = -1) -> np.ndarray:
    """Rows of different lengths as one array."""
    arrays = [np.asarray(row) for row in rows]
    if not arrays:
        return np.zeros((0, 0), int)
    width = max(map(len, arrays))
    return np.stack([np.pad(row, [(0, width - len(row)), *[(0, 0)] * (row.ndim - 1)],
                            constant_values=filler) for row in arrays])


def _kept(values: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": array.astype(
        np.float32 if array.dtype.kind == "f" else np.int16) for name, array in values.items()}


def _small() -> dict[str, np.ndarray]:
    state = authors(random_state_dict(SMALL_AED, SMALL_SEED))
    model = published_model(SMALL_AED, state, PublishedAed).double()
    values = {}
    for frames in SMALL_CLIPS:
        features = torch.from_numpy(random_features(frames, SMALL_SEED, SMALL_AED.mels))
        found, _ = _of(model, features.double(), LABELS, range(SMALL_AED.exits))
        values |= _kept(found, f"small/{frames}")
    return values


def _full() -> dict[str, np.ndarray]:
    values = {}
    state = authors(random_state_dict(FULL_AED, FULL_SEED), FULL_AED)
    single = published_model(FULL_AED, state, PublishedAed)
    double = published_model(FULL_AED, state, PublishedAed).double()
    for clip in AED_CLIPS:
        features = torch.from_numpy(random_features(clip.frames, clip.seed))
        searched = (0, FULL_AED.exits - 1)
        found, gap = _of(double, features.double(), None, searched)
        again, _ = _of(single, features, None, searched)
        for name in ("greedy", "beam"):
            if not np.array_equal(found[name], again[name]):
                raise ValueError(f"{clip}: {name}: labels differ by rounding; take another seed")
        if gap < LEAST_GAP:
            raise ValueError(f"{clip}: two labels are {gap:.1e} apart; take another seed")
        distance = np.nanmax(np.abs(found["steps"] - again["steps"]))
        for name in ("ctc", "steps"):
            found[name] = found[name][:, :: clip.stride]
        values |= _kept(found, f"full/{clip.frames}")
        values[f"full/{clip.frames}/pytorch_float32_distance"] = one_digit_up(distance)
    return values
