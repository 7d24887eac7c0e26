"""When to stop: scores of an exit, and policies that act on them (docs/decoding.md, docs/exits.md).

A policy is asked after each exit; `Model.transcribe` decodes the first one where it says stop, or
the last. The short way to write one is a function of an exit that gives (stop, score), or a
`Decision`, which says too how far the score is past its threshold:

    def confident(out: Observation) -> Decision:
        margin = out.scores.least_confidence - 0.9
        return Decision(margin >= 0, out.scores.least_confidence, margin)

`out.exit` is the number of the exit, from 1, `out.log_probs` its log-probabilities (frames, vocab),
`out.scores` its `Scores`, and `out.utterance` knows costs, blank and clock.

A policy that must remember something is an object with a method `decide(at, state)`, which gives
the decision and the state that it wants to see at the next exit. It changes nothing of itself, so
that one object serves any number of utterances at once:

    class Twice:
        def decide(self, at: Observation, state: int | None) -> tuple[Decision, int]:
            times = (state or 0) + (at.scores.path > 0.99)
            return Decision(times >= 2, times, times - 2), times
"""

from . import rules
from .attention import ATTENTION_SCORES
from .clock import Deadline
from .combined import FirstOf, Within
from .phrase import CONFIDENCE, Confidence, PhraseScores, phrase_scores
from .policy import AnyPolicy, Decision, Policy
from .rules import *  # noqa: F403
from .scores import (
    FEATURES,
    SCORES,
    Scores,
    frame_entropy,
    measure,
    n_best_posterior,
    sentence_posterior,
)
from .stored import from_plain, to_plain
from .utterance import ExitLike, Heard, Observation, Utterance

__all__ = [
    "ATTENTION_SCORES", "AnyPolicy", "CONFIDENCE", "Confidence", "Deadline", "Decision", "ExitLike",
    "FEATURES", "FirstOf", "Heard", "Observation", "PhraseScores", "Policy", "SCORES", "Scores",
    "Utterance", "Within", "frame_entropy", "from_plain", "measure", "n_best_posterior",
    "phrase_scores", "sentence_posterior", "to_plain",
]
__all__ += rules.__all__
