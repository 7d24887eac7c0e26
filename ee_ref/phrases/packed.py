"""The section of a flash image that holds phrases (weights_io/FORMAT.md, "Phrases").

A graph of labels for the search, and automata, a grammar and strings for what a sentence is and
means: what kernels/include/ee_phrases.h reads in place.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..decode.graph import PhraseGraph
from ..errors import ArgumentError, ModelFileError, PhraseError, shown
from .automaton import Automaton, fixed
from .grammar import Entry, Grammar, SlotList
from .phrases import Phrases
from .template import Value

ALIGNMENT = 64
MAX_STRINGS = 0x8000
"""Words, names and values: one bit of 16 tells words from lists, and values that are numbers."""
MAX_TABLE = 0xFFFF
FLAG = 0x8000
_NUMBER = re.compile(r"-?[0-9]{1,18}")
NONE = 0xFFFF
"""In place of an intent."""
MAX_SLOTS = 16
"""Of a sentence: EE_PHRASES_MAX_SLOTS of kernels/include/ee_phrases.h."""

_COUNTS = (
    "vocab", "blank", "states", "arcs", "finals", "weights", "word_states", "word_arcs", "lists",
    "values", "nodes", "links", "calls", "templates", "fixed", "words", "strings", "text")
_HEADER = struct.Struct(f"<{len(_COUNTS)}I4f")
_TABLES = (
    ("weights", "<u8", "weights"),
    ("first", "<u2", "states +"), ("target", "<u2", "arcs"), ("final", "<u2", "finals"),
    ("word_first", "<u2", "word_states +"), ("word_target", "<u2", "word_arcs"),
    ("list_state", "<u2", "lists"), ("list_first", "<u2", "lists +"), ("value", "<u2", "values"),
    ("node_first", "<u2", "nodes +"), ("link_target", "<u2", "links"),
    ("link_symbol", "<u2", "links"), ("call_list", "<u2", "calls"), ("call_slot", "<u2", "calls"),
    ("template_node", "<u2", "templates"), ("template_intent", "<u2", "templates"),
    ("template_fixed", "<u2", "templates +"),
    ("fixed_slot", "<u2", "fixed"), ("fixed_value", "<u2", "fixed"),
    ("label", "vocab", "arcs"), ("weight", "weights", "arcs"), ("word", "words", "word_arcs"),
    ("word_skip", "weights", "word_arcs"),
    ("after_blank", "u1", "arcs /"), ("word_final", "u1", "word_states /"),
    ("node_final", "u1", "nodes /"), ("text", "u1", "text"),
)
"""Name, dtype and size of each table, in their order: a count, one more (+), or bits of it (/).

