"""Policies fitted to a `Table`, for one price of depth after another.

All families minimise the same thing over the calibration set,

    word errors + price * layers * seconds of audio,

so that a path of prices draws the curve of each family, from full depth to exit 1. Where a family
has a rule an exit, the exits are fitted from the last but one to the first: at each exit the rule
separates the utterances that gain by stopping there, compared with what the deeper rules do with
them, from those that lose (dynamic programming over exits, with a classifier for the unknown value
of going on). Nothing here looks at more than scores, errors, layers and seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import mul
from typing import Any, NoReturn

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..evaluation.run import Table
from ..exits.phrase import MAX_MARGIN, PHRASE_SCORES
from ..exits.policy import KINDS, as_policy
from ..exits.rules import log_odds, worth_features

GRID = 200
"""Thresholds tried for a score, at its quantiles."""

PHRASE_GRID = 20
"""Thresholds tried for each of the two scores of `Phrase`, at its quantiles."""

RIDGE = 1e-3
"""Penalty on squared weights of `learned`, features standardised, samples weighing 1 in all."""

PRICES = np.geomspace(0.01, 3, 41)
"""Prices of a layer-second, in units of all words over all layer-seconds of the set."""

PRIOR = 30
"""Penalty on squared weights of `worth`, features standardised: counts as so many utterances."""

LENGTHS = ("frames", "seconds", "words")
"""Scores that say how long an utterance is, of which `worth` takes the first one measured."""

_UNWEIGHED = (*LENGTHS, "tokens", *PHRASE_SCORES)
"""Measured, but no score of how sure the model is of any speech."""

_CONFIDENT = [(None, 0.0) if name.startswith("entropy") else (0.0, None) for name in exits.FEATURES]
"""Bounds of the weights of `learned`: more confidence, by any score, is never a reason to go on.
Unbounded weights fit the calibration set better, but may call speech of another kind confident."""

Fit = Callable[[Table, Sequence[float]], list[exits.AnyPolicy]]
"""The policies of a family that fit a table best, one for each price."""


def prices(table: Table, count: int = len(PRICES)) -> list[float]:
    """PRICES in word errors a layer-second, or `count` prices over the same range."""
    scale = max(1, table.words.sum()) / max(1e-9, _cost(table)[:, -1].sum())
    return (np.geomspace(PRICES[0], PRICES[-1], count) * scale).tolist()


class _Exit:
    """What `exits.Observation` is of one utterance, of all in a table: each number is (n,)."""

    def __init__(self, table: Table, exit: int) -> None:
        self.exit, self._measured = exit, table.scores
        self.utterance = exits.Utterance(
            table.word_errors.shape[1], costs=tuple(table.costs.T),
            clock=lambda: _not_measured("a clock"))

    @property
    def scores(self) -> exits.Scores:
        return exits.Scores(*map(self.score, exits.Scores._fields))

    @property
    def log_probs(self) -> NoReturn:
        _not_measured("log-probabilities")

    def score(self, name: str) -> Any:
        if name not in self._measured:
            _not_measured(name)
        return self._measured[name][:, self.exit - 1]

    def posterior(self, n_best: int = 10, blank: int | None = None) -> tuple[np.ndarray, ...]:
        if n_best != 10 or blank is not None:
            _not_measured(f"a posterior of n_best={n_best}, blank={blank}")
        whole = self.score("posterior")
        if "posterior_per_token" not in self._measured:  # a rule that goes by it asks `score`
            return whole, np.full_like(whole, np.nan)
        return whole, self.score("posterior_per_token")


def _not_measured(what: str) -> NoReturn:
    raise ArgumentError("policy: expected one that goes by the scores measured, found one that "
                        f"asks for {what}")


def choices(policy: exits.AnyPolicy, table: Table) -> np.ndarray:
    """(n,) exits, from 0, that a policy chooses by the scores in the table.

    Raises ArgumentError for one that needs something else: a clock, or a score not measured.
    """
    policy, state = as_policy(policy), None
    stop = np.zeros_like(table.word_errors, bool)
    for exit in range(stop.shape[1]):
        at: Any = _Exit(table, exit + 1)
        decision, state = policy.decide(at, state)
        stop[:, exit] = decision.stop
    stop[:, -1] = True
    return stop.argmax(axis=1)


def families(table: Table) -> dict[str, Fit]:
    """Name -> fit, for every kind of policy that the scores in the table allow."""
    found: dict[str, Fit] = {}
    for kind, rule in KINDS.items():
        rules = rule.candidates(table.word_errors.shape[1])
        if rules and set(rule.asks) <= set(table.scores):
            found[kind] = cheapest(partial(_the_same, rules))
    for score in table.scores:
        if score in exits.SCORES:
            found[score] = cheapest(partial(_thresholds, score))
            found[f"{score}, per exit"] = _each_price(_threshold_per_exit, score)
    if all(name in table.scores for name in PHRASE_SCORES):
        found["phrase"] = cheapest(phrase_rules)
    if set(exits.FEATURES) <= set(table.scores):
        found["learned"] = _each_price(_learned)
    if weighed := _weighed(table):
        found["worth"] = worth(weighed, length_of(table))
    return found


def _weighed(table: Table) -> tuple[str, ...]:
    return tuple(name for name in table.scores if name not in _UNWEIGHED)


def length_of(table: Table) -> str | None:
    """The score of LENGTHS that the table has."""
    return next((name for name in LENGTHS if name in table.scores), None)


def worth(scores: Sequence[str], length: str | None) -> Fit:
    """The family of `exits.Worth` with these scores."""
    return lambda table, prices: [_worth(table, price, scores, length) for price in prices]


def parts_of_worth(table: Table) -> dict[str, Fit]:
    """Families that show what a part of what `worth` sees is good for: each score, no length."""
    weighed, length = _weighed(table), length_of(table)
    found = {f"worth, {score} alone": worth([score], length) for score in weighed
             if len(weighed) > 1}
    if weighed and length is not None:
        found[f"worth, {length} unknown"] = worth(weighed, None)
    return found


def _cost(table: Table) -> np.ndarray:
    """(n, K) layer-seconds up to each exit."""
    return table.layers[None, :] * table.seconds[:, None]


def cheapest(candidates: Callable[[Table], Sequence[exits.AnyPolicy]]) -> Fit:
    """A family of these policies: that with the least loss at each price, the first of equals."""
    def fit(table: Table, prices: Sequence[float]) -> list[exits.AnyPolicy]:
        found = candidates(table)
        rows, cost = np.arange(len(table)), _cost(table)
        chosen = [choices(policy, table) for policy in found]
        errors = np.array([table.word_errors[rows, choice].sum() for choice in chosen])
        costs = np.array([cost[rows, choice].sum() for choice in chosen])
        return [found[int((errors + price * costs).argmin())] for price in prices]

    return fit


def _each_price(rule: Callable[..., exits.Policy], *arguments: str) -> Fit:
    """rule(table, price, *arguments) for each price."""
    return lambda table, prices: [rule(table, price, *arguments) for price in prices]


def _the_same(rules: Sequence[exits.AnyPolicy], table: Table) -> Sequence[exits.AnyPolicy]:
    return rules


def _thresholds(score: str, table: Table) -> list[exits.Policy]:
    values = np.unique(np.quantile(table.scores[score], np.linspace(0, 1, GRID), method="nearest"))
    return [exits.Threshold(score, float(value)) for value in values]


def phrase_rules(table: Table) -> list[exits.AnyPolicy]:
    """The safest first, which asks for a perfect phrase without a rival."""
    grid = []
    for name, most in zip(PHRASE_SCORES, (0.0, float(MAX_MARGIN))):
        scores = np.append(table.scores[name].ravel(), most)
        scores = scores[np.isfinite(scores)]
        grid.append(np.unique(np.quantile(
            scores, np.linspace(0, 1, PHRASE_GRID), method="nearest"))[::-1])
    return [exits.Phrase(float(free), float(margin)) for free in grid[0] for margin in grid[1]]


def _backwards(table: Table, price: float, rule: Callable[[int, np.ndarray], np.ndarray]) -> None:
    """Call rule(exit, gain) from the last exit but one to the first; it returns who stops there.

    gain (n,): loss saved by stopping at this exit instead of going on with the rules fitted so far.
    """
    loss = table.word_errors + price * _cost(table)
    onward = loss[:, -1]
    for exit in range(loss.shape[1] - 2, -1, -1):
        stops = rule(exit, onward - loss[:, exit])
        onward = np.where(stops, loss[:, exit], onward)


def _threshold_per_exit(table: Table, price: float, score: str) -> exits.Policy:
    sign = 1 if exits.SCORES[score] else -1
    values = sign * table.scores[score]
    found: list[float | None] = [None] * values.shape[1]

    def rule(exit: int, gain: np.ndarray) -> np.ndarray:
        order = np.argsort(-values[:, exit], kind="stable")
        ranked = values[order, exit]
        total = np.cumsum(gain[order])
        # Equal scores stop together: only their last one may be the threshold.
        total[:-1][ranked[:-1] == ranked[1:]] = -np.inf
        best = int(total.argmax())
        if total[best] <= 0:
            return np.zeros(len(gain), bool)
        found[exit] = float(sign * ranked[best])
        return values[:, exit] >= ranked[best]

    _backwards(table, price, rule)
    return exits.Threshold(score, tuple(found))


def _learned(table: Table, price: float) -> exits.Policy:
    count = table.word_errors.shape[1]
    weights = [(0.0,) * len(exits.FEATURES)] * (count - 1)
    bias = [0.0] * (count - 1)

    def rule(exit: int, gain: np.ndarray) -> np.ndarray:
        features = [table.scores[name][:, exit] for name in exits.FEATURES]
        x = np.stack(features, axis=-1)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0)
        found = _logistic((x - mean) / scale, gain)
        row = found[:-1] / scale
        # Six digits keep the file small; the decisions that follow are those of the rounded ones.
        weights[exit] = tuple(float(f"{value:.6g}") for value in row)
        bias[exit] = float(f"{found[-1] - row @ mean:.6g}")
        return log_odds(weights[exit], bias[exit], features) >= 0

    _backwards(table, price, rule)
    return exits.Learned(tuple(weights), tuple(bias))


def _worth(table: Table, price: float, scores: Sequence[str], length: str | None) -> exits.Policy:
    """Fitted value iteration: at each exit a regression to what stopping there would have saved."""
    count = table.word_errors.shape[1]
    measured = [table.scores[name] for name in scores]
    weights: list[tuple[float, ...]] = [()] * (count - 1)
    bias = [0.0] * (count - 1)

    def rule(exit: int, gain: np.ndarray) -> np.ndarray:
        features = worth_features(
            [score[:, exit] for score in measured],
            [score[:, exit - 1] for score in measured] if exit else None,
            None if length is None else table.scores[length][:, exit])
        by_second = np.divide(gain, table.seconds, out=np.zeros(len(gain)),
                              where=table.seconds > 0)
        row, constant = _ridge(np.stack(features, axis=-1), by_second, table.seconds)
        weights[exit] = tuple(float(f"{value:.9g}") for value in row)
        bias[exit] = float(f"{constant:.9g}")
        return np.asarray(sum(map(mul, weights[exit], features), bias[exit]) >= 0)

    _backwards(table, price, rule)
    return exits.Worth(scores, length, weights, bias)


def _ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (D,) and bias of y (n,) on x (n, D), samples by weight (n,), penalty PRIOR."""
    weight = weight / max(weight.mean(), 1e-12)
    mean, centre = (np.average(of, axis=0, weights=weight) for of in (x, y))
    x = x - mean
    scale = np.sqrt(np.average(x * x, axis=0, weights=weight))
    scale = np.where(scale > 1e-9, scale, np.inf)
    x = x / scale
    found = np.linalg.solve((x.T * weight) @ x + PRIOR * np.eye(x.shape[1]),
                            (x.T * weight) @ (y - centre)) / scale
    return found, float(centre - found @ mean)


