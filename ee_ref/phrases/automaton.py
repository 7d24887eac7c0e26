"""Minimal deterministic acyclic automata whose sequences are numbered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..errors import PhraseError

MAX_COUNT = 1 << 63
"""Sequences of one automaton: their numbers and sums of those fit 64 bits."""

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True)
class Automaton:
    """An automaton with S states and A arcs that accepts `count` sequences of symbols.

    source, target, symbol (A,) uint32, skip (A,) uint64: arcs, sorted by source and then symbol, of
    which no two are equal in both; final (S,) bool. State 0 is the start, and source < target. Each
    state is on a path from the start to a final state, and no two have the same continuations.

    A sequence's number is its place in lexicographic order, counted from 0: the sum of `skip` over
    its path. So `skip` counts the continuations of a state that come before those of an arc.
    """

    source: np.ndarray
    target: np.ndarray
    symbol: np.ndarray
    skip: np.ndarray
    final: np.ndarray
    count: int

    @cached_property
    def first(self) -> list[int]:
        """Of each state s, the arcs first[s]:first[s + 1] leave it."""
        return np.searchsorted(self.source, np.arange(len(self.final) + 1)).tolist()

    @cached_property
    def _arcs(self) -> list[dict[int, tuple[int, int]]]:
        """Of each state, symbol -> (target, skip)."""
        arcs: list[dict[int, tuple[int, int]]] = [{} for _ in self.final]
        for source, target, symbol, skip in zip(*(
                array.tolist() for array in (self.source, self.target, self.symbol, self.skip))):
            arcs[source][symbol] = target, skip
        return arcs

    @cached_property
    def longest(self) -> int:
        """Symbols of the longest sequence."""
        ends = [0] * len(self.final)
        for source, target in zip(self.source.tolist(), self.target.tolist()):
            ends[target] = max(ends[target], ends[source] + 1)
        return max(ends)

    def arcs(self, state: int) -> dict[int, tuple[int, int]]:
        """Symbol -> (target, skip) of the arcs that leave a state, by increasing symbol."""
        return self._arcs[state]

    def number(self, symbols: Sequence[int]) -> int | None:
        """The number of a sequence, or None where it is not accepted."""
        state = number = 0
        for symbol in symbols:
            if symbol not in self._arcs[state]:
                return None
            state, skip = self._arcs[state][symbol]
            number += skip
        return number if self.final[state] else None

    def sequence(self, number: int) -> list[int]:
        """The sequence of a number in 0..count-1."""
        state, symbols = 0, []
        while number or not self.final[state]:
            symbol, (state, skip) = max(
                ((symbol, arc) for symbol, arc in self._arcs[state].items() if arc[1] <= number),
                key=lambda arc: arc[0])
            number -= skip
            symbols.append(symbol)
        return symbols


def minimal(
    start: State, step: Callable[[State], tuple[bool, dict[int, State]]], name: str, limit: int
) -> Automaton:
    """The minimal automaton of a deterministic acyclic one, every state of which leads to an end.

    step: of a state, whether it is final, and symbol -> next state. name: what the automaton is of,
    for messages. limit: states of the given automaton.

    Raises PhraseError when it has more states or accepts more than `MAX_COUNT` sequences.
    """
    known: dict[State, int] = {}  # -> index into `states`
    states: list[tuple[bool, tuple[tuple[int, int], ...]]] = []  # targets before sources
    index: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    counts: list[int] = []
    final, arcs = step(start)
    waiting = [(start, final, arcs, iter(arcs.values()))]
    while waiting:
        state, final, arcs, targets = waiting[-1]
        ahead = next((target for target in targets if target not in known), None)
        if ahead is not None:
            if len(known) + len(waiting) == limit:
                raise PhraseError(f"{name}: expected at most {limit} states, found more")
            final, arcs = step(ahead)
            waiting.append((ahead, final, arcs, iter(arcs.values())))
            continue
        waiting.pop()
        key = final, tuple(sorted((symbol, known[target]) for symbol, target in arcs.items()))
        if key not in index:
            index[key] = len(states)
            states.append(key)
            counts.append(final + sum(counts[target] for _, target in key[1]))
        known[state] = index[key]
    return _numbered(states, counts, name)


def of_sequences(sequences: Sequence[Sequence[int]], name: str) -> Automaton:
    """The automaton of sequences that are sorted, all different: their numbers are their indices.

    Raises PhraseError as `minimal` does.
    """

    def step(state: tuple[int, int, int]) -> tuple[bool, dict[int, tuple[int, int, int]]]:
        """sequences[low:high] have their first `depth` symbols in common."""
        low, high, depth = state
        final = len(sequences[low]) == depth
        arcs: dict[int, tuple[int, int, int]] = {}
        for at in range(low + final, high):
            symbol = sequences[at][depth]
            begin = arcs[symbol][0] if symbol in arcs else at
            arcs[symbol] = begin, at + 1, depth + 1
        return final, arcs

    return minimal((0, len(sequences), 0), step, name, 1 + sum(map(len, sequences)))


def fixed(values: Iterable, dtype: type) -> np.ndarray:
    """A read-only array."""
    array: np.ndarray = np.array(list(values), dtype)
    array.setflags(write=False)
    return array


def _numbered(
    states: Sequence[tuple[bool, tuple[tuple[int, int], ...]]], counts: Sequence[int], name: str
) -> Automaton:
    """The automaton of minimal states in reverse topological order: the start is the last one."""
    start = len(states) - 1
    if counts[start] > MAX_COUNT:
        raise PhraseError(f"{name}: expected at most 2^63 sentences, found more than "
                          f"2^{counts[start].bit_length() - 1}")
    source, target, symbol, skip = [], [], [], []
    for state in range(start, -1, -1):
        final, arcs = states[state]
        before = int(final)
        for label, to in arcs:
            source.append(start - state)
            target.append(start - to)
            symbol.append(label)
            skip.append(before)
            before += counts[to]
    return Automaton(
        fixed(source, np.uint32), fixed(target, np.uint32), fixed(symbol, np.uint32),
        fixed(skip, np.uint64),
        fixed((states[state][0] for state in range(start, -1, -1)), np.bool_), counts[start])
