"""The early-exit Zipformer of the authors: Conformer layers in stacks at falling and rising rates.

    stem_conv -> + positions -> stack at rate 1 -> [every f-th frame -> stack -> each frame f times
    -> + what went into the stack]* -> every second frame -> exit head

The stem gives 50 frames a second, exits 25. An exit within a stack, or at its end, reads the rows
of the stack, each f times, without the sum; the exit behind the last layer of all reads the sum.
Layers, heads and front end are the Conformer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ..errors import CheckpointError
from . import _checkpoint, _table, conformer
from ._arithmetic import matrix, op
from ._checkpoint import Source
from ._state import State, Stem
from ._table import Kind, Part, Row, Weights
from .conformer import OPTIONS, described, heads, layout, standard

__all__ = ["Config", "OPTIONS", "RATES", "described", "heads", "infer", "is_checkpoint", "layout",
           "parts", "sizes", "sources", "standard", "start"]

STACKS = ((1, 2), (2, 2), (4, 4), (8, 5), (4, 4), (2, 2))
"""Of each stack, every how manieth frame it sees, and its layers."""

RATES = (*chain.from_iterable([rate] * layers for rate, layers in STACKS),)
"""The same of each layer."""

STARTS = frozenset(accumulate(layers for _, layers in STACKS[:-1]))
"""The layers, from 0, with which stacks begin that go back to where they branch off."""


@dataclass(frozen=True, kw_only=True)
class Config(conformer.Config):
    """Sizes and choices of an early-exit Zipformer.

    The fields of `ee_ref.families.conformer.Config`. A row of the stem, and of the position table,
    is half an encoder frame; layers_per_exit are the first layers of `RATES`. The view is full: of
    layers at other rates no chunks are defined.
    """

    architecture: ClassVar[str] = "ee-zipformer"
    number: ClassVar[int] = 5
    since: ClassVar[int] = 3
    has_streams: ClassVar[bool] = False

    @property
    def window(self) -> int:
        """Frames of features that an encoder frame begins with; the next one is `stride` later."""
        return self.stem_kernel

    @property
    def stride(self) -> int:
        """Frames of features from one encoder frame to the next."""
        return 2 * self.stem_stride

    def stem_rows(self, inputs: int) -> int:
        """Rows of the stem, two an encoder frame, for `inputs` frames of features."""
        return max(0, (inputs - self.stem_kernel) // self.stem_stride + 1)

    def stem_cost(self, inputs: int) -> int:
        """K mels D a row, K = stem_kernel."""
        return self.stem_kernel * self.mels * self.dim * self.stem_rows(inputs)

    def costs(self, inputs: int) -> tuple[int, ...]:
        """See `ee_ref.families.conformer.Config.costs`; a layer has the frames of its rate."""
        rows, rates = self.stem_rows(inputs), iter(RATES)
        total, totals = self.stem_cost(inputs), []
        for layers in self.layers_per_exit:
            total += sum(conformer.layer_cost(self, at_rate(rows, next(rates)))
                         for _ in range(layers))
            total += conformer.head_cost(self, self.encoder_frames(inputs))
            totals.append(total)
        return tuple(totals)

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        self._require(sum(self.layers_per_exit) <= len(RATES), "layers_per_exit",
                      f"at most {len(RATES)} layers")
        self._require(self.chunk == 0, "chunk",
                      "0, the full view, which alone is defined for layers at several rates")
        return self


def at_rate(rows: int, rate: int) -> int:
    """The first of so many rows, and every rate-th one after it."""
    return -(-rows // rate)


# ---- Tensors: those of the Conformer with another stem ----

STEM = (
    Row("positions", "2P D", Kind.TABLE),  # added to what the convolution gives
    Row("conv.weight", "D SM", Kind.MATRIX),  # taps outer, channels inner
    Row("conv.bias", "D", Kind.VECTOR),
)


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for."""
    return conformer.sizes(config)


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to head k are a model of k exits."""
    for part in conformer.parts(config):
        if part.prefix == "stem.":
            part = part._replace(rows=STEM if config.positions == "table" else STEM[1:])
        yield part


# ---- The graph ----


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning; see `ee_ref.families.conformer.start`."""
    done, groups = 0, []
    for number, group in enumerate(conformer.groups(config, weights, ops), start=1):
        count = config.layers_per_exit[number - 1]
        own = [conformer.layers(config, [weights[conformer.layer_prefix(number, layer)]], ops)
               for layer in range(1, count + 1)]
        groups.append(group._replace(run=_stacks(done, own), read=_read(done + count)))
        done += count
    return State(config, stem(config, weights["stem."], ops), groups, capacity)


