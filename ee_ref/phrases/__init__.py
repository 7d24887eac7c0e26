"""What may be said: templates in, a search graph out. The language: docs/phrases.md."""

from .automaton import Automaton
from .grammar import Grammar, SlotList
from .load import load
from .phrases import Phrases

__all__ = ["Automaton", "Grammar", "Phrases", "SlotList", "load"]
