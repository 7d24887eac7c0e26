"""Fit what judges phrases: the weights of confidence, and the rule `exits.Phrase`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..evaluation.phrases import Outcomes
from ..evaluation.run import Table
from ..exits.phrase import PHRASE_SCORES, phrase_confidence
from . import fit, points

_LEAST_FREE = -30.0
"""Worse fits are all equally far from any phrase; -inf, where no phrase fits, is one of them."""
_RIDGE = 1e-4


def fit_confidence(table: Table, outcomes: Outcomes) -> exits.Confidence:
    """Weights with which the confidence is the probability that the best phrase is right and not
    that of speech that says none, where these are equally frequent; all exits count alike. Phrases
    taken for others do not count: to reject them as well would cost more right ones.

    The threshold is where as many right phrases are rejected, of the recordings that say one, as
    others are accepted, of the recordings that say none (equal error rate).
    Raises ArgumentError unless there are recordings of both kinds.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    said, right = outcomes.said, outcomes.right
    for those, kind in ((right.any(axis=1), "say a phrase that is found"), (~said, "say none")):
        if not those.any():
            raise ArgumentError(f"calibration set: expected recordings that {kind}, found none of "
                                f"{len(table)}")
    free, margin = (table.scores[name] for name in PHRASE_SCORES)
    counts = right | ~said[:, None]
    x = np.stack([np.maximum(free, _LEAST_FREE)[counts], margin[counts],
                  np.ones(counts.sum())], axis=1)
    sign = np.where(right[counts], 1.0, -1.0)
    weight = 0.5 / np.where(sign > 0, (sign > 0).sum(), (sign < 0).sum())

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = sign * (x @ b)
        penalty = _RIDGE * np.array([b[0], b[1], 0.0])
        return (float(weight @ np.logaddexp(0, -z) + penalty @ b),
                2 * penalty - x.T @ (weight * sign * expit(-z)))

    found = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B",
                     bounds=[(0, None), (0, None), (None, None)]).x
    of_free, of_margin, bias = (float(f"{value:.4g}") for value in found)
    fitted = exits.Confidence(bias, of_free, of_margin, 0.5)
    return replace(fitted, threshold=_equal_error(confidences(table, fitted), outcomes))


def confidences(table: Table, by: exits.Confidence) -> np.ndarray:
    """(n, K) `PhraseScores.confidence`."""
    free, margin = (table.scores[name].astype(np.float32) for name in PHRASE_SCORES)
    fits = free > -np.inf
    return np.where(fits, phrase_confidence(np.where(fits, free, 0), margin, by), 0)


def _equal_error(confidence: np.ndarray, outcomes: Outcomes) -> float:
    """The threshold, of four digits, at which the larger of the two error rates is least."""
    said = outcomes.said
    wanted = np.sort(confidence[outcomes.right & said[:, None]])
    others = np.sort(confidence[~said].ravel())
    values = np.unique(np.concatenate([[0, 1], wanted, others]))
    candidates = np.unique(np.round((values[1:] + values[:-1]) / 2, 4))
    rejected = np.searchsorted(wanted, candidates) / (said.sum() * confidence.shape[1])
    accepted = 1 - np.searchsorted(others, candidates) / len(others)
    return float(candidates[np.maximum(rejected, accepted).argmin()])


def accepted(table: Table, by: exits.Confidence) -> np.ndarray:
    """(n, K) whether the best phrase is accepted."""
    return confidences(table, by) >= np.float32(by.threshold)


def phrase_table(table: Table, outcomes: Outcomes) -> Table:
    """The recordings that say a phrase, as a table in which an error is a phrase not understood:
    another one found, or the right one rejected. Every recording counts as one word."""
    wrong = (~(outcomes.right & outcomes.accepted)).astype(np.int64)
    ones = np.ones(len(table), np.int64)
    return replace(table, word_errors=wrong, words=ones, character_errors=wrong, characters=ones
                   ).rows(outcomes.said)


def phrase_point(table: Table, target: points.Target) -> dict[str, Any]:
    """The operating point `phrases`: the rule that keeps a target best, on the whole of a table.

    Unlike `points.point` it does not go along a path of prices, whose rules are as daring as they
    can be without an error in this very table: of rules that are as good, but for one error, the
    deepest within the target is taken. Raises ArgumentError when no rule keeps the target.
    """
    rules = fit.phrase_rules(table)
    found = [{"price": number, **points.in_brief(table, fit.choices(rule, table))}
             for number, rule in enumerate(rules)]
    full_wer = float(100 * table.word_errors[:, -1].mean())
    chosen = points.choose(target, {"phrase": found}, full_wer, 100 / len(table))
    if chosen is None:
        raise ArgumentError(f"target {target}: expected one that thresholds for phrases can keep")
    name, number, figures = chosen
    return {"policy": exits.to_plain(rules[int(number)]), "family": name, "target": str(target),
            "wer": round(figures["wer"], 3), "full_wer": round(full_wer, 3),
            "depth": round(figures["depth"], 3), "utterances": len(table)}
