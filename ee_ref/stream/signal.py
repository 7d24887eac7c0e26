"""The samples of a stream, as rows: when one has come, how loud it is, what its features are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..config import Config

_FULL_SCALE = 32768


class Signal:
    """Zeros of `config.pad`, the samples, and after the end such zeros again.

    front: the front end of the model for samples that have their zeros (`config.pad` 0). Only
    values and features that are not forgotten are kept.
    """

    def __init__(self, config: Config, front: Callable[[np.ndarray], np.ndarray]) -> None:
        self._config, self._front = config, front
        self._hop, self._stride = config.hop_length, config.stride
        self._span = self._hop * self._stride
        before = config.n_fft // 2 - (config.n_fft - config.win_length) // 2
        self._behind = config.win_length - before  # values from a frame's centre to its end
        # What a front end reads before a frame, or wants to have for its reflection at an end.
        self._margin = -(-(config.n_fft // 2 + 1) // self._hop)
        self.window = frames_of_row(config)
        self._values = _Tail()
        self._ended = False
        self._feature_first = 0
        self._features = np.zeros((0, config.mels), np.float32)
        self.rows = 0
        """Rows that have come."""
        if config.pad:
            self._values.append(np.zeros(config.pad, np.float32))

    @property
    def missing(self) -> int:
        """Samples until the next row comes; 0 or less where it has."""
        last = self._stride * self.rows + self.window - 1
        return last * self._hop + self._behind - self._values.end

    def feed(self, samples: np.ndarray) -> list[int]:
        """Append finite float32 samples; the powers of the rows that have come by them."""
        self._values.append(samples)
        frames = (self._values.end - self._behind) // self._hop + 1
        return self._come((frames - self.window) // self._stride + 1)

    def finish(self) -> list[int]:
        """Say that these were all; the powers of the rows that are left."""
        if self._values.end > self._config.pad:
            self._values.append(np.zeros(self._config.pad, np.float32))
            self._ended = True
            return self._come(self._config.encoder_frames(1 + self._values.end // self._hop))
        return []

    def forget(self, row: int) -> None:
        """Rows before this one are not asked for again."""
        begin = max(0, self._hop * (self._stride * row - self._margin))
        self._values.drop(begin)

    def features(self, first: int, end: int) -> np.ndarray:
        """(frames, mels) of which the rows from `first` to before `end` are made.

        Computed once as long as each call begins where the one before began or later, and not
        behind its end.
        """
        begin, stop = self._stride * first, self._stride * (end - 1) + self.window
        done = self._feature_first + len(self._features)
        if not self._feature_first <= begin <= done:
            self._features, done = self._features[:0], begin
        else:
            self._features = self._features[begin - self._feature_first :]
        self._feature_first = begin
        if done < stop:
            self._features = np.concatenate([self._features, self._computed(done, stop)])
        return self._features[: stop - begin]

    def _computed(self, first: int, stop: int) -> np.ndarray:
        """Frames first .. stop - 1 of the features of the signal."""
        start = max(0, first - self._margin)
        end = self._values.end
        if not self._ended:
            end = min(end, (stop - 1) * self._hop + self._behind)
        values = self._values.between(start * self._hop, end)
        return self._front(values)[first - start : stop - start]

    def _come(self, rows: int) -> list[int]:
        """The powers of rows up to this one, which have come."""
        first, self.rows = self.rows, max(self.rows, rows)
        count = self.rows - first
        if not count:
            return []
        values = self._values.between(first * self._span, self.rows * self._span)
        steps = np.zeros(count * self._span)  # float64 holds every sum of squares of integers here
        np.rint(values * np.float32(_FULL_SCALE), out=steps[: len(values)])
        np.minimum(np.maximum(steps, -_FULL_SCALE, out=steps), _FULL_SCALE - 1, out=steps)
        of_rows = steps.reshape(count, self._span)
        return np.einsum("rv,rv->r", of_rows, of_rows).astype(np.int64).tolist()


class _Tail:
    """The end of a sequence of floats, in memory that is moved only when it is full."""

    def __init__(self) -> None:
        self._memory = np.empty(1 << 15, np.float32)
        self._first, self._start = 0, 0  # of the tail: in the sequence, in memory
        self.end = 0  # of the sequence

    def append(self, values: np.ndarray) -> None:
        count = self.end - self._first
        if self._start + count + len(values) > len(self._memory):
            kept = self._memory[self._start : self._start + count].copy()
            if 2 * (count + len(values)) > len(self._memory):
                self._memory = np.empty(2 * (count + len(values)), np.float32)
            self._memory[:count] = kept
            self._start = 0
        stop = self._start + count
        self._memory[stop : stop + len(values)] = values
        self.end += len(values)

    def drop(self, before: int) -> None:
        """Those before this one are not asked for again."""
        count = max(0, before - self._first)
        self._first, self._start = self._first + count, self._start + count

    def between(self, start: int, end: int) -> np.ndarray:
        """A view; there may be fewer."""
        at = self._start - self._first
        return self._memory[at + start : at + min(end, self.end)]


def frames_of_row(config: Config) -> int:
    """Frames of features that a row is made of."""
    frames = 1
    while not config.encoder_frames(frames):
        frames += 1
    return frames
