"""What a rule may ask: of the utterance, and of an exit of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..decode import Alignment
from ..errors import ArgumentError
from .attention import ATTENTION_SCORES, Attention
from .phrase import PHRASE_SCORES, PhraseScores
from .scores import POSTERIORS, Scores, measure, n_best_posterior


class ExitLike(Protocol):
    """An exit: ee_ref.encoder.ExitOutput, an `Observation`, or anything alike."""

    @property
    def exit(self) -> int: ...

    @property
    def log_probs(self) -> np.ndarray: ...


class Heard(Protocol):
    """What a search for phrases found at an exit."""

    @property
    def scores(self) -> PhraseScores: ...


class Utterance(NamedTuple):
    """What is known of an utterance before its first exit. Made by `Model.utterance`.

    exits: exits of the model; blank: its CTC blank. costs: multiply-accumulates of the encoder up
    to each exit, (exits,), empty when unknown. started: when the caller asked for this utterance,
    by `clock`, in seconds. encoder_started: when its first layer began to run.
    measure: `measure`, or its twin in C. hear: searches log-probabilities for the phrases that may
    be said; None where anything may. attend: gives what the attention decoder of an exit says;
    None where there is no such decoder.
    """

    exits: int = 0
    blank: int = 0
    costs: tuple[Any, ...] = ()
    clock: Callable[[], float] = time.perf_counter
    started: float = 0.0
    encoder_started: float = 0.0
    measure: Callable[..., tuple[Scores, Alignment]] = measure
    hear: Callable[[np.ndarray], Heard] | None = None
    attend: Callable[[Any], Attention] | None = None


@dataclass(frozen=True)
class Observation:
    """An exit as a rule sees it.

    exit: its number, from 1. log_probs: (T, V). scores: its `Scores`, None for a policy that says
    `needs_scores = False`. phrase: its `PhraseScores`, None unless the policy says
    `needs_phrases = True`. utterance: whose exit it is. attention: what its attention decoder says,
    None where it has none.

    Calibration shows rules all utterances of a set at once (ee_ref/calibration/fit.py). Every score
    and cost is then an array (n,), and there are neither log-probabilities nor a clock.
    """

    exit: int
    log_probs: np.ndarray
    scores: Scores
    utterance: Utterance
    phrase: PhraseScores | None = None
    attention: Attention | None = None

    def score(self, name: str) -> float:
        """The score of that name: a field of `Scores`, one of the two posteriors, one of
        PHRASE_SCORES or of ATTENTION_SCORES."""
        if name in POSTERIORS:
            return self.posterior()[POSTERIORS.index(name)]
        if name in PHRASE_SCORES:
            if self.phrase is None:
                raise ArgumentError(f"{name}: expected a policy with needs_phrases = True")
            return getattr(self.phrase, PHRASE_SCORES[name])
        if name in ATTENTION_SCORES:
            if self.attention is None:
                raise ArgumentError(f"{name}: expected a model with attention decoders")
            return self.attention.score(name)
        if name not in Scores._fields:
            raise ArgumentError(f"score: expected one that an exit has, found {name!r:.80}")
        return getattr(self.scores, name)

    def posterior(self, n_best: int = 10, blank: int | None = None) -> tuple[float, float]:
        """`n_best_posterior` of this exit; blank: None for that of the utterance."""
        return n_best_posterior(
            self.log_probs, n_best, self.utterance.blank if blank is None else blank)