def stem(config: Config, weights: Mapping[str, np.ndarray], ops: ModuleType) -> Stem:
    """One convolution, then the positions."""
    stem_conv = op(ops, "stem_conv", config.dtype)

    def run(x: np.ndarray, first: int) -> np.ndarray:
        x = stem_conv(x, *matrix(weights, "conv."), config.stem_stride)
        return conformer.placed(config, weights, x, first)

    return Stem(config.stem_kernel, config.stem_stride, run)


Layer = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


def _stacks(done: int, own: Sequence[Layer]) -> Layer:
    """The layers of an exit, before which so many others ran: the `run` of a `Group`.

    Between groups x is the rows at full rate, and below them those of the stack that is not over.
    """
    def run(x: np.ndarray, past: Any) -> tuple[np.ndarray, Any]:
        full, slow = _split(x, done)
        for number, layer in enumerate(own, start=done):
            if number in STARTS:
                full = _sum(full, slow, number)
                slow = full[:: RATES[number]]
            if RATES[number] == 1:
                full, _ = layer(full, None)
            else:
                slow, _ = layer(slow, None)
        return np.concatenate([full, slow]), past

    return run


def _read(done: int) -> Callable[[np.ndarray], np.ndarray]:
    """What the head behind so many layers is given: the `read` of a `Group`."""
    def read(x: np.ndarray) -> np.ndarray:
        full, slow = _split(x, done)
        if done == len(RATES):
            return _sum(full, slow, done)[::2]
        return full[::2] if RATES[done - 1] == 1 else _repeated(slow, done, len(full))[::2]

    return read


def _split(x: np.ndarray, done: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows at full rate, and those of the stack in which the last of so many layers is.

    There are R and R / rate of them, rounded up; of all N, R is N rate / (rate + 1), rounded down.
    """
    rate = RATES[done - 1] if done else 1
    rows = len(x) if rate == 1 else len(x) * rate // (rate + 1)
    return x[:rows], x[rows:]


def _sum(full: np.ndarray, slow: np.ndarray, done: int) -> np.ndarray:
    """Behind a stack: what went into it is added, where it has another rate."""
    return full + _repeated(slow, done, len(full)) if len(slow) else full


def _repeated(slow: np.ndarray, done: int, rows: int) -> np.ndarray:
    """Each row of the stack as often as its rate says."""
    return slow.repeat(RATES[done - 1], axis=0)[:rows]


# ---- Checkpoints of the published layouts ----


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    letters = sizes(config)
    prefixes = [conformer.layer_prefix(group, layer)
                for group, count in enumerate(config.layers_per_exit, start=1)
                for layer in range(1, count + 1)]
    yield Source("stem.conv", "conv_subsample.conv", _table.spelled("D M S", letters))
    for source in conformer.sources(config):
        if source.name == "stem.positions":
            yield source._replace(shape=_table.spelled("2P 1 D", letters))
        elif source.name.startswith(("frontend.", "head.")):
            yield source
    for number, prefix in enumerate(prefixes):
        yield from conformer.layer_sources(
            prefix, f"conformer.{number}.conformer_layers.0.", letters)


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family."""
    return "conv_subsample.conv.weight" in names


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply, not validated.

    One head is that behind the last layer, several are behind every second one and the last.
    settings: fields of Config that shapes do not tell. Raises CheckpointError.
    """
    exits = _checkpoint.count(state, r"linears\.([0-9]{1,4})\.", "exit heads linears.N")
    layers = _checkpoint.count(state, r"conformer\.([0-9]{1,4})\.", "layers conformer.N")
    if layers != len(RATES):
        stacks = ", ".join(str(count) for _, count in STACKS)
        raise CheckpointError(f"expected {len(RATES)} layers conformer.N, in stacks of {stacks}, "
                              f"found {layers}")
    if exits not in EXITS:
        raise CheckpointError(f"expected exit heads linears.N behind the last layer alone, 1, or "
                              f"behind every second one and the last, {max(EXITS)}, found {exits}")
    fields = conformer.inferred(state, settings, "conv_subsample.conv")
    if fields["max_frames"] % 2:
        raise CheckpointError("tensor 'positional_encoder.pe': expected an even number of rows, "
                              f"two an encoder frame, found {fields['max_frames']}")
    fields["max_frames"] //= 2
    return Config(exits=exits, layers_per_exit=EXITS[exits], **fields)


EXITS = {1: (19,), 10: (2,) * 9 + (1,)}
"""The layers of each exit in the published models, by the number of exits."""
