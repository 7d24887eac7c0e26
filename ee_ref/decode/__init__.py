"""CTC decoding: log-probabilities of one exit to token sequences. Definitions: docs/decoding.md.

The word search and its files are loaded when first used: most runs do without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .beam import MAX_BEAM_WIDTH, beam_search
from .greedy import Alignment, greedy
from .hypothesis import Hypothesis, Parts, WordHypothesis, token_confidences

if TYPE_CHECKING:
    from . import language_model
    from .language_model import LanguageModel
    from .lexicon import Lexicon, parse_hotwords, read_hotwords, read_lexicon
    from .words import WordDecoder

__all__ = [
    "Alignment", "Hypothesis", "LanguageModel", "Lexicon", "MAX_BEAM_WIDTH", "Parts", "WordDecoder",
    "WordHypothesis", "beam_search", "greedy", "language_model", "parse_hotwords",
    "read_hotwords", "read_lexicon", "token_confidences",
]

_ROOMS = {
    "LanguageModel": "language_model", "Lexicon": "lexicon", "WordDecoder": "words",
    "parse_hotwords": "lexicon", "read_hotwords": "lexicon", "read_lexicon": "lexicon",
}


if not TYPE_CHECKING:  # to a type checker every name would be one of this module

    def __getattr__(name: str) -> Any:
        if name == "language_model":
            return importlib.import_module(f".{name}", __name__)
        if name in _ROOMS:
            return getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
