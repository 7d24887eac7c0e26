"""When to stop: scores of an exit, and policies that act on them (docs/decoding.md).

A policy is any callable `(out) -> (stop, score)`, with `out.exit` the number of the exit, from 1,
and `out.log_probs` its log-probabilities (frames, vocab). `Model.transcribe` asks it after each
exit and decodes the first one where it says stop, or the last. Writing one takes a few lines:

    class Confident:
        def __call__(self, out):
            score = float(np.exp(out.log_probs.max(axis=1)).min(initial=1.0))
            return score > 0.9, score
        def margin(self, score):
            return score - 0.9
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np

from . import decode
from .decode.hypothesis import check_count
from .errors import ArgumentError
from .ops._exact import ZERO, exp, row_sum

# Log-probabilities up to here count as those of 0.
_LOG_OF_ZERO = np.float32(-87)


class ExitLike(Protocol):
    """What a policy sees of an exit: ee_ref.encoder.ExitOutput, or anything alike."""

    exit: int
    log_probs: np.ndarray


class Policy(Protocol):
    """A rule that picks the exit of an utterance."""

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        """(whether to stop at this exit, the score that says so)."""
        ...

    def margin(self, score: float) -> float:
        """How far `score` lies on the stopping side of the threshold: stop means margin >= 0.

        In the score's own unit. Near zero, rounding could have turned the decision.
        """
        ...


def frame_entropy(log_probs: np.ndarray) -> float:
    """Entropy of the labels, averaged over frames and divided by their number: smaller is surer.

    E = -1 / (T V) * sum over frames t and labels v of p[t, v] log p[t, v]       (paper, section 2)

    log_probs: (T, V) natural logs, taken as float32; 0 log 0 counts as 0, and T = 0 gives 0.0. E is
    in [0, log(V) / V], a float32 number. The order and rounding of every operation are those of
    docs/numerics.md: the same log-probabilities give the same E on every platform. The released
    code of the paper leaves out the minus sign: its scores are -E.
    Raises ArgumentError for NaN, +inf or another shape.
    """
    log_probs = np.asarray(log_probs, np.float32)
    if log_probs.ndim != 2:
        raise ArgumentError(f"expected log-probabilities (T, V), found shape {log_probs.shape}")
    if not log_probs.size:
        return 0.0
    frames, labels = map(np.float32, log_probs.shape)
    logs = np.where(log_probs > _LOG_OF_ZERO, log_probs, ZERO)
    entropy = float((ZERO - row_sum(row_sum(exp(logs) * logs))) / (frames * labels))
    if not math.isfinite(entropy) or np.isnan(log_probs).any():
        raise ArgumentError(f"expected log-probabilities, found {log_probs.max()} among them")
    return max(0.0, entropy)


def sentence_posterior(scores: Sequence[float]) -> float:
    """Share of the best of N hypotheses in their total probability: larger is surer.

    P = max over n of exp(score[n]) / sum over m of exp(score[m])                (paper, section 2)

    scores: (N,) natural-log scores of the N best hypotheses, N >= 1; -inf is allowed. P is in
    [1 / N, 1], and 0.0 when no hypothesis has a probability. Raises ArgumentError for no scores,
    NaN or +inf.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size or not scores.max() < math.inf:
        raise ArgumentError(f"expected one or more log scores, none NaN or +inf, found {scores}")
    best = scores.max()
    if best == -math.inf:
        return 0.0
    return float(1.0 / np.exp(scores - best).sum())


@dataclass(frozen=True)
class Fixed:
    """Stop at exit n, 1-based. score = the exit's number, margin = score - n."""

    n: int

    def __post_init__(self):
        check_count("exit", self.n, 1)

    @property
    def exit(self) -> int:
        """The exit it stops at."""
        return self.n

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        return out.exit >= self.n, float(out.exit)

    def margin(self, score: float) -> float:
        return score - self.n


@dataclass(frozen=True)
class Entropy:
    """Stop when `frame_entropy` <= threshold, a finite number >= 0. margin = threshold - score.

    It is compared as the nearest float32, which the score is too: C compares the same two numbers.
    """

    threshold: float

    def __post_init__(self):
        _check_threshold(self.threshold, math.inf)

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        score = frame_entropy(out.log_probs)
        return self.margin(score) >= 0, score

    def margin(self, score: float) -> float:
        return float(np.float32(self.threshold)) - score


@dataclass(frozen=True)
class Posterior:
    """Stop when `sentence_posterior` of the n_best hypotheses >= threshold, in [0, 1].

    margin = score - threshold. The hypotheses come from a prefix beam search (`decode.beam_search`,
    10 wide, or n_best if that is more) at every exit visited, which costs time of its own.
    blank: the CTC blank of the model.
    """

    threshold: float
    n_best: int = 10
    blank: int = 0

    def __post_init__(self):
        _check_threshold(self.threshold, 1.0)
        check_count("n_best", self.n_best, 1)
        check_count("blank", self.blank, 0)

    def __call__(self, out: ExitLike) -> tuple[bool, float]:
        hypotheses = decode.beam_search(
            out.log_probs, beam_width=max(10, self.n_best), n_best=self.n_best, blank=self.blank
        )
        score = sentence_posterior([hypothesis.score for hypothesis in hypotheses])
        return score >= self.threshold, score

    def margin(self, score: float) -> float:
        return score - self.threshold


def _check_threshold(threshold: object, high: float) -> None:
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if not is_number or not math.isfinite(threshold) or not 0 <= threshold <= high:
        expected = "a finite number >= 0" if high == math.inf else f"a number in [0, {high:g}]"
        raise ArgumentError(f"threshold: expected {expected}, found {threshold!r}")
