"""Errors of hypotheses against references, counted under a named normaliser."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import ArgumentError


def _none(text: str) -> str:
    return " ".join(text.split())


# Invisible too: a zero-width space (Cf), which parts words, and marks that only choose a glyph.
_UNSEEN = {0x200B: " ", **dict.fromkeys(
    (0x34F, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)), "")}


def _plain(text: str) -> str:
    text = "".join(character for character in text.translate(_UNSEEN)
                   if unicodedata.category(character) != "Cf")
    # Again after upper(), which takes some letters apart.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).upper())
    return " ".join("".join(_kept(text.replace("\u2019", "'"))).split())


def _kept(text: str) -> Iterator[str]:
    """Letters and numbers with the marks that follow them, and apostrophes; spaces for the rest."""
    carries_marks = False
    for character in text:
        kind = unicodedata.category(character)[0]
        carries_marks = kind in "LN" or (kind == "M" and carries_marks)
        yield character if carries_marks or character == "'" else " "


NORMALISERS: dict[str, Callable[[str], str]] = {"none": _none, "plain": _plain}
"""What is done to both texts before they are compared.

none: words are separated by single spaces, and that is all.

plain, in this order:
1. Format characters (category Cf: soft hyphens, joiners, marks of direction, byte order marks) and
   variation selectors vanish. A zero-width space parts words, so it becomes a space.
2. NFKC, upper case, NFKC again. NFC would keep full-width letters, ligatures and presentation forms
   apart from the letters that they write. A right quotation mark becomes an apostrophe.
3. Letters (L), numbers (N) and apostrophes stay, and so do the marks (Mn, Mc, Me) of a letter or
   number: vowel signs, harakat, points, accents. Everything else becomes a space.

No mark is removed: a text with vowel points differs from one without. Numbers stay as they are
written. The characters of the character error rate are code points.
"""


class Errors(NamedTuple):
    """Counts over one utterance: edits of words and characters, and the reference's lengths."""

    words: int
    characters: int
    reference_words: int
    reference_characters: int


def normaliser(name: str) -> Callable[[str], str]:
    """The normaliser of that name. Raises ArgumentError."""
    if name not in NORMALISERS:
        raise ArgumentError(
            f"normaliser: expected one of {sorted(NORMALISERS)}, found {name!r}")
    return NORMALISERS[name]


def count(references: Sequence[str], hypotheses: Sequence[str], normalise: str = "plain"
          ) -> list[Errors]:
    """`Errors` of each pair. An empty reference is scored too: all words found are insertions.

    Raises ArgumentError for another normaliser.
    """
    clean = normaliser(normalise)
    return [_count(clean(reference), clean(hypothesis))
            for reference, hypothesis in zip(references, hypotheses, strict=True)]


def _count(reference: str, hypothesis: str) -> Errors:
    words = reference.split()
    return Errors(edit_distance(words, hypothesis.split()), edit_distance(reference, hypothesis),
                  len(words), len(reference))


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The fewest substitutions, insertions and deletions that turn one sequence into the other.

    Bit i of an integer is row i of a column in the table of distances between beginnings (Myers
    1999, as Hyyro 2001 has it). A column is then a dozen operations, however long the reference:
    cell by cell, the characters of a sentence take twenty times as long.
    """
    if not reference:
        return len(hypothesis)
    rows_of: dict[str, int] = {}
    for row, item in enumerate(reference):
        rows_of[item] = rows_of.get(item, 0) | 1 << row
    every, last = (1 << len(reference)) - 1, 1 << len(reference) - 1
    more, less = every, 0  # rows whose distance is one more, or less, than that of the row above
    distance = len(reference)
    for item in hypothesis:
        same = rows_of.get(item, 0)
        diagonal = (((same & more) + more) ^ more) | same | less  # no more than up and left of it
        rises, falls = less | ~(diagonal | more), more & diagonal  # against the column before
        distance += bool(rises & last) - bool(falls & last)
        rises, falls = rises << 1 | 1, falls << 1
        more, less = (falls | ~(diagonal | rises)) & every, rises & diagonal & every
    return distance
