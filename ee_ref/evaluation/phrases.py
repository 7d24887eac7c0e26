"""Whether the phrases found are those that were said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..phrases import Phrases
from .figures import interval
from .run import Measurement
from .scoring import normaliser


@dataclass(frozen=True)
class Outcomes:
    """Of n recordings at K exits.

    said (n,): the recording says one of the phrases. right (n, K): the best phrase found is that
    one, or has its intent and its slots, whether it is accepted or not. accepted (n, K).
    """

    said: np.ndarray
    right: np.ndarray
    accepted: np.ndarray

    def rows(self, which: np.ndarray) -> Outcomes:
        """The recordings `which`, indices or a mask."""
        return Outcomes(self.said[which], self.right[which], self.accepted[which])

    def figures(self, choice: np.ndarray) -> dict[str, list[float | None]]:
        """Of a choice of exits, (n,) from 0: shares in %, each with a 95 % bootstrap interval.

        Of the recordings that say a phrase, `right`: it was found and accepted; `rejected`: it was
        found, and not accepted (false rejection). `accepted`: of the others, those taken for a
        phrase (false acceptance). None where there are no such recordings.
        """
        rows = np.arange(len(choice))
        right, accepted = self.right[rows, choice], self.accepted[rows, choice]
        return {"right": _share(right & accepted, self.said),
                "rejected": _share(right & ~accepted, self.said),
                "accepted": _share(accepted, ~self.said)}

    def report(self) -> dict[str, Any]:
        """The figures of every exit, as plain data."""
        n, exits = self.right.shape
        return {"recordings": n, "said": int(self.said.sum()),
                "exits": [self.figures(np.full(n, exit)) for exit in range(exits)]}


def _share(those: np.ndarray, of: np.ndarray) -> list[float | None]:
    if not of.any():
        return [None, None, None]
    return interval(those[of], np.ones(int(of.sum())))


def outcomes(utterances: Sequence[Measurement], phrases: Phrases, normalise: str) -> Outcomes:
    """Of measurements with phrases, these ones. Texts are compared as the normaliser leaves them.

    Raises ArgumentError for another normaliser.
    """
    clean = normaliser(normalise)
    references = [clean(u.recording.text).split() for u in utterances]
    return Outcomes(
        said=np.array([phrases.number(words) is not None for words in references], bool),
        right=np.array([[same(phrases, words, heard.words) for heard in u.heard]
                        for words, u in zip(references, utterances)], bool),
        accepted=np.array([[heard.accepted for heard in u.heard] for u in utterances], bool))


def same(phrases: Phrases, said: Sequence[str], found: Sequence[str]) -> bool:
    """Whether two sentences are one phrase, or have the same intent and slots."""
    number = phrases.number(said)
    if number is None or phrases.number(found) is None:
        return False
    intent, slots = phrases.meaning(found)
    return number == phrases.number(found) or (
        intent is not None and (intent, slots) == phrases.meaning(said))
