"""The early-exit Conformer with a bidirectional LSTM in each head.

    x -> [conformer layers -> [lstm]* -> linear -> log_softmax]*

An LSTM goes through the whole utterance in both directions, so that the view is full. All else is
the Conformer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import config as shared
from ..errors import CheckpointError
from . import _checkpoint, _table, conformer
from ._arithmetic import matrix, op
from ._checkpoint import Module, Source
from ._state import State
from ._table import Kind, Part, Row, Weights
from .conformer import OPTIONS, described, heads, layout, standard

__all__ = ["Config", "OPTIONS", "described", "heads", "infer", "is_checkpoint", "layout", "parts",
           "sizes", "sources", "standard", "start"]

MAX_LSTM_LAYERS = 8
MAX_LSTM_WIDTH = shared.MAX_SIZE // 8


@dataclass(frozen=True, kw_only=True)
class Config(conformer.Config):
    """Sizes and choices of a Conformer whose heads have LSTMs.

    The fields of `ee_ref.families.conformer.Config`, and:
    lstm_layers: LSTMs of a head, one after another. lstm_width: values of each in a direction.
    The view is full: an LSTM that goes backwards begins at the end of the utterance.
    """

    architecture: ClassVar[str] = "ee-conformer-lstm"
    number: ClassVar[int] = 6
    since: ClassVar[int] = 3
    own: ClassVar[Mapping[str, str]] = MappingProxyType({"lstm_layers": "I", "lstm_width": "I"})

    lstm_layers: int
    lstm_width: int

    def costs(self, inputs: int) -> tuple[int, ...]:
        """See `ee_ref.families.conformer.Config.costs`; with I inputs and width W an LSTM takes
        8 W (I + W) a frame, and the linear layer of a head 2 W vocab."""
        frames, width = self.encoder_frames(inputs), self.lstm_width
        ins = [self.dim, *[2 * width] * (self.lstm_layers - 1)]
        lstms = sum(8 * width * (count + width) for count in ins)
        more = lstms + (2 * width - self.dim) * self.vocab
        return tuple(cost + exit_ * frames * more
                     for exit_, cost in enumerate(super().costs(inputs), start=1))

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        for name, most in (("lstm_layers", MAX_LSTM_LAYERS), ("lstm_width", MAX_LSTM_WIDTH)):
            self._require(shared.is_count(getattr(self, name), 1, most), name,
                          f"an integer in 1..{most}")
        self._require(self.chunk == 0, "chunk",
                      "0, the full view, as an LSTM goes through the whole utterance")
        return self


# ---- Tensors: those of the Conformer, with LSTMs before the linear layer of a head ----


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for; W lstm_width."""
    return {**conformer.sizes(config), "W": config.lstm_width}


def _head(layers: int) -> tuple[Row, ...]:
    lstms = (row for layer in range(1, layers + 1) for row in (
        Row(f"lstm.{layer}.in.weight", "8W D" if layer == 1 else "8W 2W", Kind.MATRIX),
        Row(f"lstm.{layer}.in.bias", "8W", Kind.VECTOR),
        Row(f"lstm.{layer}.forward.weight", "4W W", Kind.MATRIX),
        Row(f"lstm.{layer}.backward.weight", "4W W", Kind.MATRIX)))
    return (*lstms, Row("weight", "V 2W", Kind.MATRIX), Row("bias", "V", Kind.VECTOR))


HEADS = {layers: _head(layers) for layers in range(1, MAX_LSTM_LAYERS + 1)}
"""The tensors of a head by its LSTMs. The gates of a direction lie one below the other, i, f, g, o;
in "in" those of the forward direction, then of the backward one."""


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to head k are a model of k exits."""
    rows = HEADS[config.lstm_layers]
    for part in conformer.parts(config):
        yield part._replace(rows=rows) if part.rows is conformer.HEAD else part


# ---- The graph ----


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning; see `ee_ref.families.conformer.start`."""
    groups = [group._replace(head=head(config, weights[f"head.{exit_}."], ops))
              for exit_, group in enumerate(conformer.groups(config, weights, ops), start=1)]
    return State(config, conformer.stem(config, weights["stem."], ops), groups, capacity)


def head(config: Config, weights: Mapping[str, np.ndarray], ops: ModuleType
         ) -> Callable[[np.ndarray], np.ndarray]:
    """The head of an exit: the `head` of a `Group`."""
    lstm = op(ops, "lstm", config.dtype)
    linear = conformer.head(weights, ops)
    own = [[array for part in ("in", "forward", "backward")
            for array in matrix(weights, f"lstm.{layer}.{part}.")]
           for layer in range(1, config.lstm_layers + 1)]

    def run(x: np.ndarray) -> np.ndarray:
        for tensors in own:
            x = lstm(x, *tensors)
        return linear(x)

    return run


# ---- Checkpoints of the published layout ----


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    letters = sizes(config)
    for source in conformer.sources(config):
        if not source.name.startswith("head."):
            yield source
            continue
        yield source._replace(shape=_table.spelled("V 2W", letters), gain=3.0)
        number = source.source.rpartition(".")[2]
        for layer in range(config.lstm_layers):
            yield Source(f"{source.name}.lstm.{layer + 1}", f"lstms.{number}.*_l{layer}",
                         _table.spelled("4W 2W" if layer else "4W D", letters), Module.LSTM)


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family."""
    return any(name.startswith("lstms.") for name in names)


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply, not validated.

    settings: fields of Config that shapes do not tell. Raises CheckpointError.
    """
    plain = conformer.infer(state, settings)
    count = _checkpoint.count(state, r"lstms\.([0-9]{1,4})\.", "LSTMs of heads lstms.N")
    if count != plain.exits:
        raise CheckpointError(f"expected an LSTM lstms.N for each of {plain.exits} exit heads, "
                              f"found {count}")
    layers = _checkpoint.count(state, r"lstms\.0\.weight_ih_l([0-9]{1,4})$",
                               "layers lstms.0.weight_ih_lN")
    _, width = _checkpoint.shape(state, "lstms.0.weight_hh_l0", 2)
    return Config(**asdict(plain), lstm_layers=layers, lstm_width=width)
