"""The sentences of phrases in the labels of a model: every piecing of every word.

Between the automaton of words and the graph of labels stands a minimal automaton of letters, in
which "▁" separates words. Its numbers are those of the sentences: words are in the order of their
letters, and "▁" comes before any letter. As it is deterministic, each label leads from one of its
states to one other, so its states that labels reach are those of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..decode.graph import MAX_GRAPH, PhraseGraph
from ..errors import PhraseError, shown
from ..tokens import BOUNDARY, Tokens
from .automaton import Automaton, fixed, minimal

if TYPE_CHECKING:
    from .phrases import Phrases

MAX_LETTERS = 250_000
"""States of the automaton of letters before it is minimal."""

_BOUNDARY = 0  # below the code of any letter: the end of a word comes before its going on

_ANY = -1
Arc = tuple[int, int, int]
"""(label, target, weight)."""
Node = tuple[bool, list[Arc]]
"""Whether a sentence may end there, and the arcs that leave it."""


def compile_phrases(phrases: Phrases, tokens: Tokens) -> PhraseGraph:
    """`Phrases.compile`."""
    spellings = label_spellings(tokens)
    check_words(phrases, spellings)
    letters = _letters(phrases)
    nodes, after_blank = _split(_minimal(_pieced(letters, spellings)))
    table = [(source, target, label, weight) for source, (_, arcs) in enumerate(nodes)
             for label, target, weight in arcs]
    if max(len(nodes), len(table)) > MAX_GRAPH:
        raise PhraseError(f"{phrases.name}: expected a graph of at most {MAX_GRAPH} states and "
                          f"arcs of labels, found {len(nodes)} and {len(table)}")
    source, target, label, weight = zip(*table)
    return PhraseGraph(
        len(nodes), fixed(source, np.uint16), fixed(target, np.uint16), fixed(label, np.uint16),
        fixed(weight, np.uint64), fixed(after_blank, np.bool_),
        fixed((final for final, _ in nodes), np.bool_), tokens.blank, len(tokens))


def label_spellings(tokens: Tokens) -> dict[int, str]:
    """Label -> its letters in upper case, "▁" for a word boundary, of those that words may be
    spelled with: no blank, nothing special, no boundary but at the beginning."""
    return {label: spelling.upper() for label, spelling in enumerate(tokens.spellings)
            if spelling and BOUNDARY not in spelling[1:]}


def _ends(text: str, pieces: Set[str]) -> set[int]:
    """How far pieces one after the other may reach from the beginning of a text."""
    found = {0}
    for end in range(1, len(text) + 1):
        if any(text[start:end] in pieces for start in found):
            found.add(end)
    return found


def _separate(spellings: Mapping[int, str]) -> bool:
    """Whether the boundary is always a label of its own, which nothing needs before the first word,
    as with labels of single characters."""
    return not any(spelling[0] == BOUNDARY != spelling for spelling in spellings.values())


def check_words(phrases: Phrases, spellings: Mapping[int, str]) -> None:
    """Raise PhraseError, naming the line, for a word that the labels cannot spell."""
    pieces = set(spellings.values())
    separate = _separate(spellings)
    if separate and BOUNDARY not in pieces and phrases.automaton.longest > 1:
        raise PhraseError(f'{phrases.name}: expected a model with a label for "▁", the space '
                          "between words, found none")
    known = set("".join(pieces))
    for line, word in sorted(zip(phrases.lines, phrases.words)):
        text = word if separate else BOUNDARY + word
        if len(text) not in _ends(text, pieces):
            strange = next((letter for letter in word if letter not in known), None)
            found = shown(word) if strange is None else f"{shown(word)} with '{shown(strange)}'"
            raise PhraseError(f"{phrases.name}, line {line}: expected words that the labels of the "
                              f"model can spell, found {found}")


def _letters(phrases: Phrases) -> Automaton:
    """The minimal automaton of the sentences as letters, by their codes."""
    words, automaton = phrases.words, phrases.automaton
    symbols, targets = automaton.symbol.tolist(), automaton.target.tolist()
    first = automaton.first

    def step(state: tuple[int, int, int]) -> tuple[bool, dict[int, tuple[int, int, int]]]:
        """The words of arcs[low:high], which leave one state, have their first `depth` letters in
        common."""
        low, high, depth = state
        final, found = False, {}
        if len(words[symbols[low]]) == depth:
            target = targets[low]
            final = bool(automaton.final[target])
            if first[target] < first[target + 1]:
                found[_BOUNDARY] = first[target], first[target + 1], 0
            low += 1
        for arc in range(low, high):
            letter = ord(words[symbols[arc]][depth])
            begin = found[letter][0] if letter in found else arc
            found[letter] = begin, arc + 1, depth + 1
        return final, found

    return minimal((0, first[1], 0), step, phrases.name, MAX_LETTERS)


@dataclass
class _Tree:
    """Spellings by their letters: the labels that end here, and what goes on, by its code."""

    labels: list[int] = field(default_factory=list)
    following: dict[int, _Tree] = field(default_factory=dict)


def _pieced(letters: Automaton, spellings: Mapping[int, str]) -> list[Node | None]:
    """The states of letters with labels for arcs; None for those that no label reaches.

    State 0 is before the boundary that begins the first word; state q + 1 is state q of letters.
    """
    tree = _Tree()
    for label, spelling in spellings.items():
        node = tree
        for letter in spelling:
            code = _BOUNDARY if letter == BOUNDARY else ord(letter)
            node = node.following.setdefault(code, _Tree())
        node.labels.append(label)
    following = [{_BOUNDARY: (0, 0)}, *map(letters.arcs, range(len(letters.final)))]
    if _separate(spellings):
        following[0] = {**following[0], **letters.arcs(0)}
    arcs: dict[int, list[Arc]] = {}
    reached = {0}
    for state in range(len(following)):
        waiting = [(state, tree, 0)] if state in reached else []
        while waiting:
            at, node, weight = waiting.pop()
            for label in node.labels:
                arcs.setdefault(state, []).append((label, at, weight))
                reached.add(at)
            for code, (target, skip) in following[at].items():
                if code in node.following:
                    waiting.append((target + 1, node.following[code], weight + skip))
    return [(state > 0 and bool(letters.final[state - 1]), arcs.get(state, []))
            if state in reached else None for state in range(len(following))]


def _minimal(nodes: Sequence[Node | None]) -> list[Node]:
    """Without states that are not reached or lead to no end, and equal ones made one."""
    index: dict[tuple[bool, tuple[Arc, ...]], int] = {}  # targets before sources
    ids: dict[int, int] = {}
    for state in range(len(nodes) - 1, -1, -1):
        final, arcs = nodes[state] or (False, [])
        leaving = tuple(sorted((label, ids[target], weight)
                               for label, target, weight in arcs if target in ids))
        if leaving or final:
            ids[state] = index.setdefault((final, leaving), len(index))
    last = len(index) - 1
    return [(final, [(label, last - target, weight) for label, target, weight in leaving])
            for final, leaving in reversed(index)]


def _split(nodes: Sequence[Node]) -> tuple[list[Node], list[bool]]:
    """As many of each state as the search needs, and `after_blank` of the arcs.

    A label after itself needs a blank in between. So that this is asked of an arc and not of the
    path before it, a state with a label both before and behind it is split by the label before.
    """
    before: list[set[int]] = [set() for _ in nodes]
    for _, arcs in nodes:
        for label, target, _ in arcs:
            before[target].add(label)
    ids: dict[tuple[int, int], int] = {}  # of (state, label before it), _ANY for all others
    for state, (_, arcs) in enumerate(nodes):
        twice = before[state].intersection(label for label, _, _ in arcs)
        rest = [_ANY] if before[state] - twice or state == 0 else []
        for label in [*sorted(twice), *rest]:
            ids[state, label] = len(ids)
    split: list[Node] = []
    after_blank: list[bool] = []
    for state, last in ids:
        final, arcs = nodes[state]
        split.append((final, [
            (label, ids[target, label if (target, label) in ids else _ANY], weight)
            for label, target, weight in arcs]))
        after_blank += [label == last for label, _, _ in arcs]
    return split, after_blank
