"""Policies fitted to a `Table`, for one price of depth after another.

All families minimise the same thing over the calibration set,

    word errors + price * layers * seconds of audio,

so that a path of prices draws the curve of each family, from full depth to exit 1. Where a family
has a rule an exit, the exits are fitted from the last but one to the first: at each exit the
utterances that gain by stopping there, against what the deeper rules do with them, are told from
those that lose (dynamic programming over exits, with a classifier for the unknown value of going
on). Nothing here looks at more than scores, errors, layers and seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..evaluation.run import Table

GRID = 200
"""Thresholds tried for a score, at its quantiles."""

RIDGE = 1e-3
"""Penalty on squared weights of `learned`, features standardised, samples weighing 1 in all."""

PRICES = np.geomspace(0.01, 3, 41)
"""Prices of a layer-second, in units of all words over all layer-seconds of the set."""

_CONFIDENT = [(None, 0.0) if name.startswith("entropy") else (0.0, None) for name in exits.FEATURES]
"""Bounds of the weights of `learned`: more confidence, by any score, is never a reason to go on.
Unbounded weights fit the calibration set better, but may call speech of another kind confident."""

Fit = Callable[[Table, float], exits.Policy]


def prices(table: Table) -> np.ndarray:
    """PRICES in word errors a layer-second."""
    return PRICES * max(1, table.words.sum()) / max(1e-9, _cost(table)[:, -1].sum())


def choices(policy: exits.Policy, table: Table) -> np.ndarray:
    """(n,) exits, from 0, that a policy of this package chooses by the scores in the table.

    Raises ArgumentError for one that needs something else: a clock, or a score not measured.
    """
    n, count = table.word_errors.shape
    stop = np.zeros((n, count), bool)
    if isinstance(policy, exits.Fixed):
        stop[:, policy.n - 1 :] = True
    elif isinstance(policy, exits.Entropy):
        return choices(exits.Threshold("entropy", float(np.float32(policy.threshold))), table)
    elif isinstance(policy, exits.Threshold) and policy.score in table.scores:
        several = isinstance(policy.threshold, tuple)
        limits = list(policy.threshold) if several else [policy.threshold] * count
        for exit, limit in enumerate(limits[:count]):
            if limit is not None:
                score = table.scores[policy.score][:, exit]
                stop[:, exit] = score >= limit if _larger(policy.score) else score <= limit
    elif isinstance(policy, exits.Patience):
        same = table.features[:, :, exits.FEATURES.index("same")] > 0
        in_a_row = np.zeros(n, int)
        for exit in range(count):
            in_a_row = np.where(same[:, exit], in_a_row + 1, 0)
            stop[:, exit] = in_a_row >= policy.exits
    elif isinstance(policy, exits.Learned):
        for exit, (row, bias) in enumerate(zip(policy.weights[:count], policy.bias)):
            stop[:, exit] = table.features[:, exit] @ np.array(row) + bias >= policy.threshold
    else:
        raise ArgumentError(f"policy: expected one that goes by the scores measured, "
                            f"found {policy!r}")
    stop[:, -1] = True
    return stop.argmax(axis=1)


def families(table: Table) -> dict[str, Fit]:
    """Name -> fit, for every kind of policy that the scores in the table allow."""
    found: dict[str, Fit] = {"fixed": _fixed, "patience": _patience}
    for score in table.scores:
        found[score] = _one_threshold(score)
        found[f"{score}, per exit"] = _threshold_per_exit(score)
    found["learned"] = _learned
    return found


def _larger(score: str) -> bool:
    return exits.SCORES[score].larger


def _cost(table: Table) -> np.ndarray:
    """(n, K) layer-seconds up to each exit."""
    return table.layers[None, :] * table.seconds[:, None]


def _loss(table: Table, price: float) -> np.ndarray:
    """(n, K) what is minimised."""
    return table.word_errors + price * _cost(table)


def _best(name: str, policies: Callable[[], Sequence[exits.Policy]], table: Table, price: float
          ) -> exits.Policy:
    """The policy with the least loss, the first of equals.

    The cost and the errors of each policy do not depend on the price, so they are computed once and
    kept in the table's cache under `name`.
    """
    if name not in table.cache:
        found = policies()
        rows, cost = np.arange(len(table)), _cost(table)
        chosen = [choices(policy, table) for policy in found]
        table.cache[name] = (
            found, np.array([table.word_errors[rows, choice].sum() for choice in chosen]),
            np.array([cost[rows, choice].sum() for choice in chosen]))
    found, errors, costs = table.cache[name]
    return found[int((errors + price * costs).argmin())]


def _fixed(table: Table, price: float) -> exits.Policy:
    count = table.word_errors.shape[1]
    return _best("fixed", lambda: [exits.Fixed(n) for n in range(count, 0, -1)], table, price)


def _patience(table: Table, price: float) -> exits.Policy:
    count = table.word_errors.shape[1]
    return _best("patience", lambda: [exits.Patience(n) for n in range(count, 0, -1)], table, price)


def _one_threshold(score: str) -> Fit:
    def thresholds(table: Table) -> list[exits.Policy]:
        values = np.unique(np.quantile(
            table.scores[score], np.linspace(0, 1, GRID), method="nearest"))
        return [exits.Threshold(score, float(value)) for value in values]

    def fit(table: Table, price: float) -> exits.Policy:
        return _best(score, lambda: thresholds(table), table, price)

    return fit


def _backwards(table: Table, price: float, rule: Callable[[int, np.ndarray], np.ndarray]) -> None:
    """Call rule(exit, gain) from the last exit but one to the first; it returns who stops there.

    gain (n,): loss saved by stopping at this exit instead of going on with the rules fitted so far.
    """
    loss = _loss(table, price)
    onward = loss[:, -1]
    for exit in range(loss.shape[1] - 2, -1, -1):
        stops = rule(exit, onward - loss[:, exit])
        onward = np.where(stops, loss[:, exit], onward)


def _threshold_per_exit(score: str) -> Fit:
    sign = 1 if _larger(score) else -1

    def fit(table: Table, price: float) -> exits.Policy:
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

    return fit


def _learned(table: Table, price: float) -> exits.Policy:
    count = table.word_errors.shape[1]
    weights = [(0.0,) * len(exits.FEATURES)] * (count - 1)
    bias = [0.0] * (count - 1)

    def rule(exit: int, gain: np.ndarray) -> np.ndarray:
        x = table.features[:, exit]
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0)
        found = _logistic((x - mean) / scale, gain)
        row = found[:-1] / scale
        # Six digits keep the file small; the decisions that follow are those of the rounded ones.
        weights[exit] = tuple(float(f"{value:.6g}") for value in row)
        bias[exit] = float(f"{found[-1] - row @ mean:.6g}")
        return x @ np.array(weights[exit]) + bias[exit] >= 0

    _backwards(table, price, rule)
    return exits.Learned(tuple(weights), tuple(bias))


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
        for row, price in zip(found, prices):
            row[held_out] = choices(fit(others, price), own)
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
