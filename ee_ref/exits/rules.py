"""Rules that go by the exit, its scores or its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

import numpy as np

from ..checks import check_count, check_number
from ..decode.beam import MAX_BEAM_WIDTH
from ..errors import ArgumentError
from .attention import ATTENTION_SCORES
from .phrase import MAX_MARGIN
from .policy import Decision, Rule, judged
from .scores import FEATURES, POSTERIORS, SCORES
from .utterance import Observation

__all__ = [
    "Budget", "Entropy", "Fixed", "Learned", "Patience", "Phrase", "Posterior", "Threshold",
    "Worth",
]


@dataclass(frozen=True)
class Fixed(Rule, kind="fixed"):
    """Stop at exit n, 1-based. score = the exit's number, margin = score - n."""

    n: int
    needs_scores = False

    def __post_init__(self) -> None:
        check_count("exit", self.n, 1)

    @property
    def deepest(self) -> int:
        return self.n

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        return judged(at.exit, at.exit - self.n), None

    @classmethod
    def candidates(cls, exits: int) -> list[Rule]:
        return [cls(n) for n in range(exits, 0, -1)]


@dataclass(frozen=True)
class Entropy(Rule, kind="entropy"):
    """Stop when `frame_entropy` <= threshold, a finite number >= 0. margin = threshold - score.

    It is compared as the nearest float32, which the score is too: C compares the same two numbers.
    """

    threshold: float
    names = ("entropy",)

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0)

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        score = at.score("entropy")
        return judged(score, float(np.float32(self.threshold)) - score), None


@dataclass(frozen=True)
class Posterior(Rule, kind="posterior"):
    """Stop when `sentence_posterior` of the n_best hypotheses >= threshold, in [0, 1].

    margin = score - threshold. The hypotheses come from a prefix beam search (`decode.beam_search`,
    10 wide, or n_best if that is more) at every exit visited, which costs time of its own.
    blank: the CTC blank; None is that of the model.
    """

    threshold: float
    n_best: int = 10
    blank: int | None = None
    names = ("posterior",)
    needs_scores = False

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0, 1)
        check_count("n_best", self.n_best, 1, MAX_BEAM_WIDTH)
        if self.blank is not None:
            check_count("blank", self.blank, 0)

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        score, _ = at.posterior(self.n_best, self.blank)
        return judged(score, score - self.threshold), None


@dataclass(frozen=True)
class Threshold(Rule, kind="threshold"):
    """Stop when a score of SCORES reaches a threshold: one for all exits, or one for each exit.

    score: its name. threshold: a number, or one for exit 1, 2, ..., None where the rule never
    stops; exits without an entry never stop. margin = score - threshold where larger scores are
    more confident, else threshold - score; -inf where it never stops. Thresholds are compared as
    float64.
    """

    score: str
    threshold: float | Sequence[float | None]
    names = tuple(name for name in SCORES if name not in (*Entropy.names, *Posterior.names))

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ArgumentError(f"score: expected one of {sorted(SCORES)}, found {self.score!r}")
        if not isinstance(self.threshold, (list, tuple)):
            check_number("threshold", self.threshold)
            return
        object.__setattr__(self, "threshold", tuple(self.threshold))
        for threshold in self.threshold:
            if threshold is not None:
                check_number("threshold", threshold)

    @property
    def needs_scores(self) -> bool:
        return self.score not in (*POSTERIORS, *ATTENTION_SCORES)

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        score = at.score(self.score)
        threshold: Any = self.threshold
        if isinstance(threshold, tuple):
            threshold = threshold[at.exit - 1] if at.exit <= len(threshold) else None
        if threshold is None:
            return Decision(False, score, -math.inf), None
        return judged(score, score - threshold if SCORES[self.score] else threshold - score), None

    @classmethod
    def named(cls, name: str, number: float) -> Rule:
        return cls(name, number)