def _logistic(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Weights and bias that tell gain > 0 from gain < 0, each sample weighing |gain|. (D + 1,)"""
    from scipy.optimize import minimize

    x = np.column_stack([x, np.ones(len(x))])
    sign = np.where(gain > 0, 1.0, -1.0)
    weight = np.abs(gain) / max(np.abs(gain).sum(), 1e-12)

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = sign * (x @ b)
        wrong = 1 / (1 + np.exp(np.clip(z, -500, 500)))
        gradient = -(x.T @ (weight * sign * wrong))
        gradient[:-1] += 2 * RIDGE * b[:-1]
        return float(weight @ np.logaddexp(0, -z) + RIDGE * (b[:-1] @ b[:-1])), gradient

    bounds = [*_CONFIDENT, (None, None)]
    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x


def held_out_choices(
    fit: Fit, table: Table, prices: Sequence[float], fold: np.ndarray
) -> np.ndarray:
    """(len(prices), n) choices of cross-validation: each fold by the policy fitted to the others.

    fold (n,): its number. prices: in word errors a layer-second.
    """
    found = np.empty((len(prices), len(table)), int)
    for number in np.unique(fold):
        held_out = fold == number
        others, own = table.rows(~held_out), table.rows(held_out)
        for row, policy in zip(found, fit(others, prices)):
            row[held_out] = choices(policy, own)
    return found


def folds(groups: Sequence[str], count: int = 5, seed: int = 0) -> np.ndarray:
    """(n,) fold of each utterance; those of one group (a speaker) share a fold.

    Groups are dealt out by size, so that folds are about equally large.
    """
    names, index, sizes = np.unique(np.asarray(groups, object).astype(str), return_inverse=True,
                                    return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    totals = np.zeros(count, int)
    of_group = np.empty(len(names), int)
    for group in order:
        of_group[group] = totals.argmin()
        totals[of_group[group]] += sizes[group]
    return of_group[index]
