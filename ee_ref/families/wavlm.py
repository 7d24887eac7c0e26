"""WavLM (arXiv:2110.13900) with CTC heads at exits: wav2vec 2.0 with another attention.

A score has a bias added that depends on how far the key lies from the query, one table of all
layers, times a gate that each layer computes from the query's row (`ee_ref.ops.gated_attention`).
The bias of all pairs is a Toeplitz matrix, kept as its 2T - 1 diagonals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from . import _checkpoint, _speech_layouts, wav2vec2
from ._arithmetic import Ops, matrix
from ._checkpoint import Module, Source
from ._state import State
from ._table import Kind, Part, Row, Weights
from .wav2vec2 import heads, layer_prefix, layout, standard

__all__ = ["Config", "OPTIONS", "buckets", "described", "heads", "infer", "is_checkpoint",
           "layout", "parts", "sizes", "sources", "standard", "start"]

OPTIONS = {name: option for name, option in wav2vec2.OPTIONS.items() if name != "heads"}
"""See `ee_ref.families.wav2vec2.OPTIONS`; the table of distances tells the heads."""


@dataclass(frozen=True, kw_only=True)
class Config(wav2vec2.Config):
    """Sizes and choices of a WavLM with CTC heads.

    The fields of `ee_ref.families.wav2vec2.Config`, and:
    buckets: rows of the table of distances, half of them for keys after the query; max_distance: in
    frames, from which on all distances share a row.
    """

    architecture: ClassVar[str] = "ee-wavlm"
    number: ClassVar[int] = 4

    buckets: int = 320
    max_distance: int = 800

    def layer_cost(self, frames: int) -> int:
        """See `ee_ref.families.wav2vec2.Config.layer_cost`; the gates take 8 D a frame more."""
        return super().layer_cost(frames) + 8 * frames * self.dim

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        self._require_count("buckets", 4)
        self._require_count("max_distance", 1)
        self._require(self.buckets % 4 == 0, "buckets", "a multiple of 4")
        self._require(self.max_distance > self.buckets // 4, "max_distance",
                      f"more than a quarter of the {self.buckets} buckets")
        return self


# ---- Tensors: those of wav2vec 2.0, the table of distances, and the gates of each layer ----

_GATE = (
    Row("attn.gate.weight", "8 W", Kind.MATRIX),
    Row("attn.gate.bias", "8", Kind.VECTOR),
    Row("attn.gate.scale", "H", Kind.VECTOR),
)


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for; B buckets."""
    return {**wav2vec2.sizes(config), "B": config.buckets}


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to head k are a model of k exits."""
    distances = Row("distances", "B H", Kind.TAPS)
    for part in wav2vec2.parts(config):
        if part.prefix == "stem.":
            part = part._replace(rows=(*part.rows, distances))
        elif part.rows is wav2vec2.LAYER:
            part = part._replace(rows=(*part.rows, *_GATE))
        yield part


# ---- The graph ----


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning; see `ee_ref.families.conformer.start`."""
    own_ops = Ops(config, ops)
    table = weights["stem."]["distances"].T

    def attend(x: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
        frames = len(x)
        between = buckets(np.arange(1 - frames, frames), config.buckets, config.max_distance)
        matrices = [tensor for name in ("in", "out", "gate")
                    for tensor in matrix(own, f"attn.{name}.")]
        return own_ops.gated_attention(x, *matrices, own["attn.gate.scale"], table[:, between])

    return State(config, wav2vec2.stem(config, weights["stem."], own_ops),
                 [*wav2vec2.groups(config, weights, own_ops, attend)], capacity)


def buckets(distance: np.ndarray, count: int, max_distance: int) -> np.ndarray:
    """The row of the table, of `count`, for each distance: index of the key less that of the query.

    Of each half, half the rows are for distances one by one, and the others for logarithmic steps
    up to `max_distance`.
    """
    half, exact = count // 2, count // 4
    far = np.abs(distance)
    with np.errstate(divide="ignore"):  # log(0), where it is not taken
        steps = np.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    # Where a step begins at a whole distance, rounding must not miss it.
    logarithmic = np.minimum(half - 1, exact + np.maximum(steps + 1e-9, 0).astype(np.int64))
    return np.where(far < exact, far, logarithmic) + half * (distance > 0)


# ---- Checkpoints, by the names that `standard` gives ----

_ATTENTION = "encoder.layers.{}.attention."


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    yield from wav2vec2.sources(config)
    yield Source("stem.distances", _ATTENTION.format(0) + "rel_attn_embed.weight",
                 (config.buckets, config.heads), Module.TENSOR)
    layer = 0
    for group, count in enumerate(config.layers_per_exit, start=1):
        for own in range(1, count + 1):
            name, source = layer_prefix(group, own) + "attn.gate", _ATTENTION.format(layer)
            yield Source(name, f"{source}gru_rel_pos_linear", (8, config.dim // config.heads))
            yield Source(f"{name}.scale", f"{source}gru_rel_pos_const", (1, config.heads, 1, 1),
                         Module.TENSOR)
            layer += 1


def described(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the files of a folder of Hugging Face tell."""
    return _speech_layouts.described(extras, ("wavlm",))


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family, in any layout."""
    return wav2vec2.is_checkpoint(names) and any(
        "gru_rel_pos" in name or ".grep_" in name or "rel_attn_embed" in name for name in names)


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """See `ee_ref.families.wav2vec2.infer`."""
    count, heads = _checkpoint.shape(state, _ATTENTION.format(0) + "rel_attn_embed.weight", 2)
    found = wav2vec2.inferred(state, {"heads": heads, **settings})
    return Config(**found, buckets=count)
