"""Checkpoints of PyTorch as data: which tensors a family's have, and what each of them becomes.

A family lists `Source`s, one a module of the checkpoint. The converter (`ee_ref.convert`) checks
and rewrites a state dict by them, and `ee_ref.conformance.draw` makes random ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, some


class Module(Enum):
    """What a module is, and so which tensors it has."""

    DENSE = "dense"  # weight and bias of a linear layer or a convolution
    NORM = "norm"  # weight and bias of a layer norm
    ATTENTION = "attention"  # weight and bias of queries, keys and values, one below the other
    NORMED_CONV = "normed conv"  # a depthwise convolution and the batch norm that follows it
    LSTM = "lstm"  # a layer of torch.nn.LSTM, in both directions
    TENSOR = "tensor"  # one tensor, of the name given


class Source(NamedTuple):
    """A module of a checkpoint.

    name: of the model's tensors, NAME.weight and NAME.bias. source: of the checkpoint's, whose
    weight is SOURCE.weight, or SOURCEweight where SOURCE ends with "_". shape: of that weight,
    axes in the order of PyTorch. norm: the batch norm of a NORMED_CONV. Of an LSTM the source has
    a * for what its tensors are called, and the shape is that of weight_ih.
    gain: of random weights, such that the frames of a clip stay apart down to the last exit.
    has_bias: whether there is a bias beside the weight.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    module: Module = Module.DENSE
    norm: str = ""
    gain: float = 1.0
    has_bias: bool = True

    def key(self, part: str) -> str:
        """Name of the checkpoint's "weight" or "bias"."""
        return self.source + part if self.source.endswith("_") else f"{self.source}.{part}"

    def directions(self) -> tuple[str, str]:
        """The sources of an LSTM: forward, backward."""
        return self.source, f"{self.source}_reverse"

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all that a checkpoint has of it."""
        if self.module is Module.TENSOR:
            yield self.source, self.shape
            return
        if self.module is Module.LSTM:
            gates = self.shape[0]
            for part, shape in (("weight_ih", self.shape), ("weight_hh", (gates, gates // 4)),
                                ("bias_ih", (gates,)), ("bias_hh", (gates,))):
                for source in self.directions():
                    yield source.replace("*", part), shape
            return
        yield self.key("weight"), self.shape
        if self.has_bias:
            yield self.key("bias"), self.shape[:1]
        if self.norm:
            for part in ("weight", "bias", "running_mean", "running_var"):
                yield f"{self.norm}.{part}", self.shape[:1]


def count(state: Mapping[str, Any], pattern: str, what: str) -> int:
    """How many numbers, which must run from 0 without gaps, `pattern` finds in the names."""
    numbers = sorted({int(match[1]) for name in state if (match := re.match(pattern, name))})
    if not numbers:
        raise CheckpointError(f"expected {what} of an early-exit model, found none; "
                              f"the names are {some(sorted(state))}")
    if numbers != list(range(len(numbers))):
        raise CheckpointError(f"expected {what} numbered 0, 1, 2, ... without gaps, "
                              f"found {some(numbers)}")
    return len(numbers)


def shape(state: Mapping[str, np.ndarray], name: str, dims: int) -> tuple[int, ...]:
    """Shape of a tensor, or CheckpointError when it is missing or has not so many dimensions."""
    if name not in state:
        raise CheckpointError(f"tensor {name!r}: expected {dims} dimensions, found no such tensor")
    if state[name].ndim != dims:
        raise CheckpointError(
            f"tensor {name!r}: expected {dims} dimensions, found shape {state[name].shape}")
    return state[name].shape
