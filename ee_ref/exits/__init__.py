"""When to stop: scores of an exit, and policies that act on them (docs/decoding.md, docs/exits.md).

A policy is any callable `(out) -> (stop, score)`, with `out.exit` the number of the exit, from 1,
and `out.log_probs` its log-probabilities (frames, vocab). `Model.transcribe` asks it after each
exit and decodes the first one where it says stop, or the last. Writing one takes a few lines:

    def confident(out: ExitLike) -> tuple[bool, float]:
        score = float(np.exp(out.log_probs.max(axis=1)).min(initial=1.0))
        return score > 0.9, score

With a method `margin(score)` as well, a policy also says how far a score is past its threshold:

    class Confident:
        def __call__(self, out: ExitLike) -> tuple[bool, float]:
            return confident(out)
        def margin(self, score: float) -> float:
            return score - 0.9

A policy that must remember something of an utterance, or wants to know its cost or the time, has a
method `start(utterance: Utterance)` that returns such a callable for this utterance alone; the
policy itself stays unchanged, so that one object serves any number of utterances at once.
"""

from .policies import (
    AnyPolicy, Budget, Deadline, Entropy, FirstOf, Fixed, Learned, Patience, PerUtterance, Policy,
    Posterior, Rule, Threshold, Within, begin, deepest_fixed, margin_of,
)
from .scores import (
    FEATURES, SCORES, ExitLike, Scores, Utterance, features_of, frame_entropy, measure,
    n_best_posterior, sentence_posterior,
)
from .stored import from_plain, to_plain

__all__ = [
    "AnyPolicy", "Budget", "Deadline", "Entropy", "ExitLike", "FEATURES", "FirstOf", "Fixed",
    "Learned", "Patience", "PerUtterance", "Policy", "Posterior", "Rule", "SCORES", "Scores",
    "Threshold", "Utterance", "Within", "begin", "deepest_fixed", "features_of", "frame_entropy",
    "from_plain", "margin_of", "measure", "n_best_posterior", "sentence_posterior", "to_plain",
]
