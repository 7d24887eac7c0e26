"""Figures of a choice of exits over a `Table`: error rates with intervals, depth, cost, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .run import Table

DRAWS = 1000
SEED = 0


def figures(table: Table, choice: np.ndarray, *, draws: int = DRAWS) -> dict[str, Any]:
    """Everything that is reported of one way to choose exits.

    choice (n,): the exit of each utterance, from 0.

    wer, cer: errors by reference length, in %, with [low, high] of a 95 % percentile bootstrap over
    utterances, all None where the references hold nothing; word_errors, character_errors: their
    number, then all of them insertions. minus_full: word error rate less that of the last exit,
    from the same draws. depth: layers, weighted by audio; depth_share of all layers; cost, time:
    multiply-accumulates and CPU time of the encoder as a share of the full pass, None where that
    takes none; histogram: utterances by exit.
    """
    n, exits = table.word_errors.shape
    rows = np.arange(n)
    counts = np.stack([table.word_errors[rows, choice], table.words,
                       table.character_errors[rows, choice], table.characters,
                       table.word_errors[:, -1]]).astype(float)
    drawn = _draws(counts, draws)
    depth = _weighted(table.layers[choice], table.seconds)
    return {
        "word_errors": int(counts[0].sum()), "character_errors": int(counts[2].sum()),
        "wer": _interval(counts[0].sum(), counts[1].sum(), drawn[0], drawn[1]),
        "cer": _interval(counts[2].sum(), counts[3].sum(), drawn[2], drawn[3]),
        "minus_full": _interval((counts[0] - counts[4]).sum(), counts[1].sum(),
                                drawn[0] - drawn[4], drawn[1]),
        "depth": depth,
        "depth_share": depth / float(table.layers[-1]),
        "exit": _weighted(choice + 1, table.seconds),
        "cost": share(table.costs[rows, choice].sum(), table.costs[:, -1].sum()),
        "time": share(table.times[rows, choice].sum(), table.times[:, -1].sum()),
        "histogram": np.bincount(choice, minlength=exits).tolist(),
    }


def interval(errors: np.ndarray, lengths: np.ndarray, groups: Sequence[Any] | None = None
             ) -> list[float | None]:
    """[rate, low, high] in % of errors (n,) by lengths (n,), with a 95 % percentile bootstrap.

    groups (n,): draw whole groups (speakers) instead of utterances. None where there is nothing to
    err in.
    """
    drawn = _draws(np.stack([errors, lengths]), DRAWS, groups)
    return _interval(errors.sum(), lengths.sum(), *drawn)


def _draws(counts: np.ndarray, draws: int, groups: Sequence[Any] | None = None) -> np.ndarray:
    """Sums over bootstrap draws: (rows of counts, draws)."""
    if groups is not None:
        _, index = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)
        counts = np.stack([np.bincount(index, row) for row in counts])
    n = counts.shape[1]
    rng = np.random.default_rng(SEED)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    return counts @ weights.T


def _interval(errors: float, length: float, drawn_errors: np.ndarray, drawn_lengths: np.ndarray
              ) -> list[float | None]:
    """[rate, low, high] in %. Draws that hold nothing to err in have no rate and do not count."""
    held = drawn_lengths > 0
    if not held.any():
        return [rate(errors, length), None, None]
    low, high = np.quantile(100 * drawn_errors[held] / drawn_lengths[held], (0.025, 0.975))
    return [rate(errors, length), float(low), float(high)]


def share(part: float, whole: float) -> float | None:
    """part / whole, None where there is no whole."""
    return float(part / whole) if whole else None


def rate(errors: float, length: float) -> float | None:
    """Errors by the length of the references, in %; undefined, None, where that is 0."""
    return share(100 * errors, length)


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    total = float(weights.sum())
    return float((values * weights).sum() / total) if total else float(np.mean(values))


def oracle(table: Table) -> np.ndarray:
    """(n,) the earliest exit with no more word errors than the last: a perfect rule's choice."""
    return (table.word_errors <= table.word_errors[:, -1:]).argmax(axis=1)


