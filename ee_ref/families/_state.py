"""The state of an encoder on its way through an utterance: feed and step, for every family.

    feed(inputs, last) -> [stem]* -> block -> [group -> head]*

Rows (encoder frames) become ready by whole chunks, or in a full view all at the end; the ready rows
that were not stepped yet are the block. `exits` gives the outputs of the block from exit 1 on.
In float32 everything runs a chunk at a time, since libraries add products in an order that depends
on how many rows there are and on where among them a row lies.
Stopping early leaves the deeper groups behind: for each, the state keeps the newest input rows that
it has not seen, as many as can influence rows to come, and the group catches up when it is asked
for again. Older rows are dropped. A group that skipped rows runs on with an incomplete past, which
affects only rows that no row to come depends on. So the output for a row depends neither on how the
inputs were cut nor on where one stopped, and the size of the state does not depend on the length of
the utterance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..config import Config
from ..errors import ArgumentError, ShapeError, StateError, TooLongError


class OneThread:
    """What one thread at a time may be within: a second one gets a StateError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise StateError("state: expected one thread at a time, found a second one")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class ExitOutput(NamedTuple):
    """What one exit says of the rows of a block.

    exit: its number, from 1. first: the encoder frame at which the rows begin. hidden: (rows, dim)
    float32, what the exit's head is given. output: (rows, columns) float32, what it gives.
    """

    exit: int
    first: int
    hidden: np.ndarray
    output: np.ndarray

    @property
    def log_probs(self) -> np.ndarray:
        """(rows, vocab) natural logarithms of probabilities: the output of a CTC head."""
        return self.output


class Head(NamedTuple):
    """What the head of an exit gives: of kind "ctc" log-probabilities of so many labels."""

    kind: str
    columns: int


class Stem(NamedTuple):
    """What makes rows of inputs: row t of inputs [stride t, stride t + window).

    run: (inputs, the row with which they begin) -> rows (rows, dim), as many as they give.
    """

    window: int
    stride: int
    run: Callable[[np.ndarray, int], np.ndarray]


class Group(NamedTuple):
    """The layers before one exit, and its head.

    run: (x (rows, dim), past or None at the beginning) -> (y (rows, dim), past).
    head: y -> (rows, columns), `columns` of them.
    reach: chunks before its own on which a row of y depends.
    read: in a full view, y -> what the head is given, where that is not y itself; x and y may have
    other rows then than the stem made, of which no encoder frames are counted.
    """

    run: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]
    head: Callable[[np.ndarray], np.ndarray]
    columns: int
    reach: int
    read: Callable[[np.ndarray], np.ndarray] | None = None


