"""Rules that pick the exit of an utterance. The protocol is that of the package's first lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import mul
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np

from ..decode.beam import MAX_BEAM_WIDTH
from ..decode.hypothesis import check_count
from ..errors import ArgumentError
from .scores import (
    FEATURES, SCORES, ExitLike, Utterance, features_of, frame_entropy, n_best_posterior,
)

if TYPE_CHECKING:
    from ..encoder import ExitOutput


class Policy(Protocol):
    """A rule that picks the exit of an utterance: any callable of this kind, a plain function too.

    It may have a method `margin(score: float) -> float`: how far the score lies on the stopping
    side of the threshold, in the score's own unit; stop means margin >= 0. Near zero, rounding
    could have turned the decision. Without it the margin of a result is NaN.
    """

    def __call__(self, out: ExitOutput, /) -> tuple[bool, float]:
        """(whether to stop at this exit, the score that says so)."""
        ...


class PerUtterance(Protocol):
    """A policy that begins anew with each utterance; see the package's first lines."""

    def start(self, utterance: Utterance, /) -> Policy:
        """The rule for one utterance."""
        ...


AnyPolicy = Union[Policy, PerUtterance]
"""What is taken where a policy is asked for."""

Rule = Callable[[Any], tuple[bool, float]]
"""A policy at work on one utterance; it is called with an ExitLike."""


@dataclass(frozen=True)
class Fixed:
    """Stop at exit n, 1-based. score = the exit's number, margin = score - n."""

    n: int

    def __post_init__(self) -> None:
        check_count("exit", self.n, 1)

    @property
    def exit(self) -> int:
        """The exit it stops at."""
        return self.n

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        return out.exit >= self.n, float(out.exit)

    def margin(self, score: float) -> float:
        return score - self.n


@dataclass(frozen=True)
class Entropy:
    """Stop when `frame_entropy` <= threshold, a finite number >= 0. margin = threshold - score.

    It is compared as the nearest float32, which the score is too: C compares the same two numbers.
    """

    threshold: float

    def __post_init__(self) -> None:
        _check_threshold(self.threshold, math.inf)

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        score = frame_entropy(out.log_probs)
        return self.margin(score) >= 0, score

    def margin(self, score: float) -> float:
        return float(np.float32(self.threshold)) - score

    def start(self, utterance: Utterance) -> Rule:
        """The same rule on the scores that this utterance's other rules share."""
        return _Run(lambda out: utterance.scores(out).entropy, lambda _: self.margin)


@dataclass(frozen=True)
class Posterior:
    """Stop when `sentence_posterior` of the n_best hypotheses >= threshold, in [0, 1].

    margin = score - threshold. The hypotheses come from a prefix beam search (`decode.beam_search`,
    10 wide, or n_best if that is more) at every exit visited, which costs time of its own.
    blank: the CTC blank of the model.
    """

    threshold: float
    n_best: int = 10
    blank: int = 0

    def __post_init__(self) -> None:
        _check_threshold(self.threshold, 1.0)
        check_count("n_best", self.n_best, 1, MAX_BEAM_WIDTH)
        check_count("blank", self.blank, 0)

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        score, _ = n_best_posterior(out.log_probs, self.n_best, self.blank)
        return score >= self.threshold, score

    def margin(self, score: float) -> float:
        return score - self.threshold


class _Run:
    """A rule at work on one utterance: a score, and how far it lies past the threshold.

    score: out -> score. margin_at: exit -> (score -> margin).
    """

    def __init__(self, score: Callable[[ExitLike], float],
                 margin_at: Callable[[int], Callable[[float], float]]) -> None:
        self._score, self._margin_at = score, margin_at
        self.margin = margin_at(1)

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        self.margin = margin = self._margin_at(out.exit)
        score = self._score(out)
        return margin(score) >= 0, score


def _never(score: float) -> float:
    """The margin where a rule never stops."""
    return -math.inf


class _Started:
    """A policy whose `start` does the work; called without it, every exit is a first one."""

    def start(self, utterance: Utterance) -> Rule:
        raise NotImplementedError

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        return self.start(Utterance())(out)


@dataclass(frozen=True)
class Threshold(_Started):
    """Stop when a score of SCORES reaches a threshold: one for all exits, or one for each exit.

    score: its name. threshold: a number, or one for exit 1, 2, ..., None where the rule never
    stops; exits without an entry never stop. margin = score - threshold where larger scores are
    more confident, else threshold - score; -inf where it never stops. Thresholds are compared as
    float64.
    """

    score: str
    threshold: float | Sequence[float | None]

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ArgumentError(f"score: expected one of {sorted(SCORES)}, found {self.score!r}")
        several = isinstance(self.threshold, (list, tuple))
        if several:
            object.__setattr__(self, "threshold", tuple(self.threshold))
        for threshold in self.threshold if several else [self.threshold]:
            if not (several and threshold is None):
                _check_number("threshold", threshold)

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        score = SCORES[self.score]
        return _Run(lambda out: score.of(utterance, out), self._margin_at)

    def _margin_at(self, exit: int) -> Callable[[float], float]:
        threshold = self.threshold
        if isinstance(threshold, tuple):
            threshold = threshold[exit - 1] if exit <= len(threshold) else None
        if threshold is None:
            return _never
        if SCORES[self.score].larger:
            return lambda score: score - threshold
        return lambda score: threshold - score


