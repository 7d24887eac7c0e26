"""What sentences mean: the templates in their order, with intents and slots.

A grammar is an ordered network of words and lists without empty arcs. It is kept beside the word
automaton, which is smaller as it knows no intents, and which is what a search needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from . import template as t
from .automaton import Automaton


class Template(NamedTuple):
    """A template as a file has it.

    intent: its name, or None; slots: those that it sets whatever is said; line: where it stands.
    """

    node: t.Node
    intent: str | None
    slots: Mapping[str, t.Value]
    line: int


class Entry(NamedTuple):
    """A template in a grammar: the node where it begins; intent: an index, or -1 for none."""

    start: int
    intent: int
    slots: Mapping[str, t.Value]
    line: int


@dataclass(frozen=True)
class SlotList:
    """The values of a list. automaton: what may be said, of words; values: by its numbers; line:
    where the list stands in its file."""

    automaton: Automaton
    values: tuple[t.Value, ...]
    line: int


@dataclass(frozen=True)
class Grammar:
    """N nodes and A arcs in the order of reading.

    words: what a symbol >= 0 indexes, in lexicographic order; lists: symbol -1 is the first, -2 the
    second. source, target, symbol (A,) int32, slot (A,) int32: index of a name in `slots` for an
    arc of a list, otherwise -1. Arcs are sorted by source, and those of one source stand in the
    order in which they are tried; source < target. final (N,) bool.
    templates: in their order; intents: names that they index.
    """

    words: tuple[str, ...]
    lists: tuple[SlotList, ...]
    source: np.ndarray
    target: np.ndarray
    symbol: np.ndarray
    slot: np.ndarray
    final: np.ndarray
    templates: tuple[Entry, ...]
    intents: tuple[str, ...]
    slots: tuple[str, ...]

    @cached_property
    def arcs(self) -> list[list[tuple[int, int, int]]]:
        """(target, symbol, slot) of the arcs of each node."""
        arcs: list[list[tuple[int, int, int]]] = [[] for _ in self.final]
        for source, *arc in zip(*(array.tolist() for array in (
                self.source, self.target, self.symbol, self.slot))):
            arcs[source].append(tuple(arc))
        return arcs

    def reading(self, entry: Entry, symbols: Sequence[int]) -> dict[str, t.Value] | None:
        """The slots of a sentence as one template says it, or None where it does not.

        Of several ways to read it, the first: alternatives in their order, an option rather taken
        than left out, and of a list the most words.
        """
        failed: set[tuple[int, int]] = set()

        def read(node: int, at: int) -> list[tuple[int, t.Value]] | None:
            if at == len(symbols):
                return [] if self.final[node] else None
            if (node, at) in failed:
                return None
            for target, symbol, slot in self.arcs[node]:
                if symbol == symbols[at]:
                    rest = read(target, at + 1)
                    if rest is not None:
                        return rest
                elif symbol < 0:
                    spoken = self.lists[~symbol]
                    for end, number in reversed(list(_prefixes(spoken.automaton, symbols, at))):
                        rest = read(target, end)
                        if rest is not None:
                            return [(slot, spoken.values[number]), *rest]
            failed.add((node, at))
            return None

        found = read(entry.start, 0)
        if found is None:
            return None
        return {**entry.slots, **{self.slots[slot]: value for slot, value in found}}


def _prefixes(automaton: Automaton, symbols: Sequence[int], at: int) -> Iterator[tuple[int, int]]:
    """(end, number) of each accepted symbols[at:end], the shortest first."""
    state = number = 0
    for end in range(at, len(symbols)):
        arcs = automaton.arcs(state)
        if symbols[end] not in arcs:
            return
        state, skip = arcs[symbols[end]]
        number += skip
        if automaton.final[state]:
            yield end + 1, number
