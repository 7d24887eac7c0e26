"""The rules over exit scores as firmware computes them (ee_exits.h)."""

from __future__ import annotations

from dataclasses import astuple

from ee_ref.exits import Confidence, PhraseScores
from ee_ref.native._lib import ensure, ffi, lib


def patience_stop(exits: int, in_a_row: int, same: bool) -> tuple[int, bool]:
    """(in_a_row, stop) of `ee_ref.exits.Patience(exits)` after an exit."""
    count, stop = ffi.new("uint32_t *", in_a_row), ffi.new("int *")
    ensure(lib.ee_patience_stop(exits, count, ffi.new("ee_scores *", {"same": same}), stop))
    return count[0], bool(stop[0])


def deadline_stop(
    limit: float, safety: float, reserve: float, elapsed: float, group: float, cost: float,
    next_cost: float, rate: float,
) -> tuple[float, bool, float]:
    """(rate, stop, missing) of ee_deadline_stop. Raises ArgumentError for what is out of range."""
    deadline = ffi.new("ee_deadline *", (limit, safety, reserve))
    slowest, stop, missing = ffi.new("float *", rate), ffi.new("int *"), ffi.new("float *")
    ensure(lib.ee_deadline_stop(
        deadline, elapsed, group, cost, next_cost, slowest, stop, missing))
    return slowest[0], bool(stop[0]), missing[0]


def phrase_judge(
    confidence: Confidence, found: list[float], letters: int
) -> tuple[PhraseScores, bool]:
    """(scores, accepted) of ee_phrase_judge. Raises ArgumentError for what is out of range."""
    scores, accepted = ffi.new("ee_phrase_scores *"), ffi.new("int *")
    best, runner_up = [*found, 0.0, 0.0][:2]
    ensure(lib.ee_phrase_judge(ffi.new("ee_phrase_confidence *", astuple(confidence)), len(found),
                               best, runner_up, letters, scores, accepted))
    return PhraseScores(scores.free, scores.margin, scores.confidence), bool(accepted[0])


def phrase_stop(free: float, margin: float, scores: PhraseScores) -> bool:
    """Whether `ee_ref.exits.Phrase(free, margin)` stops. Raises ArgumentError as above."""
    stop = ffi.new("int *")
    ensure(lib.ee_phrase_stop(ffi.new("ee_phrase_rule *", (free, margin)),
                              ffi.new("ee_phrase_scores *", scores), stop))
    return bool(stop[0])
