"""What may be said, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import ArgumentError, some
from .automaton import Automaton
from .grammar import Grammar
from .template import Value

if TYPE_CHECKING:
    from ..decode.graph import PhraseGraph
    from ..tokens import Tokens


@dataclass(frozen=True, eq=False)
class Phrases:
    """Sentences that may be said, of any model.

    name: of the file, for messages. automaton: the sentences as sequences of indices into `words`;
    its numbers are theirs. grammar: what they mean. lines: where each word stands in the file.
    """

    name: str
    automaton: Automaton
    grammar: Grammar
    lines: tuple[int, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in upper case and lexicographic order."""
        return self.grammar.words

    @property
    def intents(self) -> tuple[str, ...]:
        return self.grammar.intents

    @property
    def slot_names(self) -> tuple[str, ...]:
        return self.grammar.slots

    @property
    def count(self) -> int:
        """Sentences."""
        return self.automaton.count

    def __repr__(self) -> str:
        return f"<Phrases {self.name!r}: {self.count} sentences of {len(self.words)} words>"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: id for id, word in enumerate(self.words)}

    def number(self, words: Sequence[str]) -> int | None:
        """The number of a sentence, 0..count-1, or None where it is none of them."""
        ids = [self._ids.get(word.upper(), -1) for word in words]
        return self.automaton.number(ids)

    def sentence(self, number: int) -> list[str]:
        """The words of a sentence by its number.

        Raises ArgumentError unless it is in 0..count-1.
        """
        if not 0 <= number < self.count:
            raise ArgumentError(f"number of a sentence: expected 0..{self.count - 1}, "
                                f"found {number}")
        return [self.words[id] for id in self.automaton.sequence(number)]

    def meaning(self, words: Sequence[str]) -> tuple[str | None, dict[str, Value]]:
        """The intent of a sentence, None where its template has none, and its slots.

        The first template that says it counts, and of this the first way to read the sentence:
        alternatives in their order, an option rather taken than left out, of a list the most words.
        Raises ArgumentError for a sentence that is none of them.
        """
        if self.number(words) is None:
            raise ArgumentError(f"{self.name}: expected one of its sentences, "
                                f"found {some(words, 20)}")
        ids = [self._ids[word.upper()] for word in words]
        for entry in self.grammar.templates:
            slots = self.grammar.reading(entry, ids)
            if slots is not None:
                intent = None if entry.intent < 0 else self.intents[entry.intent]
                return intent, slots
        raise AssertionError("a sentence of the automaton that no template says")

    def compile(self, tokens: Tokens) -> PhraseGraph:
        """The sentences in the labels of a model: every piecing of every word.

        tokens: of the model. Keys of the graph are the numbers of the sentences.
        Raises PhraseError, naming the line, for a word that the labels cannot spell, and for a
        graph of more than 65,535 states or arcs.
        """
        from .spelling import compile_phrases

        return compile_phrases(self, tokens)