class State:
    """One utterance in an encoder. For one thread at a time.

    capacity: the most inputs that are fed and not stepped, of the whole utterance in full view;
    None for any number.
    """

    def __init__(self, config: Config, stem: Stem, groups: Sequence[Group],
                 capacity: int | None = None) -> None:
        self.config = config
        self._stem, self._groups, self._capacity = stem, groups, capacity
        self._alone = OneThread()
        reaches = [group.reach for group in groups]
        self._reaches = [sum(reaches[number:]) * config.chunk for number in range(len(groups))]
        self._inputs = np.zeros((0, config.mels), np.float32)  # those that rows to come need
        self._fed = 0  # inputs
        self._first, self._rows = 0, 0  # the block
        self._exit = 0  # the last one given of it
        self._ended = False
        # At the input of each group, rows that it has not seen; of the first one the block.
        self._lags = [self._no_rows() for _ in groups]
        self._pasts: list[Any] = [None] * len(groups)

    def feed(self, inputs: np.ndarray, last: bool = False) -> None:
        """Add inputs, begin the next block, and say whether these were the last ones.

        inputs: (frames, mels) float32 features, already normalised where the model wants it; they
        may be changed afterwards. A block of which no exit was given joins the next one.
        Raises ShapeError for other shapes or dtypes, ArgumentError for NaN or infinity,
        TooLongError for more than `capacity` or than the model admits, StateError after the last
        inputs or while another thread uses the state. The state is then unchanged.
        """
        with self._alone:
            check_features(self.config, inputs)
            if self._ended:
                raise StateError("feed: expected no features after the last ones, "
                                 f"found {len(inputs)} more")
            self._check_length(len(inputs))
            joined = np.concatenate([self._inputs, inputs])
            stem, done, chunk = self._stem, self._first + self._rows, self.config.chunk
            ready = max(0, (len(joined) - stem.window) // stem.stride + 1)
            if not last:
                ready = ready // chunk * chunk if chunk else 0
            rows = []
            for own in self._chunks(ready):
                end = (own.stop - 1) * stem.stride + stem.window if chunk else len(joined)
                rows.append(stem.run(joined[own.start * stem.stride : end], done + own.start))
            self._inputs = joined[ready * stem.stride :].copy()
            self._fed += len(inputs)
            self._ended = last
            self._next_block(rows)

    def exits(self) -> Iterator[ExitOutput]:
        """The outputs of the block, from the first exit not given yet to the last.

        The layers before an exit run when it is asked for. Without ready rows there are no outputs;
        after the last inputs each exit gives one, though perhaps without rows.
        Each step raises StateError while another thread uses the state.
        """
        return iter(self._step, None)

    def _step(self) -> ExitOutput | None:
        with self._alone:
            number = self._exit
            if number == len(self._groups) or not (self._rows or self._ended):
                return None
            group = self._groups[number]
            if not self._rows:
                self._exit += 1
                return ExitOutput(self._exit, self._first, self._no_rows(),
                                  np.zeros((0, group.columns), np.float32))
            lag, past, ys = self._lags[number], self._pasts[number], []
            for own in self._chunks(len(lag)):
                rows, past = group.run(lag[own], past)
                ys.append(rows)
            y = np.concatenate(ys)
            hidden = y[len(y) - self._rows :] if group.read is None else group.read(y)
            output = np.concatenate([group.head(hidden[own]) for own in self._chunks(self._rows)])
            # Nothing changes before all is computed: an error leaves the state as it was.
            self._exit += 1
            self._pasts[number] = past
            self._lags[number] = self._no_rows()
            if self._exit < len(self._groups):
                self._lags[self._exit] = np.concatenate([self._lags[self._exit], y])
                self._drop(self._exit, self._rows)
            return ExitOutput(self._exit, self._first, hidden, output)

    def _chunks(self, rows: int) -> list[slice]:
        """So many rows, from the beginning of a chunk on, in pieces that are the same for however
        many: chunks in float32, and in int8 mode, which gives the same bytes in any pieces, one."""
        step = self.config.chunk if self.config.dtype == "f32" else 0
        step = step or max(rows, 1)
        return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]

    def _next_block(self, rows: Sequence[np.ndarray]) -> None:
        if self._exit:
            self._first, self._rows, self._exit = self._first + self._rows, 0, 0
        for number in range(1, len(self._lags)):
            self._drop(number, 0)
        self._lags[0] = np.concatenate([self._lags[0], *rows])
        self._rows += sum(map(len, rows))

    def _drop(self, number: int, block: int) -> None:
        """Drop the rows of a lag that influence none after them, except the last `block` rows; in
        a full view there is one block."""
        if not self.config.chunk:
            return
        lag = self._lags[number]
        self._lags[number] = lag[max(0, len(lag) - self._reaches[number] - block) :].copy()

    def _check_length(self, count: int) -> None:
        """Raise TooLongError for `count` inputs more than there may be."""
        frames = self.config.encoder_frames(self._fed + count)
        if 0 < self.config.max_frames < frames:
            raise too_long(self.config, frames)
        block = self._first + self._rows if self._exit else self._first
        found = self._fed + count - self._stem.stride * block
        if self._capacity is not None and found > self._capacity:
            raise TooLongError(f"features: expected at most {self._capacity} frames that are not "
                               f"stepped, found {found}")

    def _no_rows(self) -> np.ndarray:
        return np.zeros((0, self.config.dim), np.float32)


def check_features(config: Config, features: np.ndarray) -> None:
    """Raise ShapeError or ArgumentError unless these are features of the model."""
    shape, dtype = np.shape(features), getattr(features, "dtype", type(features).__name__)
    if len(shape) != 2 or shape[1] != config.mels or dtype != np.float32:
        raise ShapeError(
            f"features: expected float32 (frames, {config.mels}), found {dtype} {shape}"
        )
    if not np.isfinite(features).all():
        raise ArgumentError("features: expected finite numbers, found NaN or infinity")


def too_long(config: Config, frames: int) -> TooLongError:
    """The error for so many encoder frames, more than `config.max_frames`."""
    return TooLongError(
        f"audio too long: expected at most {config.max_frames} encoder frames "
        f"({config.max_seconds:.1f} s), found {frames} "
        f"({frames * config.frame_seconds:.1f} s)"
    )
