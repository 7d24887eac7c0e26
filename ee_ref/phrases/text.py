"""Files of templates, `*.phrases`: docs/phrases.md has the language."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from weights_io.text import read_text

from ..errors import PhraseError, shown
from . import template as t
from .build import build
from .grammar import Template
from .numbers import LARGEST, spoken
from .phrases import Phrases

MAX_BYTES = 1 << 20
"""Size of a file."""
MAX_NESTING = 50
"""Brackets and lists within each other."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_LIST = re.compile(rf"\s*\{{\s*({_NAME})\s*\}}\s*=")
_INTENT = re.compile(rf"\s*({_NAME}(?:[.-][A-Za-z0-9_]+)*)\s*:")
_REFERENCE = re.compile(rf"\{{\s*({_NAME})\s*(?::\s*({_NAME})\s*)?([=}}])")
_RANGE = re.compile(
    r"\s*(-?[0-9]{1,7})\s*\.\.\s*(-?[0-9]{1,7})\s*(?:by\s+([0-9]{1,7})\s*)?(?=[|}]|$)")
_WORDS = re.compile(r"(?:(?!->)[^()\[\]{}<>|=:])+")
_VALUE = re.compile(r"->\s*([^|{}]*?)\s*(?=[|{}]|$)")
_INTEGER = re.compile(r"-?[0-9]{1,9}")


def read(path: str | os.PathLike[str]) -> Phrases:
    """The phrases of a file of templates.

    Raises FileError when it cannot be read or is larger than `MAX_BYTES`, and PhraseError, naming
    line and column, for what breaks the language.
    """
    name = os.fspath(path)
    lists = _Lists(name)
    templates: list[tuple[_Line, str | None]] = []
    for number, line in enumerate(read_text(path, MAX_BYTES, PhraseError).split("\n"), start=1):
        line = line.partition("#")[0].rstrip()
        if found := _LIST.match(line):
            lists.add(found[1], _Line(lists, number, line, found.end()))
        elif found := _INTENT.match(line):
            templates.append((_Line(lists, number, line, found.end()), found[1]))
        elif line:
            templates.append((_Line(lists, number, line, 0), None))
    for list_name in lists.lines:
        lists.values(list_name)
    return build([Template(line.template(), intent, {}, line.number)
                  for line, intent in templates], name)


class _Lists:
    """The lists of a file, which may name each other, read when they are first asked for."""

    def __init__(self, name: str):
        self.name = name
        self.lines: dict[str, _Line] = {}
        self.nesting = 0
        self.spoken = 0
        self._values: dict[str, t.Values | None] = {}  # None while it is being read

    def add(self, name: str, line: _Line) -> None:
        if name in self.lines:
            raise line.error(f"one list {{{name}}}",
                             f"another in line {self.lines[name].number}", 0)
        self.lines[name] = line

    def values(self, name: str) -> t.Values:
        """What a list of `lines` offers."""
        if name not in self._values:
            self._values[name] = None
            self._values[name] = self.lines[name].values("")
        found = self._values[name]
        if found is None:
            raise self.lines[name].error("lists without a cycle", f"{{{name}}} within itself", 0)
        return found


