"""Greedy CTC decoding: the most probable label of every frame, repeats merged, blanks dropped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .hypothesis import Hypothesis, checked_log_probs, token_confidences


def greedy(log_probs: np.ndarray, blank: int = 0) -> Hypothesis:
    """The most probable single alignment.

    log_probs: (T, V) natural logs; -inf is allowed. The lower label wins a tie.
    score is the log-probability of that alignment: sum over frames of the largest log-probability.
    Raises ArgumentError for NaN, values above 0, another shape, or a blank outside 0..V-1.
    """
    return align(log_probs, blank).best


def align(log_probs: np.ndarray, blank: int = 0) -> Alignment:
    """The same alignment, with what `exits.measure` asks of it. Raises as `greedy` does."""
    log_probs = checked_log_probs(log_probs, blank)
    return Alignment(log_probs, log_probs.argmax(axis=1).astype(np.uint32), blank)


@dataclass(eq=False)
class Alignment:
    """The best label of every frame, and what follows from it.

    log_probs: (T, V). labels: (T,) uint32, of equal labels the lowest. blank: the CTC blank.
    """

    log_probs: np.ndarray
    labels: np.ndarray
    blank: int

    @cached_property
    def highest(self) -> np.ndarray:
        """(T,) log-probability of the label of every frame."""
        return self.log_probs[np.arange(len(self.labels)), self.labels]

    @cached_property
    def best(self) -> Hypothesis:
        """The tokens, and the frame of each one's run where it is most probable."""
        tokens: list[int] = []
        frames: list[int] = []
        labels, highest = self.labels.tolist(), self.highest.tolist()
        peak = 0.0
        for frame in np.flatnonzero(self.labels != self.blank).tolist():
            label, value = labels[frame], highest[frame]
            if not frame or label != labels[frame - 1]:
                tokens.append(label)
                frames.append(frame)
                peak = value
            elif value > peak:
                frames[-1] = frame
                peak = value
        score = float(self.highest.sum(dtype=np.float64))
        return Hypothesis(tuple(tokens), score, tuple(frames))

    @cached_property
    def confidences(self) -> tuple[float, ...]:
        """`token_confidences` of `best`."""
        return token_confidences(self.log_probs, self.best)
