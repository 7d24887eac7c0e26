"""Greedy CTC decoding: the most probable label of every frame, repeats merged, blanks dropped."""

from __future__ import annotations

import numpy as np

from .hypothesis import Hypothesis, checked_log_probs


def greedy(log_probs: np.ndarray, blank: int = 0) -> Hypothesis:
    """The most probable single alignment.

    log_probs: (T, V) natural logs; -inf is allowed. The lower label wins a tie.
    score is the log-probability of that alignment: sum over frames of the largest log-probability.
    Raises ArgumentError for NaN, values above 0, another shape, or a blank outside 0..V-1.
    """
    log_probs = checked_log_probs(log_probs, blank)
    if not len(log_probs):
        return Hypothesis((), 0.0, ())
    labels = log_probs.argmax(axis=1)
    highest = log_probs.max(axis=1)

    tokens, frames = [], []
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(labels)]):
        if labels[start] != blank:
            tokens.append(int(labels[start]))
            frames.append(int(start + highest[start:end].argmax()))
    return Hypothesis(tuple(tokens), float(highest.sum(dtype=np.float64)), tuple(frames))
