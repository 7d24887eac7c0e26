"""Scores of an exit: how confident it is, from its log-probabilities alone.

`measure` gives all that one greedy pass yields, in float32 operations that C repeats to the byte
(kernels/include/ee_exits.h, docs/numerics.md); only the sentence posterior needs a beam search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import decode
from ..decode.greedy import Alignment, align
from ..errors import ArgumentError
from ..ops._exact import ONE, ZERO, exp, log, row_sum
from .attention import ATTENTION_SCORES

# Log-probabilities up to here count as those of 0.
_LOG_OF_ZERO = np.float32(-87)
_LEAST_ENTROPY = 2.0**-100


class Scores(NamedTuple):
    """What one greedy pass says of an exit; float32 numbers, but for the counts.

    T frames, V labels, p = exp(log_probs); a frame is speech when its best label is not the blank.

    entropy: `frame_entropy`, the paper's: mean over frames of the entropy, divided by V.
    entropy_normalised: mean over frames of the entropy, divided by log V: in [0, 1] for every V
    (Shannon's efficiency).
    entropy_speech: the same over speech frames alone, 0 without any: blanks are confident and
    frequent, and hide the frames that matter (Laptev and Ginsburg, arXiv:2212.08703, leave them out
    likewise).
    path: exp of the mean over frames of log max p: the greedy alignment's probability, per frame.
    least_confidence, mean_confidence: of the tokens' probabilities at their emission frames, 1
    without tokens (docs/decoding.md).
    blank_share: frames whose best label is the blank.
    agreement: frames whose best label is the same as at the exit before; 0 at the first exit.
    same: 1 when the tokens are those of the exit before (patience: Zhou et al., arXiv:2006.04152;
    for speech Berrebbi et al., arXiv:2211.08989), else 0; 0 at the first exit.
    tokens: their number. frames: T.
    """

    entropy: float
    entropy_normalised: float
    entropy_speech: float
    path: float
    least_confidence: float
    mean_confidence: float
    blank_share: float
    agreement: float
    same: int
    tokens: int
    frames: int


def frame_entropy(log_probs: np.ndarray) -> float:
    """Entropy of the labels, averaged over frames, by their number: smaller is more confident.

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
    entropy = float((ZERO - row_sum(_row_sums(log_probs))) / (frames * labels))
    if not math.isfinite(entropy) or np.isnan(log_probs).any():
        raise ArgumentError(f"expected log-probabilities, found {log_probs.max()} among them")
    return _clipped(entropy)


def _row_sums(log_probs: np.ndarray) -> np.ndarray:
    """SUM over labels of p log p. (T, V) -> (T,)"""
    logs = np.where(log_probs > _LOG_OF_ZERO, log_probs, ZERO)
    return row_sum(exp(logs) * logs)


def sentence_posterior(scores: Sequence[float]) -> float:
    """Share of the best of N hypotheses in their total probability: larger is more confident.

    P = max over n of exp(score[n]) / sum over m of exp(score[m])                (paper, section 2)

    scores: (N,) natural-log scores of the N best hypotheses, N >= 1; -inf is allowed. P is in
    [1 / N, 1], and 0.0 when no hypothesis has a probability. Raises ArgumentError for no scores,
    NaN or +inf.
    """
    logs = np.asarray(scores, np.float64)
    if logs.ndim != 1 or not logs.size or not logs.max() < math.inf:
        raise ArgumentError(f"expected one or more log scores, none NaN or +inf, found {logs}")
    best = logs.max()
    if best == -math.inf:
        return 0.0
    return float(1.0 / np.exp(logs - best).sum())


def n_best_posterior(
    log_probs: np.ndarray, n_best: int = 10, blank: int = 0
) -> tuple[float, float]:
    """`sentence_posterior` of a prefix beam search, and the same normalised by length.

    log_probs: (T, V). The second is P ** (1 / tokens) with the tokens of the best hypothesis, at
    least 1: a long sentence has more rivals that differ in one token, and P falls with length
    whatever the quality. The search is 10 wide, or n_best if that is more.
    Raises ArgumentError as `decode.beam_search` does.
    """
    hypotheses = decode.beam_search(
        log_probs, beam_width=max(10, n_best), n_best=n_best, blank=blank)
    posterior = sentence_posterior([hypothesis.score for hypothesis in hypotheses])
    return posterior, posterior ** (1 / max(1, len(hypotheses[0].tokens)))


def measure(
    log_probs: np.ndarray, blank: int = 0, before: Alignment | None = None
) -> tuple[Scores, Alignment]:
    """The `Scores` of an exit, and the greedy alignment that they are of.

    log_probs: (T, V) float32; of equal labels the lowest is best. before: the alignment of the exit
    before, None at the first. `ee_ref.native._exits.measure` gives the same bytes.
    Raises ArgumentError for NaN, values above 0, another shape or a blank outside 0..V-1.
    """
    found = align(np.asarray(log_probs, np.float32), blank)
    frames, vocab = found.log_probs.shape
    if vocab < 2:
        raise ArgumentError(f"expected log-probabilities of 2 labels or more, found {vocab}")
    agreement, same = 0.0, 0
    if before is not None:
        if before.labels.shape != (frames,):
            raise ArgumentError(
                f"before: expected labels ({frames},), found {before.labels.shape}")
        equal = np.float32((found.labels == before.labels).sum())
        agreement = float(equal / np.float32(frames)) if frames else 1.0
        same = int(before.best.tokens == found.best.tokens)
    if not frames:
        return Scores(0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, agreement, same, 0, 0), found
    speech = found.labels != blank
    of_frames, of_speech = np.float32(frames), np.float32(speech.sum())
    row_sums = _row_sums(found.log_probs)
    total = ZERO - row_sum(row_sums)
    spoken = ZERO - row_sum(np.where(speech, row_sums, ZERO))
    log_vocab = log(np.asarray(vocab, np.float32))
    confidences = np.array(found.confidences, np.float32)
    tokens = len(confidences)
    scores = Scores(
        entropy=_clipped(total / (of_frames * np.float32(vocab))),
        entropy_normalised=_clipped(total / (of_frames * log_vocab)),
        entropy_speech=_clipped(spoken / (of_speech * log_vocab)) if speech.any() else 0.0,
        path=float(np.minimum(exp(row_sum(found.highest) / of_frames), ONE)),
        least_confidence=min(found.confidences, default=1.0),
        mean_confidence=float(row_sum(confidences) / np.float32(tokens)) if tokens else 1.0,
        blank_share=float((of_frames - of_speech) / of_frames),
        agreement=agreement,
        same=same,
        tokens=tokens,
        frames=frames,
    )
    return scores, found


def _clipped(entropy: Any) -> float:
    """0 where it is negative by rounding, or so small that its quotient may be subnormal."""
    return float(entropy) if entropy >= _LEAST_ENTROPY else 0.0


POSTERIORS = ("posterior", "posterior_per_token")
"""Scores that search for the N best at every exit visited: the two of `n_best_posterior`."""

SCORES = {
    "entropy": False, "entropy_normalised": False, "entropy_speech": False, "path": True,
    "least_confidence": True, "mean_confidence": True, "blank_share": True, "agreement": True,
    **dict.fromkeys(POSTERIORS, True), **ATTENTION_SCORES,
}
"""The scores that `Threshold` goes by: name -> whether a larger one is more confident."""

FEATURES = ("entropy_normalised", "entropy_speech", "path", "least_confidence", "mean_confidence",
            "agreement", "same")
"""What `Learned` weighs: `Scores` of those names."""
