"""CTC decoding: log-probabilities of one exit to token sequences. Definitions: docs/decoding.md."""

from . import language_model
from .beam import MAX_BEAM_WIDTH, beam_search
from .greedy import Alignment, greedy
from .hypothesis import Hypothesis, Parts, WordHypothesis, token_confidences
from .language_model import LanguageModel
from .lexicon import Lexicon, parse_hotwords, read_hotwords, read_lexicon
from .words import WordDecoder

__all__ = [
    "Alignment", "Hypothesis", "LanguageModel", "Lexicon", "MAX_BEAM_WIDTH", "Parts", "WordDecoder",
    "WordHypothesis", "beam_search", "greedy", "language_model", "parse_hotwords",
    "read_hotwords", "read_lexicon", "token_confidences",
]
