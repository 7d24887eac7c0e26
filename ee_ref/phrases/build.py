"""From templates to a grammar and to the automaton of its sentences.

Letters join to words (`light[s]`) before anything else: the templates become a network of pieces of
words, and from each node where a word may begin the words are followed to their ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..errors import PhraseError, shown
from . import template as t
from .automaton import Automaton, fixed, minimal, of_sequences
from .grammar import Entry, Grammar, SlotList, Template
from .phrases import Phrases

MAX_TEMPLATES = 5_000
MAX_NODES = 65_535
"""Nodes of a grammar, its arcs, and states of the automaton before it is minimal."""
MAX_TEXT = 255
"""Bytes of UTF-8 in a name or a value."""
MAX_VALUE = 1 << 31
"""Values that are numbers are below, and not below its negative."""
MAX_WORDS = 255
"""Words of a sentence."""
MAX_LETTERS = 100
"""Letters of a word."""
_MAX_STEPS = 200_000
"""Pieces, and steps from piece to piece within words: rules within rules grow without end."""
_MAX_MOVES = 200_000
"""Words that may follow, of every set of places where sentences that begin alike may be."""

Piece = t.Text | t.Slot
Said = tuple[tuple[tuple[str, ...], t.Value], ...]
"""Words and value of everything that a list offers."""


def build(templates: Iterable[Template], name: str) -> Phrases:
    """Phrases of the templates of a file.

    name: of the file. Raises PhraseError, naming the line, when there are no templates, a template
    may say nothing, two intents have one sentence, or a limit is exceeded.
    """
    pieces = _Pieces()
    words = _Words(pieces)
    found: list[Template] = []
    starts: list[int] = []
    for template in templates:
        pieces.where = f"{name}, line {template.line}"
        for slot, value in template.slots.items():
            _check_text(slot, "name of a slot", pieces.where)
            _check_value(value, pieces.where)
        if template.intent is not None:
            _check_text(template.intent, "name of an intent", pieces.where)
        found.append(template)
        if len(found) > MAX_TEMPLATES:
            raise PhraseError(f"{name}: expected at most {MAX_TEMPLATES} templates, found more")
        starts.append(pieces.node_of(template.node, _END))
        words.add(starts[-1])
    if not found:
        raise PhraseError(f"{name}: expected a template, found none")
    grammar, lines = _grammar(words.ways, starts, found, name)
    _check_length(grammar, name)
    return Phrases(name, _automaton(grammar, name), grammar, lines)


def _check_text(text: str, what: str, where: str) -> None:
    if not text.isprintable() or not 1 <= len(text.encode()) <= MAX_TEXT:
        raise PhraseError(f"{where}: expected a {what} of 1 to {MAX_TEXT} bytes that can be "
                          f"printed, found '{shown(text)}'")


def _check_value(value: t.Value, where: str) -> None:
    if isinstance(value, str):
        _check_text(value, "value of a slot", where)
    elif not -MAX_VALUE <= value < MAX_VALUE:
        raise PhraseError(f"{where}: expected a value of a slot of 32 bits, found {value}")


_END = 0


class _Pieces:
    """The network of pieces. A node is (whether a sentence may end here, its arcs in order), and an
    arc a piece and the node behind it.

    Equal nodes are one, so that templates that end alike share their ends; arcs lead to lower ones.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[bool, tuple[tuple[Piece, int], ...]]] = []
        self.where = ""
        self._index: dict[tuple[bool, tuple[tuple[Piece, int], ...]], int] = {}
        self._steps = 0
        self._node(True, ())

    def node_of(self, node: t.Node, then: int) -> int:
        """The network node that says `node` and goes on at `then`."""
        self.step()
        if isinstance(node, t.Sequence):
            for item in reversed(node.items):
                then = self.node_of(item, then)
            return then
        if isinstance(node, t.Choice):
            ways = [self.nodes[self.node_of(item, then)] for item in node.items]
            arcs = dict.fromkeys(arc for _, way in ways for arc in way)
            self.step(len(arcs))
            return self._node(any(final for final, _ in ways), tuple(arcs))
        return self._node(False, ((node, then),))

    def step(self, count: int = 1) -> None:
        """Raises PhraseError when the work grows out of bounds."""
        self._steps += count
        if self._steps > _MAX_STEPS:
            raise PhraseError(f"{self.where}: expected at most {_MAX_STEPS} pieces of words, rules "
                              "and joined words written out, found more")

    def _node(self, final: bool, arcs: tuple[tuple[Piece, int], ...]) -> int:
        key = final, arcs
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(key)
        return self._index[key]