@dataclass(frozen=True)
class Learned(_Started):
    """Stop when a logistic model of the exit's scores says that going on is not worth its cost.

    score = bias[k-1] + sum over FEATURES of weights[k-1][i] * feature[i], the log-odds at exit k;
    it stops when score >= threshold, margin = score - threshold. Exits without weights never stop.
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
            _check_number("weights, bias and threshold", number)

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        weights, bias = self.weights, self.bias

        def log_odds(out: ExitLike) -> float:
            features = features_of(utterance.scores(out))  # always: the next exit compares with it
            if out.exit > len(bias):
                return -math.inf
            return sum(map(mul, weights[out.exit - 1], features), bias[out.exit - 1])

        return _Run(log_odds, lambda _: self.margin)

    def margin(self, score: float) -> float:
        return score - self.threshold


@dataclass(frozen=True)
class Patience(_Started):
    """Stop when the tokens were the same as at the exit before, `exits` times in a row.

    Source: Zhou et al., arXiv:2006.04152. score = how often in a row, margin = score - exits.
    """

    exits: int = 1

    def __post_init__(self) -> None:
        check_count("exits", self.exits, 1)

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        in_a_row = 0

        def agreed(out: ExitLike) -> float:
            nonlocal in_a_row
            in_a_row = in_a_row + 1 if utterance.scores(out).same else 0
            return float(in_a_row)

        return _Run(agreed, lambda _: self.margin)

    def margin(self, score: float) -> float:
        return score - self.exits


@dataclass(frozen=True)
class Deadline(_Started):
    """Stop when the next group would not be done in time; exit 1 is always computed.

    milliseconds: the time allowed from the call of `transcribe` to its result; `reserve`, also in
    milliseconds, is kept back for decoding. The time that the next group will take is predicted
    from its multiply-accumulates, at the slowest rate of this utterance's groups so far, times
    `safety`. Where costs are unknown, all groups count as equal. score = margin = the milliseconds
    by which the next group would be late: 0 or more means stop. The arithmetic is float32, that of
    ee_deadline_stop.
    """

    milliseconds: float
    safety: float = 1.25
    reserve: float = 1.0

    def __post_init__(self) -> None:
        for name in ("milliseconds", "safety", "reserve"):
            _check_number(name, getattr(self, name))
        if self.milliseconds < 0 or self.safety < 1 or self.reserve < 0:
            raise ArgumentError("milliseconds, safety and reserve: expected at least 0, 1 and 0, "
                                f"found {self.milliseconds}, {self.safety}, {self.reserve}")

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        costs = _steps(utterance.costs)
        rate, before = np.float32(0), utterance.encoder_started

        def missing(out: ExitLike) -> float:
            nonlocal rate, before
            now = utterance.clock()
            group, cost = np.float32(1000 * (now - before)), costs(out.exit)
            before = now
            if not cost:  # no work, as without frames: its time says nothing of the rate
                group, cost = np.float32(0), 1.0
            rate, lacking = deadline_stop(
                self, np.float32(1000 * (now - utterance.started)), group,
                cost, costs(out.exit + 1), rate)
            return float(lacking)

        return _Run(missing, lambda _: self.margin)

    def margin(self, score: float) -> float:
        return score


def deadline_stop(
    deadline: Deadline, elapsed: float, group: float, cost: float, next_cost: float, rate: float
) -> tuple[np.float32, np.float32]:
    """(rate, milliseconds that would be missing) after a group; `ee_deadline_stop` in NumPy.

    elapsed: since the call; group: of the group just done; cost, next_cost: of that group and the
    next; rate: the slowest so far, 0 before the first. All as float32. Raises ArgumentError for a
    cost that is not above 0.
    """
    if not cost > 0:
        raise ArgumentError(f"cost: expected a number above 0, found {cost!r}")
    elapsed, group, cost, next_cost, rate, limit, safety, reserve = map(np.float32, (
        elapsed, group, cost, next_cost, rate, deadline.milliseconds, deadline.safety,
        deadline.reserve))
    rate = max(rate, group / cost)
    return rate, ((elapsed + (rate * next_cost) * safety) + reserve) - limit


@dataclass(frozen=True)
class Budget(_Started):
    """Stop when the next exit would cost more than what is left.

    limit: what may be spent, in the unit of `costs`. costs: up to exit 1, 2, ..., rising; None:
    the multiply-accumulates of the encoder for this utterance. Exit 1 is always computed. score =
    margin = what would be missing for the next exit, 0 or less where there is enough; equal is
    enough, so it stops above 0 alone: margin is the next float below where it is 0.
    """

    limit: float
    costs: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check_number("limit", self.limit)
        if self.costs is not None:
            object.__setattr__(self, "costs", tuple(self.costs))
            for cost in self.costs:
                _check_number("costs", cost)
            if not self.costs or any(a >= b for a, b in zip(self.costs, self.costs[1:])):
                raise ArgumentError(f"costs: expected numbers that rise, found {self.costs}")

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance. Raises ArgumentError when its costs are unknown."""
        costs = utterance.costs if self.costs is None else self.costs
        if not costs:
            raise ArgumentError("Budget: expected costs of the exits, found none")

        def missing(out: ExitLike) -> float:
            following = costs[min(out.exit, len(costs) - 1)]
            return float(following - self.limit)

        return _Run(missing, lambda _: self.margin)

    def margin(self, score: float) -> float:
        return score if score else -math.ulp(0.0)


