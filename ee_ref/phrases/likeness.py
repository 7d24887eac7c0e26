"""Which words of phrases a model can hardly tell apart, by its own labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from functools import cache
from itertools import combinations, islice
from typing import NamedTuple

from ..tokens import BOUNDARY, Tokens
from .automaton import Automaton
from .phrases import Phrases
from .spelling import check_words, label_spellings

ALIKE = 0.4
"""Distance up to which words are alike: two labels of five."""
MAX_PLACES = 20_000
"""At so many places pairs of words are compared."""


class Alike(NamedTuple):
    """Two words, the second of which is "" where the first may be left out; by how much they
    differ; and two sentences that differ in them alone and mean different things."""

    words: tuple[str, str]
    distance: float
    sentences: tuple[str, str]


def alike(phrases: Phrases, tokens: Tokens) -> list[Alike]:
    """Words that the model can hardly tell apart where it matters, the most alike first.

    The distance of two words is the number of labels that have to be replaced, added or left out to
    turn a spelling of one into a spelling of the other, the least for all their spellings, by the
    number of labels in the shortest spelling of the longer word. Words are alike up to `ALIKE`; a
    word of a single label is also like nothing at all, since so little is easily not heard.

    It matters where the rest of a sentence may be the same and the intent or the slots are not. A
    pair is tried at every place where both may stand, with one beginning and one end of a sentence;
    after `MAX_PLACES` places no more are tried.

    Raises PhraseError for a word that the labels cannot spell.
    """
    automaton, words = phrases.automaton, (*phrases.words, "")
    spellings = label_spellings(tokens)
    check_words(phrases, spellings)
    pieces = set(spellings.values())
    cuts = [_cuts(BOUNDARY + word if word else "", pieces) for word in words]
    distance = cache(lambda first, second: _distance(cuts[first], cuts[second]))
    begin = _beginnings(automaton)
    ends: dict[tuple[int, int], list[int] | None] = {}
    found: dict[tuple[int, int], Alike] = {}
    for state, first, second in islice(_places(automaton, len(words) - 1), MAX_PLACES):
        limit = ALIKE if words[second[0]] else 1.0
        if (first[0], second[0]) in found or distance(first[0], second[0]) > limit:
            continue
        end = _common_end(automaton, first[1], second[1], ends)
        if end is None:
            continue
        sentences = [[words[id] for id in (*begin[state], word, *end) if words[id]]
                     for word, _ in (first, second)]
        if all(sentences) and phrases.meaning(sentences[0]) != phrases.meaning(sentences[1]):
            found[first[0], second[0]] = Alike(
                (words[first[0]], words[second[0]]), distance(first[0], second[0]),
                (" ".join(sentences[0]), " ".join(sentences[1])))
    return sorted(found.values(), key=lambda pair: (pair.distance, pair.words))


def _places(
    automaton: Automaton, nothing: int
) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """(state, (word, where it leads), (another word, where it leads)), the last with `nothing`,
    which leads to the state itself."""
    for state in range(len(automaton.final)):
        leaving = [(word, target) for word, (target, _) in automaton.arcs(state).items()]
        for first, second in combinations([*leaving, (nothing, state)], 2):
            yield state, first, second


class _Cuts(NamedTuple):
    """A text; of each place in it, where labels that begin there end; and the fewest labels that
    spell it."""

    text: str
    ends: list[list[int]]
    fewest: int


def _cuts(text: str, pieces: Set[str]) -> _Cuts:
    ends = [[end for end in range(start + 1, len(text) + 1) if text[start:end] in pieces]
            for start in range(len(text))]
    fewest = [0.0] + [math.inf] * len(text)
    for start, found in enumerate(ends):
        for end in found:
            fewest[end] = min(fewest[end], fewest[start] + 1)
    return _Cuts(text, [*ends, []], int(fewest[-1]))


def _distance(first: _Cuts, second: _Cuts) -> float:
    """As `alike` has it; infinity where it is above `ALIKE`, or above 1 to nothing."""
    longest = max(first.fewest, second.fewest)
    most = int(ALIKE * longest) if first.text and second.text else 1
    reached = _with_equal(first, second, {(0, 0)})
    for edits in range(most + 1):
        if (len(first.text), len(second.text)) in reached:
            return edits / longest
        reached = _with_equal(first, second, {
            (i, j) for at, of in reached
            for i in (at, *first.ends[at]) for j in (of, *second.ends[of])})
    return math.inf


def _with_equal(
    first: _Cuts, second: _Cuts, places: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Places in two texts, and those to which equal labels lead from them."""
    found, waiting = set(places), list(places)
    while waiting:
        at, of = waiting.pop()
        for end in first.ends[at]:
            place = end, of + end - at
            if place not in found and second.text[of:place[1]] == first.text[at:end]:
                found.add(place)
                waiting.append(place)
    return found


def _beginnings(automaton: Automaton) -> list[list[int]]:
    """Of each state, one of the shortest sequences that lead to it."""
    found: list[list[int]] = [[] for _ in automaton.final]
    known = {0}
    for source, target, symbol in zip(automaton.source.tolist(), automaton.target.tolist(),
                                      automaton.symbol.tolist()):
        if target not in known or len(found[source]) + 1 < len(found[target]):
            known.add(target)
            found[target] = [*found[source], symbol]
    return found


def _common_end(
    automaton: Automaton, first: int, second: int, known: dict[tuple[int, int], list[int] | None]
) -> list[int] | None:
    """Symbols by which both states lead to an end, None where there are none. known: of pairs."""
    if automaton.final[first] and automaton.final[second]:
        return []
    pair = first, second
    if pair not in known:
        known[pair] = None
        others = automaton.arcs(second)
        for symbol, (target, _) in automaton.arcs(first).items():
            if symbol in others:
                end = _common_end(automaton, target, others[symbol][0], known)
                if end is not None:
                    known[pair] = [symbol, *end]
                    break
    return known[pair]