class _Way(NamedTuple):
    """An arc from where a word may begin: a word, or a list for a slot, and the node behind."""

    said: str | t.Values
    slot: str | None
    target: int


class _Partial(NamedTuple):
    """Words that end or go on at a node; slot: whose value they belong to."""

    node: int
    words: tuple[str, ...]
    slot: t.Slot | None = None
    value: t.Value = ""
    ended: bool = False


class _Words:
    """The network of words and lists that the pieces make.

    ways: of each node of pieces where a word may begin, whether a sentence may end there, and what
    may follow, in order.
    """

    def __init__(self, pieces: _Pieces):
        self._pieces = pieces
        self._reached: set[int] = set()
        self._lists: dict[Said, t.Values] = {}  # of equal lists, the first, by what it says
        self._same: dict[t.Values, t.Values] = {}  # and by any of them
        self.ways: dict[int, tuple[bool, list[_Way]]] = {_END: (True, [])}

    def add(self, start: int) -> None:
        """Find the ways from where a template starts on."""
        begins, waiting = {start}, [start]
        while waiting:
            for piece, target in self._pieces.nodes[waiting.pop()][1]:
                if piece == t.SPACE or isinstance(piece, t.Slot) and self._word_ends(target):
                    begins.add(target)
                if target not in self._reached:
                    self._reached.add(target)
                    waiting.append(target)
        for node in sorted(begins - self.ways.keys()):  # arcs lead to lower nodes
            self.ways[node] = self._ways_from(node)

    def _ways_from(self, start: int) -> tuple[bool, list[_Way]]:
        ends = False
        ways: dict[_Way | tuple[str, int], None] = {}
        # Words that join a value to letters, `{room}['s]`, are a list of their own.
        joined: dict[tuple[str, int], dict[tuple[str, ...], t.Value]] = {}
        lines: dict[tuple[str, int], int] = {}
        for target, words, slot, value, _ in self._followed(start):
            if words == ("",):  # there was another space
                ends = ends or self.ways[target][0]
                ways.update(dict.fromkeys(self.ways[target][1]))
            elif slot is None:
                ways[_Way(words[0], None, target)] = None
            elif not words:
                ways[_Way(self._one(slot.list), slot.name, target)] = None
            else:
                place = slot.name, target
                ways[place] = None
                joined.setdefault(place, {}).setdefault(words, value)
                lines.setdefault(place, slot.list.line)
        return ends, list(dict.fromkeys(
            way if isinstance(way, _Way)
            else _Way(self._one(t.Values(joined[way], lines[way])), *way) for way in ways))

    def _one(self, values: t.Values) -> t.Values:
        """Of lists that offer the same, always the same one."""
        if values not in self._same:
            self._same[values] = self._lists.setdefault(tuple(values.values.items()), values)
        return self._same[values]

    def _word_ends(self, node: int) -> bool:
        """Whether no letters follow."""
        return all(piece == t.SPACE for piece, _ in self._pieces.nodes[node][1])

    def _followed(self, start: int) -> Iterator[_Partial]:
        """Everything up to the end of a word, in order. No words at all stand for whatever the list
        of the slot offers."""
        waiting = [_Partial(start, ("",))]
        while waiting:
            partial = waiting.pop()
            if partial.ended:
                yield partial
            else:
                waiting += reversed(list(self._next(partial)))

    def _next(self, partial: _Partial) -> Iterator[_Partial]:
        """By one piece further."""
        node, (*done, word), slot, _, _ = partial
        if len(word) > MAX_LETTERS:
            raise PhraseError(f"{self._pieces.where}: expected words of at most {MAX_LETTERS} "
                              f"letters, found {shown(word)}")
        final, arcs = self._pieces.nodes[node]
        self._pieces.step(1 + len(arcs))
        if final:
            yield partial._replace(node=_END, ended=True)
        for piece, target in arcs:
            if piece == t.SPACE:
                yield partial._replace(node=target, ended=True)
            elif isinstance(piece, t.Text):
                yield partial._replace(node=target, words=(*done, word + piece.letters))
            elif slot is not None:
                raise PhraseError(f"{self._pieces.where}: expected a space between {{{slot.name}}} "
                                  f"and {{{piece.name}}}, found them in one word")
            elif not word and self._word_ends(target):
                yield _Partial(target, (), piece, ended=True)
            else:
                for (first, *rest), value in piece.list.values.items():
                    yield _Partial(target, (word + first, *rest), piece, value)


