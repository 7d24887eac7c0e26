"""The Splitformer (arXiv:2506.18035): an early-exit Conformer with layers at half the frame rate.

    x -> [conformer layers] -> + -> exit head
    x -> every second frame -> conformer layer -> each frame twice -> +

The second branch lies beside the groups that `Config.parallel` names: in the published model those
of the first and the last exit. Its sum with the group goes to the head and to the next group. All
else is the Conformer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

import numpy as np

from ..config import MAX_EXITS
from ..errors import CheckpointError
from . import _checkpoint, conformer
from ._checkpoint import Source
from ._state import Group, State
from ._table import Part, Weights
from .conformer import OPTIONS, described, heads, layout, sizes, standard

__all__ = ["Config", "OPTIONS", "described", "heads", "infer", "is_checkpoint", "layout",
           "parallel_prefix", "parts", "sizes", "sources", "standard", "start"]


@dataclass(frozen=True, kw_only=True)
class Config(conformer.Config):
    """Sizes and choices of a Splitformer.

    The fields of `ee_ref.families.conformer.Config`, and:
    parallel: layers at half rate beside the group of each exit, 0 or 1.
    The view is full: of the branch at half rate no chunks are defined.
    """

    architecture: ClassVar[str] = "ee-splitformer"
    number: ClassVar[int] = 2
    since: ClassVar[int] = 3
    own: ClassVar[Mapping[str, str]] = MappingProxyType({"parallel": f"{MAX_EXITS}B"})

    parallel: tuple[int, ...]

    def costs(self, inputs: int) -> tuple[int, ...]:
        """See `ee_ref.families.conformer.Config.costs`; a parallel layer has half the frames."""
        layer = conformer.layer_cost(self, half(self.encoder_frames(inputs)))
        return tuple(cost + layers * layer
                     for cost, layers in zip(super().costs(inputs), accumulate(self.parallel)))

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        self._require_per_exit("parallel", 0, 1)
        self._require(self.chunk == 0, "chunk",
                      "0, the full view, which alone is defined for layers at half rate")
        return self


def half(frames: int) -> int:
    """Frames at half rate: the first of so many, and every second one after it."""
    return -(-frames // 2)


# ---- Tensors: those of the Conformer, and a layer of it before the heads named ----


def parallel_prefix(exit_: int) -> str:
    """Prefix of the names of the tensors of a parallel layer; exit_: from 1."""
    return f"group.{exit_}.parallel."


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in the order in which whoever stops after head k holds a model of k exits."""
    for part in conformer.parts(config):
        if part.rows is conformer.HEAD and config.parallel[part.exit - 1]:
            yield Part(parallel_prefix(part.exit), part.exit, conformer.LAYER)
        yield part


# ---- The graph ----


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning; see `ee_ref.families.conformer.start`."""
    groups = [
        _beside(group, config, weights[parallel_prefix(exit_)], ops) if layers else group
        for exit_, (group, layers) in enumerate(
            zip(conformer.groups(config, weights, ops), config.parallel), start=1)]
    return State(config, conformer.stem(config, weights["stem."], ops), groups, capacity)


def _beside(group: Group, config: Config, weights: Mapping[str, np.ndarray], ops: ModuleType
            ) -> Group:
    """The group with a layer at half rate beside it."""
    layer = conformer.layers(config, [weights], ops)

    def run(x: np.ndarray, past: Any) -> tuple[np.ndarray, Any]:
        y, past = group.run(x, past)
        slow, _ = layer(x[::2], None)
        return y + slow.repeat(2, axis=0)[: len(y)], past

    return group._replace(run=run)


# ---- Checkpoints of the published layout ----


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    yield from conformer.sources(config)
    exits = (exit_ for exit_, layers in enumerate(config.parallel, start=1) if layers)
    for number, exit_ in enumerate(exits):
        yield from conformer.layer_sources(
            parallel_prefix(exit_), f"conformer_parallel.{number}.conformer_layers.0.",
            sizes(config))


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family."""
    return any(name.startswith("conformer_parallel.") for name in names)


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply, not validated.

    Two parallel layers are those of the first and the last exit (the published model), as many as
    exits are one each. settings: fields of Config that shapes do not tell. Raises CheckpointError.
    """
    plain = conformer.infer(state, settings)
    count = _checkpoint.count(state, r"conformer_parallel\.([0-9]{1,4})\.",
                              "parallel layers conformer_parallel.N")
    if count == plain.exits:
        parallel = (1,) * count
    elif count == 2 < plain.exits:
        parallel = (1, *[0] * (plain.exits - 2), 1)
    else:
        raise CheckpointError(
            "expected 2 parallel layers conformer_parallel.N, of the first and the last exit, or "
            f"{plain.exits}, one an exit, found {count}")
    return Config(**asdict(plain), parallel=parallel)
