"""Curves of all families by cross-validation, and the operating points chosen from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..evaluation import figures
from ..evaluation.run import Progress, Table
from . import fit, risk


@dataclass(frozen=True)
class Target:
    """What an operating point must keep: `wer`, points above the word error rate of the last exit,
    `cost`, a share of the layers, or `best`, the fewest errors."""

    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """"wer+0.5", "cost 0.5" or "best". Raises ArgumentError."""
        if text.strip() == "best":
            return cls("best", 1.0)
        match = re.fullmatch(r"(wer\+|cost )(\d+(?:\.\d+)?)", text.strip())
        if match is None or (match[1] == "cost " and not 0 < float(match[2]) <= 1):
            raise ArgumentError(
                "target: expected wer+POINTS, cost SHARE or best, as in wer+0.5 or cost 0.5, "
                f"found {text!r}")
        return cls(match[1].strip(" +"), float(match[2]))

    def __str__(self) -> str:
        if self.kind == "best":
            return "best"
        return f"wer+{self.value:g}" if self.kind == "wer" else f"cost {self.value:g}"


def curves(
    table: Table, fold: np.ndarray, families: Mapping[str, fit.Fit],
    progress: Progress = lambda items, total: items,
    count: int = len(fit.PRICES),
) -> dict[str, list[dict[str, Any]]]:
    """Family -> a point for each of `count` prices, of cross-validation: `price`, `wer` [%],
    `depth` (layers), `depth_share`, `cost`, `time`."""
    prices = fit.prices(table, count)
    return {
        name: [{"price": price, **in_brief(table, choice)} for price, choice in zip(
            prices, fit.held_out_choices(families[name], table, prices, fold))]
        for name in progress(families, len(families))}


def levels(
    table: Table, fold: np.ndarray, families: Mapping[str, fit.Fit],
    found: Mapping[str, Sequence[Mapping[str, Any]]], shares: Sequence[float],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Share of the layers -> family -> `figures.against_mixture` by cross-validation, at the price
    of its curve in `found` whose depth is nearest to that share."""
    rows: dict[str, dict[str, dict[str, Any]]] = {f"{share:g}": {} for share in shares}
    for name, path in found.items():
        nearest = [min(path, key=lambda point: abs(point["depth_share"] - share))["price"]
                   for share in shares]
        choices = fit.held_out_choices(families[name], table, nearest, fold)
        for row, choice in zip(rows.values(), choices):
            row[name] = figures.against_mixture(table, choice)
    return rows


def in_brief(table: Table, choice: np.ndarray) -> dict[str, float]:
    """What `choose` compares of a choice of exits: `wer` [%], `depth`, `depth_share`; and `cost`,
    `time`."""
    whole = figures.figures(table, choice, draws=2)
    return {"wer": whole["wer"][0],
            **{name: whole[name] for name in ("depth", "depth_share", "cost", "time")}}


def choose(
    target: Target, found: dict[str, list[dict[str, Any]]], full_wer: float, word: float
) -> tuple[str, float, dict[str, Any]] | None:
    """(family, price, its cross-validated figures) that keeps the target best, or None.

    For `wer`: the shallowest of those whose word error rate is at most full_wer + value. For `cost`
    and `best`: among those that use at most that share of the layers, the one with the fewest
    errors. If others come within one word of it (`word` is the rate of one word), the deepest of
    them is taken, because the set cannot tell them apart and unfamiliar speech does better with
    more depth. Among equals the family named first wins.
    """
    points = [(name, point) for name, path in found.items() for point in path]
    if target.kind == "wer":
        kept = [item for item in points if item[1]["wer"] <= full_wer + target.value + 1e-9]
        kept.sort(key=lambda item: (item[1]["depth"], item[1]["wer"]))
    else:
        kept = [item for item in points if item[1]["depth_share"] <= target.value + 1e-9]
        fewest = min((point["wer"] for _, point in kept), default=0.0)
        kept = [item for item in kept if item[1]["wer"] <= fewest + word + 1e-9]
        kept.sort(key=lambda item: (-item[1]["depth"], item[1]["wer"]))
    if not kept:
        return None
    name, point = kept[0]
    return name, point["price"], point


def point(
    table: Table, target: Target, families: Mapping[str, fit.Fit],
    found: dict[str, list[dict[str, Any]]], full_wer: float,
) -> dict[str, Any]:
    """An operating point: `policy` as plain data, fitted to the whole table, and its `figures`.

    found: the curves of the families that it may come from. It is the full depth where nothing else
    keeps the word error rate. Raises ArgumentError when nothing keeps a share of the layers.
    """
    chosen = choose(target, found, full_wer, 100 / max(1, table.words.sum()))
    if chosen is not None:
        name, price, brief = chosen
        [policy] = families[name](table, [price])
    elif target.kind == "wer":
        count = table.word_errors.shape[1]
        name, policy = "fixed", exits.Fixed(count)
        brief = in_brief(table, np.full(len(table), count - 1))
    else:
        least = min(point["depth_share"] for path in found.values() for point in path)
        raise ArgumentError(f"target {target}: nothing keeps it; the least depth is "
                            f"{least:.3f} of the layers")
    return {"policy": exits.to_plain(policy), "family": name, "target": str(target),
            "wer": _round(brief["wer"]), "full_wer": _round(full_wer),
            "depth": _round(brief["depth"]), "utterances": len(table)}


def require_bound(target: Target) -> None:
    """Raise ArgumentError for a target that `guaranteed_point` cannot prove."""
    if target.kind != "wer" or not target.value > 0:
        raise ArgumentError(f"target {target}: expected wer+POINTS above 0 for a guarantee")


def guaranteed_point(
    table: Table, target: Target, groups: Sequence[str], confidence: float,
    families: Mapping[str, fit.Fit], seed: int = 0,
) -> dict[str, Any]:
    """An operating point whose added error is proved: `risk` on half the set, fitted to the other.

    Of every family a path of policies is fitted to one half of the groups, cheapest last; on the
    other half the longest proved piece of each is found, at level (1 - confidence) / families, so
    that the choice among families is paid for. The cheapest policy proved is taken; full depth when
    there is none. target: of kind `wer`, its value the bound, in points, on the mean of the loss of
    risk.py.
    Raises ArgumentError for another kind, or a set that is too small.
    """
    require_bound(target)
    half = fit.folds(groups, 2, seed) == 0
    fitted, proving = table.rows(half), table.rows(~half)
    alpha, delta = target.value / 100, (1 - confidence) / len(families)
    best: tuple[float, str, exits.AnyPolicy] = (
        1.0, "fixed", exits.Fixed(table.word_errors.shape[1]))
    for name, family in families.items():
        path = family(fitted, fit.prices(fitted))
        chosen = [fit.choices(policy, proving) for policy in path]
        losses = [risk.added_loss(proving.word_errors, proving.words, choice)
                  for choice in chosen]
        count = risk.proved(losses, alpha, delta)
        for policy, choice in zip(path[:count], chosen[:count]):
            share = in_brief(proving, choice)["depth_share"]
            if share < best[0]:
                best = (share, name, policy)
    share, name, policy = best
    choice = fit.choices(policy, proving)
    return {"policy": exits.to_plain(policy), "family": name, "target": str(target),
            **{key: _round(value) for key, value in in_brief(proving, choice).items()
               if key in ("wer", "depth")},
            "full_wer": _round(
                100 * proving.word_errors[:, -1].sum() / max(1, proving.words.sum())),
            "utterances": len(table),
            "guarantee": {"bound": target.value, "confidence": confidence,
                          "utterances": len(proving)}}


def _round(value: float) -> float:
    return round(float(value), 3)
