"""What a decoder returns, and what every decoder checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..checks import check_count
from ..errors import ArgumentError
from ..ops._exact import ONE, exp

# Rounding may lift a log-probability above zero by about this much; logits are far beyond it.
_ROUNDING = 1e-3


class Parts(NamedTuple):
    """What the score of a `WordDecoder` is the sum of, in nats; its docstring has the terms."""

    acoustic: float
    language_model: float
    words: float
    hotwords: float


class Hypothesis(NamedTuple):
    """A decoded token sequence.

    tokens: token ids, blanks and repeats removed.
    score: natural log of its probability: of the best alignment alone from `greedy`, of all the
    alignments that the search kept from `beam_search`; from a `WordDecoder` the sum of `parts`.
    frames: for each token its emission frame, increasing: in the hypothesis' best alignment, the
    frame of the token's run where the token is most probable (the first of equals).
    """

    tokens: tuple[int, ...]
    score: float
    frames: tuple[int, ...]


class WordHypothesis(Hypothesis):
    """A hypothesis of a `WordDecoder`: `parts` are those of its score."""

    parts: Parts

    def __new__(cls, tokens: tuple[int, ...], score: float, frames: tuple[int, ...], parts: Parts
                ) -> WordHypothesis:
        made = super().__new__(cls, tokens, score, frames)
        made.parts = parts
        return made

    def __getnewargs__(self) -> tuple:  # type: ignore[override]
        return *self, self.parts


class AttentionHypothesis(Hypothesis):
    """A hypothesis of an attention decoder.

    tokens: labels of text; frames: where the CTC head of the same exit puts them (`placed`), () for
    none yet. emitted: all labels in their order, the end and what follows it too. log_probs: of
    each of `tokens`, by the decoder.
    """

    emitted: tuple[int, ...]
    log_probs: tuple[float, ...]

    def __new__(cls, tokens: tuple[int, ...], score: float, frames: tuple[int, ...],
                emitted: tuple[int, ...], log_probs: tuple[float, ...]) -> AttentionHypothesis:
        made = super().__new__(cls, tokens, score, frames)
        made.emitted, made.log_probs = emitted, log_probs
        return made

    def __getnewargs__(self) -> tuple:  # type: ignore[override]
        return *self, self.emitted, self.log_probs


def token_confidences(log_probs: np.ndarray, hypothesis: Hypothesis) -> tuple[float, ...]:
    """Probability of each token of `hypothesis`, in [0, 1]: at its emission frame, or to an
    attention decoder.

    log_probs: (T, V), those of the CTC head, taken as float32; the exponential is that of
    docs/numerics.md. Raises ArgumentError when the hypothesis has tokens or frames that log_probs
    lacks.
    """
    rows, labels = np.shape(log_probs)
    frames, tokens = hypothesis.frames, hypothesis.tokens
    if len(frames) != len(tokens):
        raise ArgumentError(
            f"expected a frame for each of {len(tokens)} tokens, found {len(frames)} frames"
        )
    if not (_within(frames, rows) and _within(tokens, labels)):
        raise ArgumentError(
            f"expected a hypothesis of these log-probabilities, {rows} frames of {labels} labels, "
            f"found frames {hypothesis.frames} of tokens {hypothesis.tokens}"
        )
    if isinstance(hypothesis, AttentionHypothesis):
        emitted = np.array(hypothesis.log_probs)
    else:
        emitted = np.asarray(log_probs)[np.array(frames, int), np.array(tokens, int)]
    probabilities = exp(emitted.astype(np.float32))
    return tuple(np.minimum(probabilities, ONE).tolist())


def _within(indices: Sequence[int], size: int) -> bool:
    return not indices or (min(indices) >= 0 and max(indices) < size)


def checked_log_probs(log_probs: np.ndarray, blank: int) -> np.ndarray:
    """`log_probs` as an array (T, V) that holds log-probabilities, or ArgumentError."""
    log_probs = np.asarray(log_probs)
    if log_probs.ndim != 2 or log_probs.dtype.kind != "f":
        raise ArgumentError(
            "expected log-probabilities (frames, labels) of a float dtype, "
            f"found shape {log_probs.shape} of {log_probs.dtype}"
        )
    labels = log_probs.shape[1]
    check_count("blank", blank, 0, labels - 1)
    highest = log_probs.max(initial=-np.inf)  # NaN if there is one
    if not highest <= _ROUNDING:
        raise ArgumentError(
            f"expected log-probabilities, none NaN or above 0, found a maximum of {highest}"
        )
    return log_probs