@dataclass(frozen=True)
class Learned(Rule, kind="learned"):
    """Stop when a logistic model of the exit's scores says that going on is not worth its cost.

    score = `log_odds` at exit k, of weights[k-1] and bias[k-1]; it stops when score >= threshold,
    margin = score - threshold. Exits without weights never stop.
    `ee-ref calibrate` fits the weights (ee_ref/calibration/fit.py).
    """

    weights: Sequence[Sequence[float]]
    bias: Sequence[float]
    threshold: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(map(tuple, self.weights)))
        object.__setattr__(self, "bias", tuple(self.bias))
        if len(self.weights) != len(self.bias):
            raise ArgumentError(f"bias: expected {len(self.weights)} numbers, one for each exit "
                                f"with weights, found {len(self.bias)}")
        for row in self.weights:
            if len(row) != len(FEATURES):
                raise ArgumentError(
                    f"weights: expected {len(FEATURES)} an exit, found {len(row)}")
        for number in (*self.bias, *(n for row in self.weights for n in row), self.threshold):
            check_number("weights, bias and threshold", number)

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        if at.exit > len(self.bias):
            return Decision(False, -math.inf, -math.inf), None
        score = log_odds(self.weights[at.exit - 1], self.bias[at.exit - 1], map(at.score, FEATURES))
        return judged(score, score - self.threshold), None


def log_odds(weights: Sequence[float], bias: float, features: Any) -> Any:
    """bias + sum over FEATURES of weight * feature, in that order."""
    return sum(map(mul, weights, features), bias)


_LEAST_IN_LOG = 1e-6
"""The logarithm of a score is that of this number where the score is less."""


@dataclass(frozen=True)
class Worth(Rule, kind="worth"):
    """Stop when a linear model of scores says that going on is not worth its price.

    scores: their names. length: name of the score that says how long the utterance is ("frames" of
    `Scores`), None to do without. weights, bias: of `worth_features` at exit 1, 2, ...; exits
    without them never stop. score = margin = bias + weights . features: the loss that stopping here
    is expected to save, by the unit of `length`, where the loss is word errors and the price of the
    layers still to run. The rule is what fitted value iteration finds for this optimal stopping
    (Tsitsiklis and Van Roy, IEEE Trans. Neural Networks 12(4), 2001); `ee-ref calibrate` fits it.
    """

    scores: Sequence[str]
    length: str | None
    weights: Sequence[Sequence[float]]
    bias: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(self.scores))
        object.__setattr__(self, "weights", tuple(map(tuple, self.weights)))
        object.__setattr__(self, "bias", tuple(self.bias))
        for name in (*self.scores, *([] if self.length is None else [self.length])):
            if not isinstance(name, str):
                raise ArgumentError(f"scores and length: expected names, found {name!r}")
        if len(self.weights) != len(self.bias):
            raise ArgumentError(f"bias: expected {len(self.weights)} numbers, one for each exit "
                                f"with weights, found {len(self.bias)}")
        ones = [1.0] * len(self.scores)
        expected = len(worth_features(ones, None, None if self.length is None else 1.0))
        for row in self.weights:
            if len(row) != expected:
                raise ArgumentError(f"weights: expected {expected} an exit, found {len(row)}")
        for number in (*self.bias, *(n for row in self.weights for n in row)):
            check_number("weights and bias", number)

    @property
    def needs_scores(self) -> bool:
        return self.length is not None or not (
            set(self.scores) <= {*POSTERIORS, *ATTENTION_SCORES})

    def decide(self, at: Observation, state: Any = None) -> tuple[Decision, Any]:
        if at.exit > len(self.bias):
            return Decision(False, -math.inf, -math.inf), None
        values = [at.score(name) for name in self.scores]
        length = None if self.length is None else at.score(self.length)
        score = sum(map(mul, self.weights[at.exit - 1], worth_features(values, state, length)),
                    self.bias[at.exit - 1])
        return judged(score, score), values


