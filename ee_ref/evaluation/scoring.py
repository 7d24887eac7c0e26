"""Errors of hypotheses against references, counted by jiwer under a named normaliser."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import ArgumentError, EeError


class ScorerUnavailable(EeError, ImportError):
    """jiwer is not installed."""


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


def require() -> None:
    """Raise ScorerUnavailable, saying what to install, when jiwer is missing."""
    try:
        import jiwer  # noqa: F401
    except ImportError:
        raise ScorerUnavailable(
            "error rates are counted by jiwer, which is not installed: "
            "pip install 'ee-ref[eval]'") from None


def count(references: Sequence[str], hypotheses: Sequence[str], normalise: str = "plain"
          ) -> list[Errors]:
    """`Errors` of each pair. An empty reference is scored too: all words found are insertions.

    Raises ScorerUnavailable without jiwer, ArgumentError for another normaliser.
    """
    require()
    clean = normaliser(normalise)
    return [_count(clean(reference), clean(hypothesis))
            for reference, hypothesis in zip(references, hypotheses, strict=True)]


def _count(reference: str, hypothesis: str) -> Errors:
    words, characters = len(reference.split()), len(reference)
    if reference == hypothesis:
        return Errors(0, 0, words, characters)
    if not reference:  # older versions of jiwer refuse it
        return Errors(len(hypothesis.split()), len(hypothesis), 0, 0)
    import jiwer

    by_word = jiwer.process_words(reference, hypothesis)
    by_character = jiwer.process_characters(reference, hypothesis)
    return Errors(*(found.substitutions + found.insertions + found.deletions
                    for found in (by_word, by_character)), words, characters)
