"""Exit scores as firmware computes them (ee_exits.h)."""

from __future__ import annotations

import struct

import numpy as np

from ..decode import Alignment
from ..errors import ShapeError
from ..exits.scores import Scores
from ._arrays import check
from ._lib import ensure, ffi, lib, ops

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
        from_buffer(_FLOATS, log_probs), rows, vocab, blank, ops())
    if status:
        ensure(status)
    return Scores._make(_SCORES.unpack(found) + (rows,)), Alignment(log_probs, labels, blank)
