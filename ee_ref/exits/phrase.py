"""Scores of an exit when it is known what may be said: how sure the best phrase is.

In float32 operations that C repeats to the byte (kernels/include/ee_exits.h, docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_number
from ..decode.graph import SPREAD
from ..ops._exact import ONE, ZERO, exp

MAX_MARGIN = SPREAD
"""The lead of a best phrase counts up to here: phrases further behind are not found."""
_MAX_WEIGHT = 10_000
_MAX_LOG_ODDS = np.float32(80)  # beyond it a confidence may be subnormal


@dataclass(frozen=True)
class Confidence:
    """How `PhraseScores.confidence` follows from the other two, and from which value on a phrase
    is accepted: sigmoid(bias + free * scores.free + margin * scores.margin) >= threshold.

    bias within 10,000 of 0; free, margin in [0, 10,000]; threshold in [0, 1]; all as float32.
    Fitted by `ee-ref calibrate --phrases`, which stores the numbers in the model file.
    """

    bias: float
    free: float
    margin: float
    threshold: float

    def __post_init__(self) -> None:
        check_number("bias", self.bias, -_MAX_WEIGHT, _MAX_WEIGHT)
        check_number("free", self.free, 0, _MAX_WEIGHT)
        check_number("margin", self.margin, 0, _MAX_WEIGHT)
        check_number("threshold", self.threshold, 0, 1)


CONFIDENCE = Confidence(bias=3.24, free=2.77, margin=0.146, threshold=0.73)
"""That of models that have none of their own."""


class PhraseScores(NamedTuple):
    """What the search says of its best phrase; float32 numbers.

    free: log-probability of its best alignment less that of the best path without any phrases, by
    the number of its letters to the power of 1.25: 0 where free speech is that phrase, -inf where
    no phrase fits. So a long phrase may be spelled a little worse, letter by letter, than a short
    one, which other words resemble by chance.
    margin: by how much it leads the next best phrase, at most MAX_MARGIN, and that much where there
    is none.
    confidence: in [0, 1] (`Confidence`).
    """

    free: float
    margin: float
    confidence: float


def phrase_confidence(free: Any, margin: Any, by: Confidence) -> Any:
    """`PhraseScores.confidence` of free and margin, float32 numbers or arrays."""
    bias, of_free, of_margin, _ = map(np.float32, astuple(by))
    odds = (bias + of_free * free) + of_margin * margin
    odds = np.minimum(np.maximum(odds, -_MAX_LOG_ODDS), _MAX_LOG_ODDS)
    return ONE / (ONE + exp(ZERO - odds))


def phrase_scores(
    found: Sequence[float], letters: int, confidence: Confidence = CONFIDENCE
) -> PhraseScores:
    """The scores of a search.

    found: of the best phrase, and of the next where there is one, float32 numbers <= 0; none where
    no phrase fits. letters: of the words of the best phrase, at least 1.
    """
    if not found:
        return PhraseScores(-np.inf, 0.0, 0.0)
    best = np.float32(found[0])
    length = np.float32(letters)
    free = best / (length * np.sqrt(np.sqrt(length)))
    margin = MAX_MARGIN
    if len(found) > 1:
        margin = min(margin, best - np.float32(found[1]))
    return PhraseScores(float(free), float(margin),
                        float(phrase_confidence(free, margin, confidence)))


PHRASE_SCORES = {"phrase_free": "free", "phrase_margin": "margin"}
"""What rules and tables call them: name -> field of `PhraseScores`."""
