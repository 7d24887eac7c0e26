"""Exit scores and the rules over them as firmware computes them (ee_exits.h)."""

from __future__ import annotations

import struct

import numpy as np

from ..decode.greedy import Alignment
from ..errors import ShapeError
from ..exits.scores import Scores
from ._arrays import check
from ._lib import ensure, ffi, lib

# The layout of ee_scores, whose members are those of Scores but for the number of frames. A policy
# is asked at every exit, and reading the members one by one takes as long as computing them.
_SCORES = struct.Struct("=8f2I")
_FLOAT32 = np.dtype(np.float32)
_SCORES_POINTER, _LABELS, _FLOATS = map(ffi.typeof, ("ee_scores *", "uint32_t[]", "float[]"))
from_buffer = ffi.from_buffer


def measure(
    log_probs: np.ndarray, blank: int = 0, before: Alignment | None = None
) -> tuple[Scores, Alignment]:
    """`ee_ref.exits.measure`. log_probs: (T, V) float32, C-contiguous.

    Raises ArgumentError for NaN, values above 0 or a blank outside 0..V-1, ShapeError.
    """
    shape = log_probs.shape
    if len(shape) != 2 or log_probs.dtype != _FLOAT32 or not log_probs.flags.c_contiguous:
        check("log_probs", log_probs, None, None)  # says what is wrong
    rows, vocab = shape
    if before is None:
        earlier = ffi.NULL
    elif before.labels.shape == (rows,):
        earlier = from_buffer(_LABELS, before.labels)
    else:
        raise ShapeError(f"before: expected labels ({rows},), found {before.labels.shape}")
    labels = np.empty(rows, np.uint32)
    found = bytearray(_SCORES.size)
    status = lib.ee_exit_scores(
        from_buffer(_SCORES_POINTER, found), from_buffer(_LABELS, labels), earlier,
        from_buffer(_FLOATS, log_probs), rows, vocab, blank)
    if status:
        ensure(status)
    return Scores._make(_SCORES.unpack(found) + (rows,)), Alignment(log_probs, labels, blank)


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