A count in place of a dtype is what the numbers of a table are below: they have 8 bits where that is
256 or less, with a zero added if they are an odd number, and otherwise 16.
"""


class Packed(NamedTuple):
    """What a section holds. confidence: bias, free, margin and threshold of
    `ee_ref.exits.Confidence`."""

    phrases: Phrases
    graph: PhraseGraph
    confidence: tuple[float, float, float, float]


def pack(phrases: Phrases, graph: PhraseGraph, confidence: Sequence[float]) -> bytes:
    """The bytes of a section, a multiple of 64.

    graph: `phrases.compile` for the model; confidence: see `Packed`. Raises PhraseError for phrases
    with more of anything than 16 bits count, or a template that sets more than MAX_SLOTS slots.
    """
    strings = _Strings(phrases.words)
    grammar = phrases.grammar
    _check_slots(phrases)
    pool = _Pool([phrases.automaton, *(spoken.automaton for spoken in grammar.lists)])
    # A list that fills a slot is a call; of equal ones there is one.
    calls: dict[tuple[int, int], int] = {}
    symbols = [
        int(symbol) if symbol >= 0
        else FLAG | calls.setdefault((~int(symbol), int(slot)), len(calls))
        for symbol, slot in zip(grammar.symbol, grammar.slot)]
    always = [(name, value) for entry in grammar.templates for name, value in entry.slots.items()]
    weights, indices = np.unique(np.concatenate([graph.weight, pool.skip]), return_inverse=True)
    arrays: dict[str, Any] = {
        "weights": weights, "weight": indices[: graph.arcs], "word_skip": indices[graph.arcs :],
        "first": graph.first, "target": graph.target,
        "label": graph.label, "after_blank": _bits(graph.after_blank),
        "final": np.flatnonzero(graph.final),
        "word_first": np.searchsorted(pool.source, np.arange(pool.states + 1)),
        "word_target": pool.target, "word": pool.symbol,
        "word_final": _bits(pool.final),
        "list_state": pool.start[1:],
        "list_first": _ends(len(spoken.values) for spoken in grammar.lists),
        "value": [strings.of(value) for spoken in grammar.lists for value in spoken.values],
        "node_first": np.searchsorted(grammar.source, np.arange(len(grammar.final) + 1)),
        "node_final": _bits(grammar.final),
        "link_target": grammar.target, "link_symbol": symbols,
        "call_list": [spoken for spoken, _ in calls],
        "call_slot": [strings.of(grammar.slots[slot]) for _, slot in calls],
        "template_node": [entry.start for entry in grammar.templates],
        "template_intent": [NONE if entry.intent < 0 else strings.of(grammar.intents[entry.intent])
                            for entry in grammar.templates],
        "template_fixed": _ends(len(entry.slots) for entry in grammar.templates),
        "fixed_slot": [strings.of(name) for name, _ in always],
        "fixed_value": [strings.of(value) for _, value in always],
    }
    arrays["text"] = strings.text()
    counts = {
        "vocab": graph.vocab, "blank": graph.blank, "states": graph.states, "arcs": graph.arcs,
        "finals": len(arrays["final"]), "weights": len(weights), "word_states": pool.states,
        "word_arcs": len(arrays["word"]), "lists": len(grammar.lists),
        "values": len(arrays["value"]), "nodes": len(grammar.final), "links": len(symbols),
        "calls": len(calls), "templates": len(grammar.templates), "fixed": len(always),
        "words": len(phrases.words), "strings": strings.count, "text": len(arrays["text"])}
    for name, count in counts.items():
        limit = MAX_STRINGS if name in ("words", "strings", "calls") else MAX_TABLE
        if count > limit and name != "text":
            raise PhraseError(f"{phrases.name}: a flash image holds at most {limit} of "
                              f"{name}, found {count}")
    tables = b"".join(
        np.asarray(arrays[name], _dtype(dtype, counts)).tobytes().ljust(
            _bytes(dtype, len(arrays[name]), counts), b"\0")
        for name, dtype, _ in _TABLES)
    data = _HEADER.pack(*(counts[name] for name in _COUNTS), *confidence) + tables
    return data.ljust(-(-len(data) // ALIGNMENT) * ALIGNMENT, b"\0")


def _check_slots(phrases: Phrases) -> None:
    """PhraseError for a template that may set more than MAX_SLOTS slots, one set twice counted
    twice."""
    grammar = phrases.grammar
    most = [0] * len(grammar.final)  # slots that are set from a node on
    for source, target, slot in zip(grammar.source[::-1].tolist(), grammar.target[::-1].tolist(),
                                    grammar.slot[::-1].tolist()):
        most[source] = max(most[source], most[target] + (slot >= 0))
    for entry in grammar.templates:
        slots = most[entry.start] + len(entry.slots)
        if slots > MAX_SLOTS:
            raise PhraseError(f"{phrases.name}, line {entry.line}: a flash image holds templates "
                              f"of at most {MAX_SLOTS} slots, found {slots}")


class _Strings:
    """Words, then names and values, each once: their places in the table of strings."""

    def __init__(self, words: Sequence[str]):
        self._texts = list(words)
        self._others: dict[str, int] = {}

    def of(self, value: Value) -> int:
        """The place of a name or value, flagged where it is a number."""
        text = str(value)
        if text not in self._others:
            self._others[text] = len(self._texts)
            self._texts.append(text)
        return self._others[text] | (FLAG if isinstance(value, int) else 0)

    @property
    def count(self) -> int:
        return len(self._texts)

    def text(self) -> np.ndarray:
        """All strings, a zero byte after each."""
        for text in self._texts:
            if "\0" in text:
                raise PhraseError(f"expected names and values without a zero byte, found {text!r}")
        return np.frombuffer("".join(f"{text}\0" for text in self._texts).encode(), np.uint8)


class _Pool:
    """Automata side by side: `start`, the state at which each begins, and their columns."""

    def __init__(self, automata: Sequence[Automaton]):
        *start, self.states = _ends(len(automaton.final) for automaton in automata).tolist()
        self.start = start
        self.source = np.concatenate([a.source + at for a, at in zip(automata, start)])
        self.target = np.concatenate([a.target + at for a, at in zip(automata, start)])
        self.symbol = np.concatenate([a.symbol for a in automata])
        self.skip = np.concatenate([a.skip for a in automata])
        self.final = np.concatenate([a.final for a in automata])


def _bits(flags: np.ndarray) -> np.ndarray:
    return np.packbits(flags, bitorder="little")


def _dtype(dtype: str, counts: Mapping[str, int]) -> np.dtype:
    """Of a table in `_TABLES`."""
    if dtype in counts:
        dtype = "u1" if counts[dtype] <= 256 else "<u2"
    return np.dtype(dtype)


def _size(counts: Mapping[str, int], count: str, kind: str = "") -> int:
    """How many numbers a table in `_TABLES` has."""
    size = counts[count]
    return size + 1 if kind == "+" else -(-size // 8) if kind == "/" else size


def _bytes(dtype: str, size: int, counts: Mapping[str, int]) -> int:
    """Of a table of so many numbers."""
    count = size * _dtype(dtype, counts).itemsize
    return count + (count % 2 if dtype in counts else 0)


def _ends(sizes: Iterable[int]) -> np.ndarray:
    """Where each of several parts begins, and where the last one ends."""
    return np.cumsum([0, *sizes])


# ---- Reading ----


def parse(data: bytes, name: str = "phrases") -> Packed:
    """What a section holds; everything in it is checked.

    name: of the file, for messages. Raises ModelFileError.
    """
    try:
        return _Reader(data, name).packed()
    except ArgumentError as error:
        raise ModelFileError(f"{name}: {error}") from None


class _Reader:
    """The tables of a section by their names, and what they say."""

    def __init__(self, data: bytes, name: str):
        self._name = name
        self._expect(len(data) >= _HEADER.size, f"{_HEADER.size} bytes or more", len(data))
        *counts, bias, free, margin, threshold = _HEADER.unpack_from(data)
        self.confidence = bias, free, margin, threshold
        self.counts = dict(zip(_COUNTS, counts))
        self.tables: dict[str, np.ndarray] = {}
        at = _HEADER.size
        for table, dtype, size in _TABLES:
            count = _size(self.counts, *size.split())
            end = at + _bytes(dtype, count, self.counts)
            self._expect(end <= len(data), f"{end} bytes up to the end of {table}", len(data))
            self.tables[table] = np.frombuffer(data, _dtype(dtype, self.counts), count, at)
            at = end
        whole = -(-at // ALIGNMENT) * ALIGNMENT
        self._expect(len(data) == whole and not any(data[at:]),
                     f"{whole} bytes, zeros from {at} on", len(data))

    def _expect(self, condition: bool, expected: str, found: object) -> None:
        if not condition:
            raise ModelFileError(f"{self._name}: expected {expected}, found {found}")

    def _below(self, table: str, limit: int, mask: int = 0xFFFF) -> list[int]:
        """A table whose numbers, but for bits that `mask` lacks, are less than a limit."""
        numbers = self.tables[table].astype(np.int64)
        highest = int((numbers & mask).max(initial=0))
        self._expect(not len(numbers) or highest < limit, f"{table} below {limit}", highest)
        return numbers.tolist()

    def _rising(self, table: str, last: int) -> list[int]:
        """A table of places from 0 to `last`."""
        numbers = self.tables[table].astype(np.int64)
        right = (numbers[0], numbers[-1]) == (0, last) and bool((np.diff(numbers) >= 0).all())
        self._expect(right, f"{table} to rise from 0 to {last}", f"{numbers[0]} to {numbers[-1]}")
        return numbers.tolist()

    def _bits(self, table: str, count: int) -> np.ndarray:
        return np.unpackbits(self.tables[table], count=count, bitorder="little").astype(np.bool_)

    def _sources(self, table: str, target: str, arcs: int) -> np.ndarray:
        """The state that each arc leaves; arcs lead to later ones."""
        first = self._rising(table, arcs)
        source = np.repeat(np.arange(len(first) - 1), np.diff(first))
        self._below(target, len(first) - 1)
        self._expect(bool((source < self.tables[target]).all()), f"{target} behind the source",
                     "one that is not")
        return source

    def packed(self) -> Packed:
        graph, strings = self._graph(), self._strings()
        words = strings[: self.counts["words"]]
        starts = [0, *self._below("list_state", self.counts["word_states"])]
        ends = [*starts[1:], self.counts["word_states"]]
        self._expect(starts == sorted(set(starts)), "list_state to rise", starts[1:])
        source = self._sources("word_first", "word_target", self.counts["word_arcs"])
        self._below("word", self.counts["words"])
        self._below("word_skip", self.counts["weights"])
        automata = [self._automaton(source, *range_) for range_ in zip(starts, ends)]
        longest = np.zeros(graph.states, object)  # the largest key
        for at in range(graph.arcs):
            key = longest[graph.source[at]] + int(graph.weight[at])
            longest[graph.target[at]] = max(longest[graph.target[at]], key)
        self._expect(longest.max() < automata[0].count,
                     f"keys of {automata[0].count} sentences", longest.max())
        grammar = self._grammar(strings, automata[1:])
        phrases = Phrases(self._name, automata[0], grammar, (0,) * len(words))
        return Packed(phrases, graph, self.confidence)

    def _graph(self) -> PhraseGraph:
        counts, tables = self.counts, self.tables
        source = self._sources("first", "target", counts["arcs"])
        self._below("weight", counts["weights"])
        final = self._below("final", counts["states"])
        self._expect(final == sorted(set(final)), "final to rise", final)
        return PhraseGraph(
            counts["states"], source.astype(np.uint16), tables["target"],
            tables["label"].astype(np.uint16),
            tables["weights"].astype(np.uint64)[tables["weight"]],
            self._bits("after_blank", counts["arcs"]),
            np.isin(np.arange(counts["states"]), final), counts["blank"], counts["vocab"])

    def _strings(self) -> list[str]:
        *texts, rest = self.tables["text"].tobytes().split(b"\0")
        self._expect(not rest and len(texts) == self.counts["strings"],
                     f"{self.counts['strings']} strings with a zero byte each", len(texts))
        self._expect(self.counts["words"] <= len(texts) <= MAX_STRINGS,
                     f"{self.counts['words']}..{MAX_STRINGS} strings", len(texts))
        try:
            return [text.decode() for text in texts]
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{self._name}: expected UTF-8: {error}") from None

    def _values(self, table: str, strings: Sequence[str]) -> list[Value]:
        """What the numbers of strings in a table stand for."""
        values: list[Value] = []
        for number in self._below(table, len(strings), FLAG - 1):
            text = strings[number & (FLAG - 1)]
            if number & FLAG:
                self._expect(_NUMBER.fullmatch(text) is not None, "a number", shown(text))
            values.append(int(text) if number & FLAG else text)
        return values

    def _automaton(self, source: np.ndarray, start: int, end: int) -> Automaton:
        """That of the states start..end-1, numbered as it says."""
        arcs = slice(*np.searchsorted(source, [start, end]))
        target = self.tables["word_target"][arcs].astype(np.int64)
        word, source = self.tables["word"][arcs].astype(np.int64), source[arcs]
        skip = self.tables["weights"].astype(np.uint64)[self.tables["word_skip"][arcs]]
        final = self._bits("word_final", self.counts["word_states"])[start:end]
        self._expect(bool((target < end).all()), f"word_target below {end}", "another")
        order = source * MAX_STRINGS + word
        self._expect(bool((np.diff(order) > 0).all()), "arcs by increasing word", "others")
        # From the last state to the first, how many sequences each continues.
        counts = final.astype(object)
        before = [0] * len(target)
        for state in range(end - start - 1, -1, -1):
            for at in range(*np.searchsorted(source, [start + state, start + state + 1])):
                before[at] = int(counts[state])
                counts[state] += counts[target[at] - start]
        self._expect(skip.tolist() == before, "word_skip to count sequences", "other numbers")
        return Automaton(
            source=fixed(source - start, np.uint32), target=fixed(target - start, np.uint32),
            symbol=fixed(word, np.uint32), skip=fixed(skip, np.uint64),
            final=fixed(final, np.bool_), count=int(counts[0]))

    def _grammar(self, strings: Sequence[str], automata: Sequence[Automaton]) -> Grammar:
        counts, tables = self.counts, self.tables
        values = self._values("value", strings)
        first = self._rising("list_first", counts["values"])
        for automaton, begin, end in zip(automata, first, first[1:]):
            self._expect(automaton.count == end - begin, f"a value for each of {automaton.count} "
                         "sequences of a list", end - begin)
        source = self._sources("node_first", "link_target", counts["links"])
        symbols = np.array(tables["link_symbol"], np.int64)
        calls = np.maximum(symbols - FLAG, 0) * (symbols >= FLAG)
        self._expect(bool((symbols[symbols < FLAG] < counts["words"]).all())
                     and bool((calls < max(counts["calls"], 1)).all())
                     and not (counts["calls"] == 0 and bool((symbols >= FLAG).any())),
                     "link_symbol to name words and calls", "others")
        self._below("call_list", counts["lists"])
        slot = self._below("call_slot", len(strings))
        names = sorted(set(slot))
        intents = sorted(set(tables["template_intent"].tolist()) - {NONE})
        self._expect(not intents or intents[-1] < len(strings),
                     f"template_intent below {len(strings)}", intents[-1:])
        called = symbols >= FLAG
        listed = np.zeros(len(symbols), np.int64)
        slots = np.full(len(symbols), -1)
        if called.any():
            listed[called] = tables["call_list"][calls[called]]
            slots[called] = np.searchsorted(names, np.array(slot)[calls[called]])
        fixed_slot = self._below("fixed_slot", len(strings))
        fixed_value = self._values("fixed_value", strings)
        ends = self._rising("template_fixed", counts["fixed"])
        entries = [
            Entry(node, -1 if intent == NONE else intents.index(intent), {
                strings[name]: value
                for name, value in zip(fixed_slot[begin:end], fixed_value[begin:end])}, 0)
            for node, intent, begin, end in zip(
                self._below("template_node", counts["nodes"]), tables["template_intent"].tolist(),
                ends, ends[1:])]
        return Grammar(
            words=tuple(strings[: counts["words"]]),
            lists=tuple(SlotList(automaton, tuple(values[begin:end]), 0)
                        for automaton, begin, end in zip(automata, first, first[1:])),
            source=fixed(source, np.int32), target=fixed(tables["link_target"], np.int32),
            symbol=fixed(np.where(called, ~listed, symbols), np.int32),
            slot=fixed(slots, np.int32),
            final=fixed(self._bits("node_final", counts["nodes"]), np.bool_),
            templates=tuple(entries), intents=tuple(strings[intent] for intent in intents),
            slots=tuple(strings[name] for name in names))
