"""Errors of hypotheses against references, counted by jiwer under a named normaliser."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import ArgumentError, EeError


class ScorerUnavailable(EeError, ImportError):
    """jiwer is not installed."""


def _none(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).upper().replace("\u2019", "'")
    return " ".join(re.sub(r"[^\w\s']|_", " ", text).split())


NORMALISERS: dict[str, Callable[[str], str]] = {"none": _none, "plain": _plain}
"""none: white space alone. plain: NFKC, upper case, all but letters, digits and apostrophes is a
space; numbers stay as they are written. Both sides go through it."""


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
