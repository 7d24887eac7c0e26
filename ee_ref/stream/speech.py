"""Words, utterances and endpoints from the final rows of a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..checks import check_number
from ..config import Config
from ..decode import Hypothesis
from ..ops._exact import ONE, exp
from ..tokens import Tokens, Word
from .event import Event
from .gate import ROWS_BESIDE
from .hearing import Block

IMPOSSIBLE = np.float32(-87)
"""Log-probability of a label in a row that was not heard; its exponential is no subnormal."""

MAX_SECONDS = 600.0
"""Of an utterance: what a stream keeps of it is bounded."""


@dataclass(frozen=True)
class Endpoint:
    """When an utterance is over, in seconds.

    before: of silence with nothing said, after which an empty utterance is reported; None: never.
    after: of silence after speech. longest: of an utterance, at most MAX_SECONDS.
    """

    before: float | None = None
    after: float = 0.8
    longest: float = 20.0

    def __post_init__(self) -> None:
        if self.before is not None:
            check_number("before", self.before, 0)
        check_number("after", self.after, 0, MAX_SECONDS)
        check_number("longest", self.longest, 0, MAX_SECONDS)


class Spoken(NamedTuple):
    """What a decoder or phrases make of an utterance; hypothesis: frames count from its rows."""

    hypothesis: Hypothesis
    confidences: Sequence[float]
    confidence: float | None = None  # None: that of the words
    intent: str | None = None
    slots: dict[str, str | int] = {}


class _Token(NamedTuple):
    """A label: the row where its run began, the one where it is most probable, and that log."""

    id: int
    first: int
    row: int
    log_prob: float
    exit: int


class _Greedy:
    """Labels of rows to tokens, row by row."""

    def __init__(self, blank: int) -> None:
        self._blank = blank
        self.token: _Token | None = None
        """The one that may go on."""

    def copy(self) -> _Greedy:
        other = _Greedy(self._blank)
        other.token = self.token
        return other

    def feed(self, row: int, label: int, log_prob: float, exit: int) -> _Token | None:
        """The token that this row completes."""
        before = self.token
        if before is not None and label == before.id:
            if log_prob > before.log_prob:
                self.token = before._replace(row=row, log_prob=log_prob, exit=exit)
            return None
        self.token = None if label == self._blank else _Token(label, row, row, log_prob, exit)
        return before

    def finish(self) -> _Token | None:
        """The token that is open, if any."""
        found, self.token = self.token, None
        return found


class Speech:
    """Events of a stream, from its blocks.

    decode: what makes words of the rows of a whole utterance, (rows, vocab) log-probabilities;
    None: words are greedy ones, and final as soon as they are complete. shows: whether what is not
    final is said too.
    """

    def __init__(self, config: Config, labels: Tokens, endpoint: Endpoint,
                 decode: Callable[[np.ndarray], Spoken] | None = None, shows: bool = True) -> None:
        self._config, self._labels, self._decode, self._shows = config, labels, decode, shows
        self._before = None if endpoint.before is None else self._rows_of(endpoint.before)
        self._after, self._longest = map(self._rows_of, (endpoint.after, endpoint.longest))
        self._greedy = _Greedy(config.blank)
        self._tokens: list[_Token] = []  # of the utterance, of words that are not final
        self._first: int | None = None  # row of its first token
        self._shown = ""  # what was said last that is not final
        self._row = 0  # the next one
        self._last_label, self._begin = -1, 0  # the last row with a label; the last endpoint
        self._latest = 0.0  # end of the last final word
        self._kept: list[np.ndarray] = []  # what `decode` will be given
        self._kept_exits: list[int] = []
        self._unheard = np.full(config.vocab, IMPOSSIBLE, np.float32)
        self._unheard[config.blank] = 0
        self.duration = math.inf
        """Seconds of audio, once they are known: no word lasts longer."""
        self.score = 0.0
        """Log-probability of what is final: of the greedy path, or the scores of `decode`."""

    def _rows_of(self, seconds: float) -> int:
        return max(1, int(seconds / self._config.frame_seconds + 0.5))

    def feed(self, block: Block) -> Iterator[Event]:
        """The events of the next block."""
        if not block.exit and self._nothing_is_open:
            self._row += block.final
        elif not block.exit:
            for _ in range(block.final):
                yield from self._next(self._unheard, self._config.blank, 0.0, 0)
                yield from self._after_block()
        else:
            yield from self._heard(block)

    @property
    def _nothing_is_open(self) -> bool:
        """Whether rows that are blank change nothing but their number."""
        return not (self._tokens or self._greedy.token or self._decode) and self._before is None

    def _heard(self, block: Block) -> Iterator[Event]:
        log_probs = block.log_probs
        labels, highest = log_probs.argmax(axis=1).tolist(), log_probs.max(axis=1).tolist()
        for row in range(block.final):
            yield from self._next(log_probs[row], labels[row], highest[row], block.exit)
        yield from self._after_block()
        if self._shows:
            ahead = zip(range(self._row, self._row + len(labels)), labels[block.final :],
                        highest[block.final :])
            yield from self._show(ahead, block.exit)

    def finish(self) -> Iterator[Event]:
        """The events that are left when there are no more blocks."""
        self._add(self._greedy.finish())
        if self._tokens:
            yield from self._end(len(self._tokens))

    def _next(self, log_probs: np.ndarray, label: int, highest: float, exit: int
              ) -> Iterator[Event]:
        """One final row."""
        self._add(self._greedy.feed(self._row, label, highest, exit))
        if label != self._config.blank:
            self._last_label = self._row
        self._row += 1
        if self._decode is None:
            self.score += highest
        else:
            self._kept.append(log_probs.copy())
            self._kept_exits.append(exit)
            if self._greedy.token is None and not self._tokens:
                del self._kept[:-ROWS_BESIDE], self._kept_exits[:-ROWS_BESIDE]
        if label == self._config.blank:
            if self._tokens:
                if self._row - 1 - self._last_label >= self._after:
                    yield from self._end(len(self._tokens))
            elif self._before is not None and self._row - self._begin >= self._before:
                yield self._event((), 0, endpoint=True)
                self._close()

    def _add(self, token: _Token | None) -> None:
        if token is not None:
            self._tokens.append(token)
            if self._first is None:
                self._first = token.first

    def _after_block(self) -> Iterator[Event]:
        """Words that are final now, and the end of an utterance that is too long."""
        if self._first is None:
            return
        complete = 0 if self._decode is not None else self._complete()
        if self._row - self._first >= self._longest:
            yield from self._end(complete or len(self._tokens))
        elif complete:
            yield self._final(complete)

    def _complete(self) -> int:
        """How many tokens are of words behind which another word has begun."""
        parts = [parts for _, parts in self._labels.grouped([t.id for t in self._tokens])]
        for own, before in zip(parts[:0:-1], parts[-2::-1]):
            if own[0] != before[-1]:  # a label may hold the end of one word and the next
                return own[0]
        return 0

    def _final(self, count: int, endpoint: bool = False) -> Event:
        """The words of so many tokens, which are final."""
        tokens, self._tokens = self._tokens[:count], self._tokens[count:]
        words = self._words(tokens)
        if words:
            self._latest = words[-1].end
        return self._event(words, max(token.exit for token in tokens), endpoint=endpoint)

    def _end(self, count: int) -> Iterator[Event]:
        """An utterance ends, of which so many tokens are left; those after them begin the next."""
        if self._decode is not None:
            try:
                # At the end of the stream there may be no row since the last endpoint.
                event = self._decoded(self._decode) if self._kept else None
            finally:  # what fails would fail again
                self._tokens.clear()
                self._close()
            if event is not None:
                yield event
        else:
            event = self._final(count, endpoint=True)
            self._close()
            if event.words:
                yield event

    def _close(self) -> None:
        self._first = self._tokens[0].first if self._tokens else None
        self._begin, self._shown = self._row, ""
        self._kept.clear()
        self._kept_exits.clear()

    def _decoded(self, decode: Callable[[np.ndarray], Spoken]) -> Event:
        first = self._row - len(self._kept)
        spoken = decode(np.stack(self._kept))
        best = spoken.hypothesis
        self.score += best.score
        words = self._timed(best.tokens, [first + frame for frame in best.frames],
                            spoken.confidences)
        if words:
            self._latest = words[-1].end
        event = self._event(words, max(self._kept_exits), endpoint=True)
        confidence = event.confidence if spoken.confidence is None else spoken.confidence
        return replace(event, confidence=confidence, intent=spoken.intent, slots=spoken.slots)

    def _show(self, ahead: Iterable[tuple[int, int, float]], exit: int) -> Iterator[Event]:
        """What is not final, if it differs from what was said before of it.

        ahead: (row, label, its log-probability) of the rows behind the final ones.
        """
        greedy = self._greedy.copy()
        found = [greedy.feed(*row, exit) for row in ahead] + [greedy.finish()]
        words = self._words([*self._tokens, *(token for token in found if token is not None)])
        event = self._event(words, exit, final=False)
        if event.text != self._shown:
            self._shown = event.text
            yield event

    def _words(self, tokens: Sequence[_Token]) -> list[Word]:
        logs = np.array([token.log_prob for token in tokens], np.float32)
        return self._timed([token.id for token in tokens], [token.row for token in tokens],
                           np.minimum(exp(logs), ONE).tolist())

    def _timed(self, ids: Sequence[int], rows: Sequence[int], confidences: Sequence[float]
               ) -> list[Word]:
        config = self._config
        return self._labels.words(
            ids, [config.frame_time(row) for row in rows], confidences, config.frame_seconds / 2,
            self.duration, self._latest)

    def _event(self, words: Sequence[Word], exit: int, final: bool = True, endpoint: bool = False
               ) -> Event:
        if words:
            start, end = words[0].start, words[-1].end
        else:
            start = end = min(max(0.0, self._config.frame_time(self._row)), self.duration)
        return Event(final, " ".join(word.word for word in words), tuple(words), exit, start, end,
                     min((word.confidence for word in words), default=1.0), endpoint)
