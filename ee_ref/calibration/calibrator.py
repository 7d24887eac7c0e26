"""A calibration from measurements to operating points, in the shape of an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ArgumentError
from ..evaluation import figures
from ..evaluation.run import Progress, Table
from . import fit, points
from .points import Target

POINTS = {"fast": "cost 0.4", "balanced": "cost 0.6", "accurate": "best"}
"""Operating points and their targets."""

CHOSEN_FROM = ("learned", "least_confidence, per exit", "agreement, per exit", "entropy, per exit",
               "entropy", "patience", "fixed")
"""Families an operating point may come from. The plot shows all families, but the best of twenty by
cross-validation would be the luckiest, and a search for the N best costs more than it saves."""

PROVED_FROM = ("learned", "least_confidence, per exit", "entropy")
"""Families tried with a confidence; each one more leaves less confidence for the others."""


class Calibrator:
    """Fits policies of every family to a table, and picks the operating points.

    targets: name -> `Target`, or its text. families: those that a point may come from, by name.
    own: more such families, name -> `fit.Fit`; `fit.cheapest` makes one of any rules:

        Calibrator(own={"patience from exit 2": fit.cheapest(
            lambda table: [Within(Patience(n), floor=2) for n in (3, 2, 1)])})

    confidence: prove the bound of `balanced`, a target wer+POINTS, with this confidence in 0..1, on
    half of the set. progress: wraps the iteration over (items, total). prices: how many prices of
    depth to try. levels: shares of the layers at which to compare families (`points.levels`).
    proved: families tried with a confidence. shown: families that have curves, and no more.
    Raises ArgumentError for a target, confidence or bound that makes no sense.

    After `fit`: curves_: family -> points of cross-validation, one a price (`points.curves`), for
    every family; points_: name -> operating point (`points.point`); report_: both, with the figures
    of fixed exits and the oracle, as plain data.
    """

    def __init__(
        self,
        targets: Mapping[str, Target | str] = POINTS,
        families: Sequence[str] = CHOSEN_FROM,
        confidence: float | None = None,
        own: Mapping[str, fit.Fit] | None = None,
        progress: Progress = lambda items, total: items,
        prices: int = len(fit.PRICES),
        levels: Sequence[float] = (),
        proved: Sequence[str] = PROVED_FROM,
        shown: Mapping[str, fit.Fit] | None = None,
    ) -> None:
        self.targets = {name: Target.parse(str(target)) for name, target in targets.items()}
        self.families, self.own = families, own or {}
        self.confidence, self.progress = confidence, progress
        self.prices, self.levels = prices, levels
        self.proved, self.shown = proved, shown or {}
        if confidence is not None:
            if not 0 < confidence < 1:
                raise ArgumentError(f"confidence: expected between 0 and 1, found {confidence}")
            points.require_bound(self.targets["balanced"])

    def fit(self, table: Table, groups: Sequence[str]) -> Calibrator:
        """groups: of each utterance, such as its speaker; a group stays in one fold.

        Raises ArgumentError for a set without words or with fewer than 5 groups, a target that
        nothing keeps, or a set too small to prove a bound.
        """
        if not table.words.sum():
            raise ArgumentError("calibration set: expected words in the transcripts, found none "
                                f"in {len(table)}")
        fold = fit.folds(groups)
        if len(np.unique(fold)) < 5:
            raise ArgumentError(f"calibration set too small: expected 5 groups or more, "
                                f"found {len(set(groups))}")
        families = {**fit.families(table), **self.own, **self.shown}
        proved_from = () if self.confidence is None else self.proved
        for name in (*self.families, *proved_from):
            if name not in families:
                raise ArgumentError(f"family: expected one of {sorted(families)}, found {name!r}")
        self.curves_ = points.curves(table, fold, families, self.progress, self.prices)
        exits = [figures.figures(table, np.full(len(table), exit))
                 for exit in range(table.word_errors.shape[1])]
        chosen_from = {name: self.curves_[name] for name in (*self.families, *self.own)}
        self.points_ = {
            name: points.guaranteed_point(table, target, groups, self.confidence,
                                          {name: families[name] for name in proved_from})
            if self.confidence is not None and name == "balanced"
            else points.point(table, target, families, chosen_from, exits[-1]["wer"][0])
            for name, target in self.targets.items()}
        self.report_ = {
            "utterances": len(table), "words": int(table.words.sum()),
            "seconds": float(table.seconds.sum()), "layers": table.layers.tolist(),
            "exits": exits, "oracle": figures.figures(table, figures.oracle(table)),
            "curves": self.curves_, "points": self.points_,
            "levels": points.levels(table, fold, families, self.curves_, self.levels)}
        return self
