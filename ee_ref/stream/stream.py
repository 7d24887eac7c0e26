"""Samples in, events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..audio import Resampler, check_stream_rate
from ..errors import AudioError, StateError
from ..families import OneThread
from ..frontend import checked_samples
from .event import Event
from .hearing import Block, Hearing, Work
from .speech import Speech

LOUDEST = 2.0**20
"""Of samples whose full scale is 1: beyond, the power of a frame could overflow."""
_PIECE = 1 << 14
_FINISHED, _BROKEN = "finish", "an error or an interrupt"


class Stream:
    """Audio of any length, as it comes. Made by `Model.stream`.

    For one thread at a time. What it keeps does not grow with the length.
    """

    def __init__(self, hearing: Hearing, speech: Speech, rate: int, to_rate: int) -> None:
        check_stream_rate(rate)
        self._hearing, self._speech = hearing, speech
        self._rate = rate
        self._resampler = None if rate == to_rate else Resampler(rate, to_rate)
        self._alone = OneThread()
        self._closed = ""  # why nothing more can be fed
        self._found: list[Event] = []  # that no call has returned
        self._count = 0  # samples fed
        self._waiting: list[np.ndarray] = []  # samples before the next row
        self._missing = hearing.signal.missing

    @property
    def work(self) -> Work:
        """What was computed so far."""
        return self._hearing.work

    @property
    def seconds(self) -> float:
        """Of audio that was fed."""
        return self._count / self._rate

    @property
    def score(self) -> float:
        """Log-probability of all that is final: of the greedy path, or of the decoder's."""
        return self._speech.score

    def feed(self, samples: np.ndarray) -> list[Event]:
        """The events of the next samples.

        samples: (N,) floats at the rate of the stream, full scale at 1; any number of them. They
        may be changed afterwards. Raises AudioError for samples of another shape or dtype, NaN,
        infinite or absurdly large ones, and the stream is as before; StateError after `finish`,
        after another error or an interrupt, and while another thread uses it. After such an error
        `finish` gives the events that were found before it.
        """
        with self._alone:
            self._require_open()
            samples = checked_samples(samples)
            if len(samples) and not np.abs(samples).max() <= LOUDEST:
                raise AudioError("samples: expected a full scale of 1, found one of "
                                 f"{np.abs(samples).max():.3g}")
            self._count += len(samples)
            if self._resampler is not None:
                samples = self._resampler.feed(samples)
            return self._all_of(self._heard(samples))

    def finish(self) -> list[Event]:
        """The events that are left, when there are no more samples. Raises StateError after itself,
        and while another thread uses the stream.

        After an error or an interrupt, in `feed` or here: the events that it kept from being
        returned, and the words of the rows that were final by then.
        """
        with self._alone:
            if self._closed != _BROKEN:
                self._require_open()
                return self._all_of(self._last(), _FINISHED)
            self._speech.duration = self.seconds
            return self._all_of(self._speech.finish(), _FINISHED)

    def _require_open(self) -> None:
        if self._closed:
            raise StateError(f"stream: expected nothing more after {self._closed}, found more")

    def _all_of(self, events: Iterable[Event], after: str = "") -> list[Event]:
        """The events, and those that are left of a call that broke off. What breaks off before the
        last closes the stream."""
        self._closed = _BROKEN
        for event in events:
            self._found.append(event)
        found, self._found, self._closed = self._found, [], after
        return found

    def _heard(self, samples: np.ndarray) -> Iterator[Event]:
        for start in range(0, len(samples), _PIECE):
            piece = samples[start : start + _PIECE]
            self._missing -= len(piece)
            if self._missing > 0:
                self._waiting.append(piece.copy())
                continue
            piece = np.concatenate([*self._waiting, piece])
            self._waiting.clear()
            yield from self._said(self._hearing.feed(piece))
            self._missing = self._hearing.signal.missing

    def _last(self) -> Iterator[Event]:
        if self._resampler is not None:
            yield from self._heard(self._resampler.finish())
        if self._waiting:
            yield from self._said(self._hearing.feed(np.concatenate(self._waiting)))
        self._speech.duration = self.seconds
        yield from self._said(self._hearing.finish())
        yield from self._speech.finish()

    def _said(self, blocks: Iterable[Block]) -> Iterator[Event]:
        for block in blocks:
            yield from self._speech.feed(block)
