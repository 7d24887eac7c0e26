"""Exit scores and the rules over them as firmware computes them (ee_exits.h)."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..exits.scores import Scores
from ._arrays import check
from ._lib import ensure, ffi, lib


def measure(
    log_probs: np.ndarray, blank: int = 0, before: np.ndarray | None = None
) -> tuple[Scores, np.ndarray]:
    """`ee_ref.exits.measure`. log_probs: (T, V) float32, C-contiguous; before: (T,) uint32 or None.

    Raises ArgumentError for NaN, values above 0 or a blank outside 0..V-1, ShapeError.
    """
    rows, vocab = check("log_probs", log_probs, None, None)
    labels = np.empty(rows, np.uint32)
    found = ffi.new("ee_scores *")
    if before is None:
        earlier = ffi.NULL
    else:
        earlier = ffi.from_buffer("uint32_t[]", before)
        if len(earlier) != rows or before.dtype != np.uint32:
            raise ShapeError(f"before: expected uint32 ({rows},), found {before.dtype} "
                             f"{before.shape}")
    ensure(lib.ee_exit_scores(found, ffi.from_buffer("uint32_t[]", labels), earlier,
                              ffi.from_buffer("float[]", log_probs), rows, vocab, blank))
    return Scores(found.entropy, found.entropy_normalised, found.entropy_speech, found.path,
                  found.least_confidence, found.mean_confidence, found.blank_share,
                  found.agreement, found.same, found.tokens, rows), labels


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
