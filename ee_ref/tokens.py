"""Token ids to text and to words with times.

"▁" (U+2581) marks a word boundary, as in SentencePiece: "▁HE" begins a word, "LLO" goes on with it.
A model of characters uses the token "▁" alone as its space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

from .errors import ArgumentError

BOUNDARY = "▁"

# White space in a token counts as a boundary too: no word of the output may hold any.
_BOUNDARY = re.compile(rf"[{BOUNDARY}\s]")


class Word(NamedTuple):
    """A word, its start and end in seconds of the audio, and its confidence in [0, 1]."""

    word: str
    start: float
    end: float
    confidence: float


class Tokens(Sequence[str]):
    """The CTC labels of a model, a sequence of strings.

    special: ids that never become text (<s>, </s>, <pad>); blank: the id of the CTC blank.
    Byte tokens such as <0x41> and <unk> are text like any other.
    """

    def __init__(self, tokens: Sequence[str], special: Sequence[int] | frozenset[int], blank: int):
        self._tokens = tuple(tokens)
        self.special = frozenset(special)
        self.blank = blank
        outside = [id for id in (*self.special, blank) if not 0 <= id < len(self._tokens)]
        if outside:
            raise ArgumentError(
                f"special and blank ids: expected 0..{len(self._tokens) - 1}, "
                f"found {sorted(outside)}"
            )

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._tokens[:5])) + ", ..." * (len(self) > 5)
        return f"<Tokens: {len(self)} labels ({shown}), blank {self.blank}>"

    def __len__(self) -> int:
        return len(self._tokens)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._tokens[index]

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """What each label adds to a text, "▁" for a boundary; "" if it never becomes text."""
        return tuple(BOUNDARY.join(pieces) for pieces in self._pieces)

    @cached_property
    def _pieces(self) -> tuple[tuple[str, ...], ...]:
        """Each label as text between boundaries; () if it never becomes text."""
        silent = {self.blank, *self.special}
        return tuple(() if id in silent else tuple(_BOUNDARY.split(label))
                     for id, label in enumerate(self._tokens))

    def text(self, token_ids: Sequence[int]) -> str:
        """The words of `token_ids`, separated by single spaces."""
        self._check(token_ids)
        return " ".join("".join([self.spellings[id] for id in token_ids])
                        .replace(BOUNDARY, " ").split())

    def words(
        self,
        token_ids: Sequence[int],
        times: Sequence[float],
        confidences: Sequence[float],
        half_frame: float,
        duration: float | None = None,
        earliest: float = 0.0,
    ) -> list[Word]:
        """Words with times and confidences; their texts are those of `text(token_ids)`.

        times, confidences: one entry a token: the centre of its emission frame in seconds
        (`config.frame_time`), increasing, and its probability. A word lasts from half_frame seconds
        before the time of its first token to half_frame after that of its last, clamped to
        [earliest, duration] and never before the end of the word ahead. Its confidence is the least
        of its tokens'.

        Raises ArgumentError when the three sequences differ in length or an id is no token.
        """
        if not len(token_ids) == len(times) == len(confidences):
            raise ArgumentError(
                f"expected a time and a confidence for each of {len(token_ids)} tokens, "
                f"found {len(times)} times and {len(confidences)} confidences"
            )
        latest = float("inf") if duration is None else duration
        words: list[Word] = []
        for text, parts in self.grouped(token_ids):
            start = times[parts[0]] - half_frame
            end = times[parts[-1]] + half_frame
            start = min(max(start, earliest), latest)
            end = min(max(end, start), latest)
            confidence = min(map(confidences.__getitem__, parts))
            words.append(Word(text, float(start), float(end), float(confidence)))
            earliest = end
        return words

    def _check(self, token_ids: Sequence[int]) -> None:
        if len(token_ids) and not (min(token_ids) >= 0 and max(token_ids) < len(self._tokens)):
            bad = next(id for id in token_ids if not 0 <= id < len(self._tokens))
            raise ArgumentError(f"token id: expected 0..{len(self._tokens) - 1}, found {bad}")

    def grouped(self, token_ids: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """(text, indices into token_ids) of each word. Raises as `words`."""
        text = ""
        parts: list[int] = []
        self._check(token_ids)
        for index, id in enumerate(token_ids):
            for number, piece in enumerate(self._pieces[id]):
                if number > 0 and text:  # a boundary
                    yield text, parts
                    text, parts = "", []
                if piece:
                    text += piece
                    parts.append(index)
        if text:
            yield text, parts