def _grammar(
    ways: Mapping[int, tuple[bool, Sequence[_Way]]], starts: Sequence[int],
    templates: Sequence[Template], name: str,
) -> tuple[Grammar, tuple[int, ...]]:
    """The grammar, and the line of each of its words.

    ways: of `_Words`; starts: nodes where the templates begin.
    """
    lines: dict[str, int] = {}
    lists: dict[t.Values, int] = {}
    slots: dict[str, int] = {}
    reached: set[int] = set()
    for start, template in zip(starts, templates):
        for slot in template.slots:
            slots.setdefault(slot, len(slots))
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node in reached:
                continue
            reached.add(node)
            for way in ways[node][1]:
                waiting.append(way.target)
                if isinstance(way.said, str):
                    lines.setdefault(way.said, template.line)
                    continue
                where = f"{name}, line {way.said.line}"
                _check_text(str(way.slot), "name of a slot", where)
                slots.setdefault(str(way.slot), len(slots))
                if way.said not in lists:
                    lists[way.said] = len(lists)
                    for value in way.said.values.values():
                        _check_value(value, where)
                    for word in chain.from_iterable(way.said.values):
                        lines.setdefault(word, way.said.line)
    words = tuple(sorted(lines))
    symbols: dict[str | t.Values, int] = {word: id for id, word in enumerate(words)}
    symbols.update((values, ~index) for values, index in lists.items())

    nodes: dict[tuple[bool, tuple[tuple[int, int, int], ...]], int] = {}  # targets before sources
    ids: dict[int, int] = {}
    for node in sorted(reached):
        final, following = ways[node]
        arcs = tuple(dict.fromkeys(
            (ids[target], symbols[said], -1 if slot is None else slots[slot])
            for said, slot, target in following))
        ids[node] = nodes.setdefault((final, arcs), len(nodes))
    count = len(nodes)
    table = [(count - 1 - node, count - 1 - target, symbol, slot)
             for (_, arcs), node in reversed(nodes.items()) for target, symbol, slot in arcs]
    if max(count, len(table)) > MAX_NODES:
        raise PhraseError(f"{name}: expected a grammar of at most {MAX_NODES} nodes and arcs, "
                          f"found {count} and {len(table)}")
    intents = tuple(dict.fromkeys(
        template.intent for template in templates if template.intent is not None))
    entries = []
    for start, template in zip(starts, templates):
        if ways[start][0]:
            raise PhraseError(f"{name}, line {template.line}: expected a template that always "
                              "says something, found that it may say nothing")
        entries.append(Entry(
            count - 1 - ids[start],
            -1 if template.intent is None else intents.index(template.intent),
            template.slots, template.line))
    columns = [fixed(column, np.int32) for column in zip(*table)]
    grammar = Grammar(
        words, tuple(_slot_list(values, symbols, name) for values in lists),
        columns[0], columns[1], columns[2], columns[3],
        fixed((final for final, _ in reversed(nodes)), np.bool_),
        tuple(entries), intents, tuple(slots))
    return grammar, tuple(lines[word] for word in words)


def _slot_list(
    values: t.Values, symbols: Mapping[str | t.Values, int], name: str
) -> SlotList:
    spoken = sorted(([symbols[word] for word in words], value)
                    for words, value in values.values.items())
    automaton = of_sequences([sequence for sequence, _ in spoken],
                             f"{name}, line {values.line}")
    return SlotList(automaton, tuple(value for _, value in spoken), values.line)


