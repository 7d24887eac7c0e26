"""The rules over exit scores as firmware computes them (ee_exits.h)."""

from __future__ import annotations

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
