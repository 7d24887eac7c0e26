"""What a template says, whichever file it is from: a tree, and how its text becomes words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PhraseError

MAX_LIST = 5_000
"""Ways of speaking the values of one list."""
MAX_SPOKEN = 50_000
"""Of all lists of a file."""

Value = int | str
"""Of a slot."""


@dataclass(frozen=True)
class Text:
    """Letters of a word; a space, which ends a word, is the text " "."""

    letters: str


@dataclass(frozen=True)
class Sequence:
    """One after the other; nothing at all where it has no items."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of them; where several would do, the first."""

    items: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Values:
    """What a list offers: the words of each of its values, as spoken, and the value.

    line: where the list stands in its file.
    """

    values: Mapping[tuple[str, ...], Value]
    line: int


@dataclass(frozen=True)
class Slot:
    """A value of a list, to be known by a name."""

    name: str
    list: Values


Node = Text | Sequence | Choice | Slot

SPACE = Text(" ")
NOTHING = Sequence(())

_SPOKEN = {"%": " PERCENT ", "°": " DEGREES ", "&": " AND ", "’": "'"}
_SILENT = re.compile(r"[-‐‑–,.?!;:\"“”]")


def optional(node: Node) -> Choice:
    """`node`, or nothing."""
    return Choice((node, NOTHING))


def text_nodes(text: str) -> list[Node]:
    """Text of a template: letters in upper case, and spaces.

    Signs are as spoken, hyphens and punctuation are spaces.
    """
    for sign, words in _SPOKEN.items():
        text = text.replace(sign, words)
    text = _SILENT.sub(" ", text.upper())
    return [SPACE if part.isspace() else Text(part)
            for part in re.findall(r"\s+|\S+", text)]


def sentences(node: Node, where: str) -> list[tuple[str, ...]]:
    """The words of everything that an item of a list says, in its order.

    Raises PhraseError, naming `where`, when that is more than `MAX_LIST`.
    """
    return [tuple(text.split()) for text in _texts(node, where)]


def _texts(node: Node, where: str) -> list[str]:
    if isinstance(node, Text):
        texts = [node.letters]
    elif isinstance(node, Slot):
        texts = [" ".join(words) for words in node.list.values]
    elif isinstance(node, Choice):
        texts = [text for item in node.items for text in _texts(item, where)]
    else:
        texts = [""]
        for item in node.items:
            ends = _texts(item, where)
            _check(len(texts) * len(ends), where)
            texts = [text + end for text in texts for end in ends]
    _check(len(texts), where)
    return texts


def _check(count: int, where: str) -> None:
    if count > MAX_LIST:
        raise PhraseError(f"{where}: expected at most {MAX_LIST} ways to say it, found {count}")