def _check_length(grammar: Grammar, name: str) -> None:
    longest = [0] * len(grammar.final)  # words up to each node
    for source, arcs in enumerate(grammar.arcs):
        for target, symbol, _ in arcs:
            spoken = 1 if symbol >= 0 else grammar.lists[~symbol].automaton.longest
            longest[target] = max(longest[target], longest[source] + spoken)
    if max(longest) > MAX_WORDS:
        raise PhraseError(f"{name}: expected sentences of at most {MAX_WORDS} words, found one of "
                          f"{max(longest)}")


class _Reader(NamedTuple):
    """Where one reads a sentence: an intent, and a node of its templates, or within a list (an
    index; -1 outside) the state of its automaton, the node being behind the list."""

    intent: int
    node: int
    list: int = -1
    state: int = 0


def _automaton(grammar: Grammar, name: str) -> Automaton:
    """The minimal automaton of the sentences; PhraseError where two intents share one."""
    came_from: dict[frozenset[_Reader], tuple[frozenset[_Reader], int]] = {}
    start = frozenset(_Reader(entry.intent, entry.start) for entry in grammar.templates)
    moves = 0

    def step(readers: frozenset[_Reader]) -> tuple[bool, dict[int, frozenset[_Reader]]]:
        intents = {reader.intent for reader in readers
                   if reader.list < 0 and grammar.final[reader.node]}
        if len(intents) > 1:
            raise _two_intents(grammar, name, _path(came_from, readers))
        nonlocal moves
        arcs: dict[int, set[_Reader]] = {}
        for reader in readers:
            for symbol, reached in _moves(grammar, reader):
                moves += 1
                arcs.setdefault(symbol, set()).add(reached)
        if moves > _MAX_MOVES:
            raise PhraseError(f"{name}: expected templates whose sentences share less, found more "
                              f"than {_MAX_MOVES} steps to tell them apart")
        found = {symbol: frozenset(reached) for symbol, reached in arcs.items()}
        for symbol, target in found.items():
            came_from.setdefault(target, (readers, symbol))
        return bool(intents), found

    return minimal(start, step, name, MAX_NODES)


def _moves(grammar: Grammar, reader: _Reader) -> Iterator[tuple[int, _Reader]]:
    """(word, where it leads) of everything that may follow."""
    if reader.list >= 0:
        yield from _list_moves(grammar, reader)
        return
    for target, symbol, _ in grammar.arcs[reader.node]:
        if symbol >= 0:
            yield symbol, _Reader(reader.intent, target)
        else:
            yield from _list_moves(grammar, _Reader(reader.intent, target, ~symbol))


def _list_moves(grammar: Grammar, reader: _Reader) -> Iterator[tuple[int, _Reader]]:
    automaton = grammar.lists[reader.list].automaton
    for symbol, (state, _) in automaton.arcs(reader.state).items():
        if automaton.final[state]:
            yield symbol, _Reader(reader.intent, reader.node)
        if automaton.arcs(state):
            yield symbol, reader._replace(state=state)


def _path(
    came_from: Mapping[frozenset[_Reader], tuple[frozenset[_Reader], int]], at: frozenset[_Reader]
) -> list[int]:
    symbols: list[int] = []
    while at in came_from:
        at, symbol = came_from[at]
        symbols.insert(0, symbol)
    return symbols


def _two_intents(grammar: Grammar, name: str, sentence: Sequence[int]) -> PhraseError:
    first, *others = (entry for entry in grammar.templates
                      if grammar.reading(entry, sentence) is not None)
    other = next(entry for entry in others if entry.intent != first.intent)
    names = [shown(grammar.intents[entry.intent]) if entry.intent >= 0 else "no intent"
             for entry in (first, other)]
    words = " ".join(grammar.words[symbol] for symbol in sentence)
    return PhraseError(
        f"{name}, line {other.line}: expected every sentence to have one intent, found "
        f"'{shown(words)}' with {names[1]} here and with {names[0]} in line {first.line}")
