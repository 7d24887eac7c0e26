"""CTC decoding: log-probabilities of one exit to token sequences. Definitions: docs/decoding.md."""

from .beam import MAX_BEAM_WIDTH, beam_search
from .greedy import Alignment, greedy
from .hypothesis import Hypothesis, token_confidences

__all__ = [
    "Alignment", "Hypothesis", "MAX_BEAM_WIDTH", "beam_search", "greedy", "token_confidences",
]
