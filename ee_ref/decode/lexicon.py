"""Words and how the labels of a model spell them: word lists, lexicons with pieces, hotwords."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from weights_io.text import SPACE, SPACES, filled_lines, read_text

from ..checks import check_number
from ..errors import ArgumentError, LanguageModelError, shown, some

if TYPE_CHECKING:
    from ..tokens import Tokens

MAX_BYTES = 1 << 28
DEFAULT_BOOST = 5.0
"""Natural log: what a hotword gains each time it is said."""

BOUNDARY = "▁"


@dataclass(frozen=True)
class Lexicon:
    """The words that may be said.

    words: in any order. pieces: of each word the labels that spell it, one entry a word (a word may
    stand there several times with other pieces); None: a word is spelled by any labels that make
    it up. lines: of the file that it was read from, for messages.
    """

    words: Sequence[str]
    pieces: Sequence[tuple[str, ...]] | None = None
    path: str | os.PathLike[str] = "lexicon"
    lines: Sequence[int] = field(default=(), repr=False)

    def wrong(self, entry: int, message: str) -> LanguageModelError:
        """The error of an entry, which it names."""
        where = f"line {self.lines[entry]}" if self.lines else f"word {entry + 1}"
        return LanguageModelError(f"{self.path}, {where}: {message}")


def read_lexicon(path: str | os.PathLike[str]) -> Lexicon:
    """A lexicon from a file: a word a line, or in every line a word, a tab or spaces, and its
    pieces with spaces between them (the form that flashlight and torchaudio read).

    Raises FileError when the file cannot be read, LanguageModelError, naming the line, when some
    lines have pieces and others have none, or when there is no word.
    """
    words, pieces, lines = [], [], []
    for number, line in filled_lines(read_text(path, MAX_BYTES, LanguageModelError)):
        word, *spelling = SPACES.split(line)
        words.append(word)
        pieces.append(tuple(spelling))
        lines.append(number)
        if bool(spelling) != bool(pieces[0]):
            expected = "pieces after the word" if pieces[0] else "a word alone"
            raise LanguageModelError(f"{path}, line {number}: expected {expected}, as in line "
                                     f"{lines[0]}, found {shown(line, 60)}")
    if not words:
        raise LanguageModelError(f"{path}: expected a word a line, found none")
    return Lexicon(words, pieces if pieces[0] else None, path, lines)


Hotwords = Mapping[str, float]
"""Boost, as a natural log, by phrase: words with spaces between them."""


def read_hotwords(path: str | os.PathLike[str]) -> dict[str, float]:
    """Hotwords from a file with one in every line: `phrase` or `phrase = boost`; # begins a
    comment. Raises FileError, or LanguageModelError naming the line."""
    found = {}
    for number, line in filled_lines(read_text(path, MAX_BYTES, LanguageModelError)):
        if line := line.partition("#")[0].strip(SPACE):
            try:
                found.update(parse_hotwords([line]))
            except ArgumentError as error:
                raise LanguageModelError(f"{path}, line {number}: {error}") from None
    return found


def parse_hotwords(entries: Iterable[str]) -> dict[str, float]:
    """Hotwords from `phrase` or `phrase = boost` each. Raises ArgumentError."""
    found = {}
    for entry in entries:
        phrase, equals, boost = entry.partition("=")
        try:
            value = float(boost) if equals else DEFAULT_BOOST
        except ValueError:
            value = float("nan")
        check_number(f"boost in {shown(entry, 60)!r}", value)
        if not phrase.split():
            raise ArgumentError(f"hotword: expected words, found {shown(entry, 60)!r}")
        found[" ".join(phrase.split())] = value
    return found


class Spelling:
    """What the labels of a model say of words. Raises ArgumentError for labels with a word boundary
    behind their first character: a word ends only where a label begins.

    ends_word: of each label, whether it ends the word before it. letters: what it adds to a word;
    "" for a label that is a boundary alone, or that never becomes text. boundary_alone: of each
    label, whether it is that.
    """

    def __init__(self, tokens: Tokens):
        self.tokens = tokens
        labels = tokens.spellings
        if inside := [label for label in labels if BOUNDARY in label[1:]]:
            raise ArgumentError("words: expected labels with a word boundary only at their "
                                f"beginning, found {some(inside)}")
        self.ends_word = [label.startswith(BOUNDARY) for label in labels]
        self.boundary_alone = [label == BOUNDARY for label in labels]
        self.letters = [label.removeprefix(BOUNDARY) for label in labels]
        self._labels = frozenset(filter(None, labels))
        self._longest = max(map(len, self._labels), default=0)
        text = "".join(self._labels)
        self._fold = (str.upper if text == text.upper() else
                      str.lower if text == text.lower() else str)

    def folded(self, word: str) -> str:
        """`word` in the case of the labels, where they have one case only."""
        return self._fold(word)

    def spells(self, word: str) -> bool:
        """Whether labels make up `word`, somewhere in a text."""
        if not word or BOUNDARY in word or word.split() != [word]:
            return False
        text = BOUNDARY + word
        reached = {0}
        for end in range(1, len(text) + 1):
            if any(start in reached and text[start:end] in self._labels
                   for start in range(max(0, end - self._longest), end)):
                reached.add(end)
        return len(text) in reached

    def cannot_spell(self, word: str) -> str:
        """What a message says of such a word."""
        letters = sorted(set(self.folded(word)) - set("".join(self.letters)))
        return (f"expected a word that the labels of the model can spell, found "
                f"{shown(self.folded(word), 60)!r}" + (f" with {some(letters)}" if letters else ""))

    def ids(self, pieces: Sequence[str], word: str) -> tuple[int, ...]:
        """The labels of `pieces`, boundaries alone at either end left out. Raises ArgumentError."""
        while pieces and pieces[-1] == BOUNDARY:
            pieces = pieces[:-1]
        while pieces and pieces[0] == BOUNDARY:
            pieces = pieces[1:]
        by_label = self._by_label
        if lacking := [piece for piece in pieces if piece not in by_label]:
            raise ArgumentError(f"expected labels of the model, found {some(lacking)}")
        ids = tuple(by_label[piece] for piece in pieces)
        found = "".join(self.letters[id] for id in ids)
        if found != word or not ids or any(self.ends_word[id] for id in ids[1:]):
            raise ArgumentError(f"expected labels that spell {word!r}, found {' '.join(pieces)!r}")
        return ids

    @cached_property
    def _by_label(self) -> dict[str, int]:
        return {label: id for id, label in enumerate(self.tokens) if self.letters[id]}


class Beginnings:
    """Spellings in order, so that those that begin alike stand together.

    A spelling is text, or a tuple of labels.
    """

    def __init__(self, spellings: Iterable[str] | Iterable[tuple[int, ...]]):
        self._spellings: list = sorted(spellings)

    def of(self, beginning: str | tuple[int, ...]) -> Sequence:
        """The spellings that begin so."""
        first = self._first(beginning)
        last = first
        while last < len(self._spellings) and self._begins(last, beginning):
            last += 1
        return self._spellings[first:last]

    def any(self, beginning: str | tuple[int, ...]) -> bool:
        """Whether a spelling begins so."""
        first = self._first(beginning)
        return first < len(self._spellings) and self._begins(first, beginning)

    def _first(self, beginning: str | tuple[int, ...]) -> int:
        return bisect_left(self._spellings, beginning)

    def _begins(self, at: int, beginning: str | tuple[int, ...]) -> bool:
        return self._spellings[at][: len(beginning)] == beginning
