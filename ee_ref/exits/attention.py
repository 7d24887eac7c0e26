"""Scores of an exit by its attention decoder, where the model has one: of greedy decoding."""

from __future__ import annotations

from typing import Protocol

FIRST_STEPS = 4
"""Steps of which `attention_entropy` is the mean: a decoder that is unsure of what it hears says so
in its first labels, and deeper exits need not be asked for the rest."""

ATTENTION_SCORES = {"attention_entropy": False, "attention_path": True}
"""Name -> whether a larger one is more confident.

attention_entropy: mean over the first FIRST_STEPS steps of the entropy of the next label, by the
logarithm of the number of labels: in [0, 1]. It takes those steps alone.
attention_path: exp of the mean log-probability of all labels of the sentence, its end included: in
[0, 1]. It takes the whole sentence, which is the result where the rule stops.
"""


class Attention(Protocol):
    """What an attention decoder says of an exit, computed when it is asked for."""

    def score(self, name: str) -> float:
        """One of ATTENTION_SCORES."""
        ...