class _Line:
    """What is left to read of a line. The text of a part ends before the character `end`, or with
    the line where this is ""."""

    def __init__(self, lists: _Lists, number: int, text: str, at: int):
        self.number = number
        self._lists, self._text, self._at = lists, text, at

    def error(self, expected: str, found: str | None = None, at: int | None = None) -> PhraseError:
        """What is wrong at a place: by default here, and with the next character."""
        at = self._at if at is None else at
        if found is None:
            found = f"'{shown(self._next)}'" if self._next else "the end of the line"
        return PhraseError(f"{self._where(at)}: expected {expected}, found {found}")

    def template(self) -> t.Node:
        return self._choice("")

    def values(self, end: str) -> t.Values:
        """The items of a list."""
        found: dict[tuple[str, ...], t.Value] = {}
        with self._nested():
            while True:
                range_ = _RANGE.match(self._text, self._at)
                for words, value in self._range(range_) if range_ else self._item(end):
                    found.setdefault(words, value)
                if self._next != "|":
                    break
                self._at += 1
        self._lists.spoken += len(found)
        if len(found) > t.MAX_LIST or self._lists.spoken > t.MAX_SPOKEN:
            raise self.error(f"at most {t.MAX_LIST} ways to say the values of a list, "
                             f"{t.MAX_SPOKEN} in a file", "more")
        if self._next != end:
            raise self.error(f"'|' or {_named(end)}")
        return t.Values(found, self.number)

    def _where(self, at: int) -> str:
        return f"{self._lists.name}, line {self.number}, column {at + 1}"

    @property
    def _next(self) -> str:
        """The next character, "" at the end."""
        return self._text[self._at:self._at + 1]

    @contextmanager
    def _nested(self) -> Iterator[None]:
        if self._lists.nesting == MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} brackets and lists within each other", "more")
        self._lists.nesting += 1
        yield
        self._lists.nesting -= 1

    def _range(self, found: re.Match[str]) -> list[tuple[tuple[str, ...], t.Value]]:
        low, high, step = int(found[1]), int(found[2]), int(found[3] or 1)
        if (not -LARGEST <= low <= high <= LARGEST or step == 0
                or (high - low) // step >= t.MAX_LIST):
            raise self.error(f"a range of at most {t.MAX_LIST} numbers from low to high, between "
                             f"-{LARGEST} and {LARGEST}", f"'{found[0].strip()}'")
        self._at = found.end()
        return [(words, number) for number in range(low, high + 1, step)
                for words in spoken(number)]

    def _item(self, end: str) -> list[tuple[tuple[str, ...], t.Value]]:
        at = self._at
        ways = t.sentences(self._sequence(end, item=True), self._where(at))
        if not all(ways):
            raise self.error("an item that always says something",
                             f"'{shown(self._text[at:self._at].strip())}'", at)
        written = _VALUE.match(self._text, self._at)
        if written is None:
            return [(words, " ".join(words).lower()) for words in ways]
        self._at = written.end()
        if not written[1]:
            raise self.error("a value after '->'")
        value = int(written[1]) if _INTEGER.fullmatch(written[1]) else written[1]
        return [(words, value) for words in ways]

    def _choice(self, end: str) -> t.Node:
        items = []
        with self._nested():
            while True:
                items.append(self._sequence(end))
                if self._next != "|":
                    break
                self._at += 1
        return items[0] if len(items) == 1 else t.Choice(tuple(items))

    def _sequence(self, end: str, item: bool = False) -> t.Sequence:
        """Up to `end` or "|"; spaces next to "|" are none. item: of a list, which "->" may end."""
        after_bar = self._text[self._at - 1:self._at] == "|"
        parts: list[t.Node] = []
        while self._next not in (end, "|", ""):
            if item and _VALUE.match(self._text, self._at):
                break
            parts += self._part(end)
        if after_bar and parts[:1] == [t.SPACE]:
            del parts[0]
        if self._next == "|" and parts[-1:] == [t.SPACE]:
            del parts[-1]
        if all(part == t.SPACE for part in parts):
            raise self.error("words")
        return t.Sequence(tuple(parts))

    def _part(self, end: str) -> list[t.Node]:
        if self._next in ("(", "["):
            return [self._bracket()]
        if self._next == "{":
            return [self._slot()]
        words = _WORDS.match(self._text, self._at)
        if words is None:
            raise self.error(f"words, an opening bracket or {_named(end)}")
        self._at = words.end()
        return t.text_nodes(words[0])

    def _bracket(self) -> t.Node:
        opening, at = self._next, self._at + 1
        closing = ")" if opening == "(" else "]"
        self._at += 1
        node = self._choice(closing)
        if self._next != closing:
            raise self.error(f"'{closing}' for the '{opening}' of column {at}")
        self._at += 1
        return node if opening == "(" else t.optional(node)

    def _slot(self) -> t.Slot:
        found = _REFERENCE.match(self._text, self._at)
        if found is None:
            raise self.error("a list such as {room}, {room:from} or {room = hall | kitchen}",
                             f"'{shown(self._text[self._at:])}'")
        name, slot, sign = found.groups()
        if sign == "}" and name not in self._lists.lines:
            raise self.error("a list that the file defines", f"{{{name}}}")
        self._at = found.end()
        if sign == "}":
            with self._nested():
                return t.Slot(slot or name, self._lists.values(name))
        values = self.values("}")
        self._at += 1
        return t.Slot(slot or name, values)


def _named(end: str) -> str:
    return f"'{end}'" if end else "the end of the line"
