"""From the log-probabilities of an exit to one of the phrases that may be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np

from .checks import check_count, check_number
from .decode import Hypothesis
from .decode.forced import force_align
from .decode.graph import MAX_N, PhraseGraph
from .exits import Confidence, PhraseScores, phrase_scores
from .phrases import Phrases

N_BEST = 2
"""Phrases found: the best one, and the one that it is measured against."""

Search = Callable[[PhraseGraph, np.ndarray, int, float | None], list[tuple[float, int]]]
"""`decode.graph.search`, or its twin in C."""


class Heard(NamedTuple):
    """What an exit says of the phrases.

    found: (score, number of the sentence) of the best phrases, the best first; none where no phrase
    fits into the frames. words: of the best one. accepted: whether its confidence reaches the
    threshold; otherwise what was said is taken for none of the phrases.
    """

    found: tuple[tuple[float, int], ...]
    words: tuple[str, ...]
    scores: PhraseScores
    accepted: bool

    @property
    def text(self) -> str:
        """The words, if the phrase is accepted."""
        return " ".join(self.words) if self.accepted else ""


@dataclass(frozen=True)
class PhraseDecoder:
    """Phrases, spelled in the labels of a model, with all that it takes to find and judge them.

    filler: None where a recording holds a phrase and nothing else; otherwise what other speech
    before the phrase costs, as a log-probability, and the same after it. n_best: how many phrases
    are told, 1..MAX_N; the best one is measured against the next in any case.
    """

    phrases: Phrases
    graph: PhraseGraph
    search: Search
    confidence: Confidence
    filler: float | None = None
    n_best: int = N_BEST

    def __post_init__(self) -> None:
        if self.filler is not None:
            check_number("filler", self.filler, 0, float(np.finfo(np.float32).max))
        check_count("n_best", self.n_best, 1, MAX_N)

    def __call__(self, log_probs: np.ndarray) -> Heard:
        """The best phrases by log_probs (T, V). Raises ArgumentError as `decode.graph.search`."""
        found = self.search(self.graph, log_probs, max(self.n_best, N_BEST), self.filler)
        words = tuple(self.phrases.sentence(found[0][1])) if found else ()
        scores = phrase_scores([score for score, _ in found], sum(map(len, words)),
                               self.confidence)
        accepted = bool(found and scores.confidence >= np.float32(self.confidence.threshold))
        return Heard(tuple(found[: self.n_best]), words, scores, accepted)

    def meaning(self, heard: Heard) -> tuple[str | None, dict[str, str | int]]:
        """Intent and slots of the best phrase; None and {} unless it was accepted."""
        return self.phrases.meaning(heard.words) if heard.accepted else (None, {})

    def packed(self) -> bytes:
        """The section of a flash image that C reads (FORMAT.md). Raises PhraseError for what only
        a device cannot do."""
        from .phrases import packed

        section = packed.pack(self.phrases, self.graph, astuple(self.confidence))
        packed.parse(section)
        return section

    def align(self, log_probs: np.ndarray, number: int) -> Hypothesis:
        """Labels and frames of a sentence that was found in log_probs."""
        return force_align(self.graph, number, log_probs, self.filler)