@dataclass(frozen=True)
class Within(_Started):
    """`policy` with a floor and a ceiling: never before exit `floor`, always at exit `ceiling`.

    Score and margin are those of `policy`; at the ceiling the margin may be negative.
    """

    policy: AnyPolicy
    floor: int = 1
    ceiling: int | None = None

    def __post_init__(self) -> None:
        check_count("floor", self.floor, 1)
        if self.ceiling is not None:
            check_count("ceiling", self.ceiling, self.floor)

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        return _WithinRun(self, begin(self.policy, utterance))


class _WithinRun:
    def __init__(self, limits: Within, inner: Rule) -> None:
        self._limits, self._inner = limits, inner

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        stop, score = self._inner(out)  # asked below the floor too: it may count exits
        limits = self._limits
        at_ceiling = limits.ceiling is not None and out.exit >= limits.ceiling
        return at_ceiling or (bool(stop) and out.exit >= limits.floor), score

    def margin(self, score: float) -> float:
        return margin_of(self._inner, score)


@dataclass(frozen=True)
class FirstOf(_Started):
    """Stop when any of several policies says so: `FirstOf(Learned(...), Deadline(20))`.

    Score and margin are those of the first one that says stop, or of the first.
    """

    policies: tuple[AnyPolicy, ...]

    def __init__(self, *policies: AnyPolicy) -> None:
        if not policies:
            raise ArgumentError("policies: expected one or more, found none")
        object.__setattr__(self, "policies", policies)

    def start(self, utterance: Utterance) -> Rule:
        """The rule for one utterance."""
        return _FirstOfRun([begin(policy, utterance) for policy in self.policies])


class _FirstOfRun:
    def __init__(self, inner: list[Rule]) -> None:
        self._inner, self._speaker = inner, inner[0]

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        answers = [policy(out) for policy in self._inner]
        chosen = next((i for i, (stop, _) in enumerate(answers) if stop), 0)
        self._speaker = self._inner[chosen]
        return answers[chosen]

    def margin(self, score: float) -> float:
        return margin_of(self._speaker, score)


def begin(policy: AnyPolicy, utterance: Utterance) -> Rule:
    """The callable that decides on this utterance: `policy.start(utterance)`, or policy itself."""
    start = getattr(policy, "start", None)
    return policy if start is None else start(utterance)


def margin_of(policy: AnyPolicy | Rule, score: float) -> float:
    """`policy.margin(score)`, NaN for a policy without one."""
    margin = getattr(policy, "margin", None)
    return float("nan") if margin is None else margin(score)


def deepest_fixed(policy: AnyPolicy | None) -> int:
    """The largest exit that a `Fixed` in `policy` names, 0 for none."""
    if isinstance(policy, Fixed):
        return policy.n
    if isinstance(policy, Within):
        return deepest_fixed(policy.policy)
    if isinstance(policy, FirstOf):
        return max(map(deepest_fixed, policy.policies))
    return 0


def _steps(costs: Sequence[float]) -> Callable[[int], float]:
    """exit -> cost of its group alone; 1 where it is unknown or nothing, 0 past the last."""
    def step(exit: int) -> float:
        if not costs or not costs[-1]:  # no frames
            return 1.0
        if exit > len(costs):
            return 0.0
        return float(costs[exit - 1] - (costs[exit - 2] if exit > 1 else 0))

    return step


def _check_number(name: str, value: object) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ArgumentError(f"{name}: expected a finite number, found {value!r}")


def _check_threshold(threshold: object, high: float) -> None:
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if not is_number or not math.isfinite(threshold) or not 0 <= threshold <= high:
        expected = "a finite number >= 0" if high == math.inf else f"a number in [0, {high:g}]"
        raise ArgumentError(f"threshold: expected {expected}, found {threshold!r}")