def worth_features(values: Sequence[Any], before: Sequence[Any] | None, length: Any) -> list[Any]:
    """What `Worth` weighs, of scores at an exit: numbers, or arrays of one shape.

    Of each score the value, its log, and the change of its log since the exit before (0 at the
    first exit); with a length the last two also by length, then the length, at least 1, and its
    log. A probability of a whole sentence falls with its length, a mean over frames does not: the
    weights say which a score is.
    before: the same scores at the exit before, None at the first.
    """
    logs, earlier = ([np.log(np.maximum(value, _LEAST_IN_LOG)) for value in of]
                     for of in (values, values if before is None else before))
    changes = [log - old for log, old in zip(logs, earlier)]
    features = [*values, *logs, *changes]
    if length is not None:
        length = np.maximum(length, 1)
        features += [*(log / length for log in logs), *(change / length for change in changes),
                     length, np.log(length)]
    return features


@dataclass(frozen=True)
class Patience(Rule, kind="patience"):
    """Stop when the tokens were the same as at the exit before, `exits` times in a row.

    Source: Zhou et al., arXiv:2006.04152. score = how often in a row, margin = score - exits.
    """

    exits: int = 1
    names = ("patience",)
    asks = ("same",)

    def __post_init__(self) -> None:
        check_count("exits", self.exits, 1)

    def decide(self, at: Observation, state: float | None = None) -> tuple[Decision, float]:
        in_a_row = at.score("same") * (1 if state is None else state + 1)
        return judged(in_a_row, in_a_row - self.exits), in_a_row

    @classmethod
    def named(cls, name: str, number: float) -> Rule:
        exits: Any = int(number) if number.is_integer() else number
        return cls(exits)

    @classmethod
    def candidates(cls, exits: int) -> list[Rule]:
        return [cls(n) for n in range(exits, 0, -1)]


@dataclass(frozen=True)
class Phrase(Rule, kind="phrase"):
    """Stop when the best phrase is surer than free speech, and than the phrase that comes second.

    free: threshold of `PhraseScores.free`, finite, <= 0. margin: that of `PhraseScores.margin`, in
    [0, 10]. score = the phrase's margin; the rule's own margin is the less of
    `PhraseScores.free - free` and `PhraseScores.margin - margin`. Both are compared as the nearest
    float32, which the scores are too. Phrases must be given: the rule searches for them at every
    exit visited, and the result is of the same search.
    """

    free: float
    margin: float
    needs_scores = False
    needs_phrases = True

    def __post_init__(self) -> None:
        check_number("free", self.free, -float(np.finfo(np.float32).max), 0)
        check_number("margin", self.margin, 0, float(MAX_MARGIN))

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        free, lead = at.score("phrase_free"), at.score("phrase_margin")
        past = np.minimum(free - float(np.float32(self.free)),
                          lead - float(np.float32(self.margin)))
        return judged(lead, past), None


@dataclass(frozen=True)
class Budget(Rule, kind="budget"):
    """Stop when the next exit would cost more than what is left.

    limit: what may be spent, in the unit of `costs`. costs: up to exit 1, 2, ..., rising; None:
    the multiply-accumulates of the encoder for this utterance. Exit 1 is always computed. score =
    margin = what would be missing for the next exit, 0 or less where there is enough. A limit that
    is met exactly is enough, so a score of 0 does not stop: its margin is the next float below 0.
    """

    limit: float
    costs: Sequence[float] | None = None
    needs_scores = False

    def __post_init__(self) -> None:
        check_number("limit", self.limit)
        if self.costs is not None:
            object.__setattr__(self, "costs", tuple(self.costs))
            for cost in self.costs:
                check_number("costs", cost)
            if not self.costs or any(a >= b for a, b in zip(self.costs, self.costs[1:])):
                raise ArgumentError(f"costs: expected numbers that rise, found {self.costs}")

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        """Raises ArgumentError when the utterance's costs are unknown."""
        costs = at.utterance.costs if self.costs is None else self.costs
        if not costs:
            raise ArgumentError("Budget: expected costs of the exits, found none")
        missing = costs[min(at.exit, len(costs) - 1)] - float(self.limit)
        return judged(missing, missing - math.ulp(0.0) * (missing == 0)), None
