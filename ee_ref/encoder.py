"""The encoder: features in, the outputs of one exit after another out.

`ReferenceEncoder` runs the NumPy ops by the graph of the model's family, `NativeModel` of
native/_session.py the C runtime; both follow `Encoder`. `exits` returns a generator: it pauses
after each exit, so whoever stops iterating has stopped the work.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from . import families, ops
from .config import Config
from .families import ExitOutput as ExitOutput
from .families import State

if TYPE_CHECKING:
    from .families.aed import Steps


class Session(Protocol):
    """One utterance on its way through an encoder: see `families.State`."""

    def feed(self, inputs: np.ndarray, last: bool = False) -> None:
        """Add inputs, begin the next block, and say whether these were the last ones."""
        ...

    def exits(self) -> Iterator[ExitOutput]:
        """The outputs of the block, from the first exit that it was not given yet to the last."""
        ...


class Encoder(Protocol):
    """An early-exit encoder over one set of weights."""

    config: Config

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]): ...

    def start(self, capacity: int) -> Session:
        """An utterance at its beginning, to be fed in pieces; capacity: see `families.State`."""
        ...

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """Yield the output of exit 1, 2, ...; the layers after an exit run when the next is asked.

        features: (T, mels) float32, already normalised where the model wants it. With too few
        frames for the stem the outputs have no rows. Raises, before the first exit, ShapeError for
        other shapes or dtypes, ArgumentError for NaN or infinity, TooLongError for more encoder
        frames than the model admits.
        """
        ...

    def decoder(self, exit_: int, hidden: np.ndarray, width: int, labels: int) -> Steps:
        """The attention decoder of an exit over its rows, at the start of a sentence.

        hidden: `ExitOutput.hidden`, at least one row. width: the most hypotheses side by side;
        labels: the most steps. Raises ArgumentError for a model without such decoders.
        """
        ...


class ReferenceEncoder:
    """The model as its formula, in NumPy.

    config.dtype says which ops: "f32", or "qs8", whose results are the same bytes everywhere.
    tensors: arrays by the names, shapes and dtypes of `ee_ref.families.tensors(config)`.
    Raises ArgumentError for a missing tensor, ShapeError for one of another shape or dtype.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]):
        self.config = config
        self._weights = families.grouped(config, tensors)

    def start(self, capacity: int | None = None) -> State:
        """An utterance at its beginning, to be fed in pieces; capacity: see `State`."""
        return families.of(self.config).start(self.config, self._weights, ops, capacity)

    def decoder(self, exit_: int, hidden: np.ndarray, width: int, labels: int) -> Steps:
        """See `Encoder.decoder`."""
        families.aed.require_decoder(self.config)
        return families.aed.AttentionDecoder(self.config, self._weights, exit_, hidden, ops)

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """See `Encoder.exits`."""
        state = self.start()
        state.feed(features, last=True)
        return (out for out in state.exits())