def mixture(table: Table, depth: float) -> tuple[float | None, tuple[int, int, float]]:
    """Word error rate in % of fixed exits mixed at random at an average depth, at its best.

    Two exits a <= b, b with probability w, so that the layers average to `depth`; of all pairs the
    one with the fewest errors. Returns its rate, None without words, and (a, b, w). Shallower than
    exit 1 gives exit 1.
    """
    errors = table.word_errors.sum(axis=0)
    layers = table.layers
    depth = min(max(depth, layers[0]), layers[-1])
    found = []
    for a in range(len(layers)):
        for b in range(a, len(layers)):
            if layers[a] <= depth <= layers[b]:
                w = 0.0 if a == b else float((depth - layers[a]) / (layers[b] - layers[a]))
                found.append(((1 - w) * errors[a] + w * errors[b], (a, b, w)))
    fewest, pair = min(found)
    return rate(fewest, table.words.sum()), pair


def oracle_errors(table: Table, depth: float) -> np.ndarray:
    """(n,) errors of a choice that knows all errors and has the fewest at this average depth.

    It minimises errors + price * layers * seconds for each utterance, at the price that gives the
    depth; two choices of equal loss are mixed there, so errors are means. Deeper than the fewest
    errors of all need, it is those.
    """
    rows = np.arange(len(table))
    cost = table.layers * table.seconds[:, None]

    def chosen(price: float) -> tuple[np.ndarray, float]:
        choice = (table.word_errors + price * cost).argmin(axis=1)
        return table.word_errors[rows, choice].astype(float), _weighted(
            table.layers[choice], table.seconds)

    deep, deepest = chosen(0.0)
    if depth >= deepest:
        return deep
    # At the higher price no error is worth a layer of the shortest utterance.
    shortest = table.seconds[table.seconds > 0].min(initial=np.inf)
    low, high = 0.0, float(table.word_errors.max() + 1) / float(
        np.diff(table.layers).min() * shortest)
    shallow, shallowest = chosen(high)
    for _ in range(100):
        price = (low + high) / 2
        errors, found = chosen(price)
        if found > depth:
            low, deep, deepest = price, errors, found
        else:
            high, shallow, shallowest = price, errors, found
    w = (depth - shallowest) / (deepest - shallowest) if deepest > shallowest else 0.0
    return (1 - w) * shallow + w * deep


def against_mixture(table: Table, choice: np.ndarray) -> dict[str, Any]:
    """The choice against fixed exits mixed at random, at the choice's own average depth.

    relative: by how much the word error rate is lower, in %, with a 95 % interval of bootstrap
    draws of utterances, the two exits and their shares as found on all of them. Draws in which the
    mixture makes no error have nothing to be lower than, and do not count; 0 where none has any.
    oracle_wer: of `oracle_errors` at that depth; closed: which share of the way from the mixture to
    it the choice goes, in % with its interval, None where there is no way to go.
    """
    rows = np.arange(len(table))
    depth = _weighted(table.layers[choice], table.seconds)
    mixture_wer, (a, b, w) = mixture(table, depth)
    mixed = (1 - w) * table.word_errors[:, a] + w * table.word_errors[:, b]
    chosen = table.word_errors[rows, choice]
    best = oracle_errors(table, depth)
    drawn = _draws(np.stack([mixed, chosen, best]).astype(float), DRAWS)
    way = drawn[0] - drawn[2]
    closed = _interval(mixed.sum() - chosen.sum(), mixed.sum() - best.sum(), drawn[0] - drawn[1],
                       way) if mixed.sum() > best.sum() else None
    drawn = drawn[:, drawn[0] > 0]
    relative = [0.0, 0.0, 0.0]
    if drawn.size:
        low, high = np.quantile(100 * (1 - drawn[1] / drawn[0]), (0.025, 0.975))
        relative = [float(100 * (1 - chosen.sum() / mixed.sum())), float(low), float(high)]
    return {"depth": depth, "mixture_wer": mixture_wer,
            "wer": rate(chosen.sum(), table.words.sum()), "relative": relative,
            "oracle_wer": rate(best.sum(), table.words.sum()), "closed": closed}
