"""Phrase search: the sentences of a graph of labels that fit log-probabilities best.

The specification of kernels/include/ee_phrases.h, byte for byte (docs/numerics.md, "Phrase
search"). A graph says which label sequences may be spoken and which sentence each of them is; a
sentence is a number, its key. The search is CTC's best path, and exact: a score is that of the best
alignment of a sentence, less that of the best path without any graph; only alignments count that
never fall far behind it (`lowest`). In both a blank counts more (`relative`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..checks import check_count, check_number
from ..errors import ArgumentError
from ..ops._exact import flush
from .hypothesis import checked_log_probs

MAX_GRAPH = 65535
"""The most states, and the most arcs."""
MAX_VOCAB = 65536
MAX_N = 8
SPREAD = np.float32(10)
"""How far below the best sentence others are found."""
BLANK_WEIGHT = np.float32(3)
BLANK_COST = np.float32(2)
"""A blank's log-probability is taken BLANK_WEIGHT times, less BLANK_COST. A model that is unsure of
a label gives it to the blank, so that without this a short sentence with few labels to miss would
be found in place of a long one. The weight leaves a blank that is sure what it is."""
LAG = np.float32(32)
LAG_PER_FRAME = np.float32(0.75)
"""How far an alignment may be behind the best path without any graph: LAG, and LAG_PER_FRAME for
each frame so far. What falls further behind is none of the phrases, and is not looked for: speech
that is none would take many times as long as speech that is one."""


@dataclass(frozen=True, eq=False)
class PhraseGraph:
    """An acyclic automaton over the labels of a model; state 0 is its start.

    states: their number S, 1..MAX_GRAPH. source, target, label: (A,) uint16, the arcs, sorted by
    (source, label), no two alike, source < target. weight: (A,) uint64, what an arc adds to the key
    of a sentence; different sentences have different keys. after_blank: (A,) bool, whether an arc
    has the label of the arcs into its source, so that CTC asks for a blank in between; then all
    arcs into that source have this label. final: (S,) bool, where a sentence may end.
    blank, vocab: of the model. The arrays become read-only.

    Raises ArgumentError for anything else.
    """

    states: int
    source: np.ndarray
    target: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    after_blank: np.ndarray
    final: np.ndarray
    blank: int
    vocab: int

    def __post_init__(self) -> None:
        check_count("states", self.states, 1, MAX_GRAPH)
        check_count("vocab", self.vocab, 2, MAX_VOCAB)
        check_count("blank", self.blank, 0, self.vocab - 1)
        arcs = len(self.source)
        check_count("arcs", arcs, 0, MAX_GRAPH)
        for name, dtype, size in (
                ("source", np.uint16, arcs), ("target", np.uint16, arcs),
                ("label", np.uint16, arcs), ("weight", np.uint64, arcs),
                ("after_blank", np.bool_, arcs), ("final", np.bool_, self.states)):
            array = np.array(getattr(self, name))
            if array.shape != (size,) or array.dtype != dtype:
                raise ArgumentError(f"{name}: expected ({size},) of {np.dtype(dtype)}, "
                                    f"found {array.shape} of {array.dtype}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_arcs()

    def _check_arcs(self) -> None:
        source, target, label = (array.astype(np.int64)
                                 for array in (self.source, self.target, self.label))
        order = source * (MAX_GRAPH + 1) + label
        for wrong, expected in (
                (target >= self.states, f"a target below {self.states}"),
                (source >= target, "a source below its target"),
                ((label >= self.vocab) | (label == self.blank),
                 f"a label below {self.vocab} that is not the blank {self.blank}"),
                (np.diff(order, prepend=-1) <= 0, "an order by source and label")):
            if wrong.any():
                a = int(wrong.argmax())
                raise ArgumentError(f"arc {a}: expected {expected}, "
                                    f"found {source[a]} -> {target[a]}, label {label[a]}")
        entered = np.unique(target * (MAX_GRAPH + 1) + label)  # (state, label of an arc into it)
        labels_into = np.bincount(entered // (MAX_GRAPH + 1), minlength=self.states)
        wrong = self.after_blank != np.isin(order, entered)
        wrong |= self.after_blank & (labels_into[source] > 1)
        if wrong.any():
            a = int(wrong.argmax())
            raise ArgumentError(
                f"arc {a}: expected after_blank to say whether its label {label[a]} is that of "
                f"the arcs into state {source[a]}, which have one label then, found "
                f"{bool(self.after_blank[a])} and {labels_into[source[a]]} labels")

    @property
    def arcs(self) -> int:
        return len(self.source)

    @cached_property
    def first(self) -> np.ndarray:
        """(S + 1,) where the arcs of each state begin."""
        return np.searchsorted(self.source, np.arange(self.states + 1))


class _Tokens(NamedTuple):
    """Hypotheses: where each is, its score, float32, and its key so far, uint64.

    Places 0..S-1 are states, reached by a blank or not at all; place S + a is arc a, whose label
    was the last one.
    """

    place: np.ndarray
    score: np.ndarray
    key: np.ndarray

    def at(self, index: np.ndarray) -> _Tokens:
        return _Tokens(self.place[index], self.score[index], self.key[index])

    def best(self, n: int) -> _Tokens:
        """The n best of different keys at each place: first the higher score, then the lower key.

        A score of minus infinity is no token.
        """
        place, score, key = self
        order = np.lexsort((-score, key, place))
        order = order[score[order] > -np.inf]
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(place[order]) != 0) | (np.diff(key[order]) != 0)
        order = order[new]
        order = order[np.lexsort((key[order], -score[order], place[order]))]
        places = place[order]
        rank = np.arange(len(order)) - np.searchsorted(places, places)
        return self.at(order[rank < n])


def _joined(*parts: _Tokens) -> _Tokens:
    return _Tokens(*map(np.concatenate, zip(*parts)))


def _tokens(*tokens: tuple[int, np.float32, int]) -> _Tokens:
    place, score, key = zip(*tokens) if tokens else ((), (), ())
    return _Tokens(np.array(place, np.int64), np.array(score, np.float32),
                   np.array(key, np.uint64))


class PhraseSearch:
    """The n best sentences of a graph, as frames come.

    n: 1..MAX_N. filler: None for a recording that is one sentence; otherwise what it costs, >= 0,
    that something else comes before the sentence, and the same after it.
    """

    def __init__(self, graph: PhraseGraph, n: int = 2, filler: float | None = None):
        check_count("n", n, 1, MAX_N)
        if filler is not None:
            check_number("filler", filler, 0, float(np.finfo(np.float32).max))
        self._graph, self._n = graph, n
        self._filler = None if filler is None else np.float32(filler)
        self._lowest = lowest(filler)
        self._live = _tokens((0, np.float32(0), 0))
        self._found = _tokens()
        self._frames = 0

    def feed(self, log_probs: np.ndarray) -> None:
        """The next frames: (T, V) natural logs, taken as float32; -inf is allowed.

        Raises ArgumentError, and changes nothing, for NaN, values above 0, another V, or a frame
        in which every label is impossible.
        """
        for e in relative(log_probs, self._graph):
            if self._filler is not None and self._frames:
                self._found = self._results(-self._filler)
                start = _tokens((0, -self._filler, 0))
                self._live = _joined(self._live, start).best(self._n)
            self._step(e)
            self._frames += 1

    def finish(self) -> list[tuple[float, int]]:
        """(score, key) of the n best sentences, the best first; none is SPREAD below it.

        As if the last frame fed were the last one; more may be fed after it.
        """
        _, score, key = self._results(np.float32(0))
        near = score >= score.max(initial=-np.inf) - SPREAD
        score, key = score[near], key[near]
        return list(zip(score.tolist(), key.tolist()))

    def _results(self, after: np.float32) -> _Tokens:
        """The best so far, among them those that end now, for `after`. All are at place 0."""
        states = self._at_states(self._live)
        _, score, key = states.at(self._graph.final[states.place])
        ended = _Tokens(np.zeros(len(key), np.int64), score + after, key)
        return _joined(self._found, ended).best(self._n)

    def _at_states(self, tokens: _Tokens) -> _Tokens:
        """M: of each state the best of what stands there or on an arc into it."""
        graph = self._graph
        state = np.concatenate([np.arange(graph.states), graph.target.astype(np.int64)])
        return tokens._replace(place=state[tokens.place]).best(self._n)

    def _step(self, e: np.ndarray) -> None:
        """One frame. e: (V,) of `relative`."""
        graph = self._graph
        states = self._at_states(self._live)
        in_blank = self._live.place < graph.states
        arcs = _joined(self._live.at(~in_blank),
                       self._taken(states, ~graph.after_blank),
                       self._taken(self._live.at(in_blank), graph.after_blank)).best(self._n)
        tokens = _joined(
            states._replace(score=states.score + e[graph.blank]),
            arcs._replace(score=arcs.score + e[graph.label[arcs.place - graph.states]]))
        self._live = tokens.at(tokens.score >= self._lowest(self._frames + 1))

    def _taken(self, tokens: _Tokens, arcs: np.ndarray) -> _Tokens:
        """Tokens at states, each taken over every one of `arcs` (A,) that leaves its state."""
        graph = self._graph
        first = graph.first[tokens.place]
        count = graph.first[tokens.place + 1] - first
        token = np.repeat(np.arange(len(first)), count)
        arc = np.arange(len(token)) + np.repeat(first - np.cumsum(count) + count, count)
        token, arc = token[arcs[arc]], arc[arcs[arc]]
        return _Tokens(graph.states + arc, tokens.score[token],
                       tokens.key[token] + graph.weight[arc])


def lowest(filler: float | None) -> Callable[[int], np.float32]:
    """The score below which an alignment counts for nothing, by the frames so far."""
    aside = np.float32(filler or 0)
    return lambda frames: -(LAG + LAG_PER_FRAME * np.float32(frames)) - aside


def checked_frames(log_probs: np.ndarray, graph: PhraseGraph) -> np.ndarray:
    """Log-probabilities (T, V) as float32, if they are such of the labels of `graph`.

    Raises ArgumentError as `PhraseSearch.feed` does.
    """
    log_probs = checked_log_probs(log_probs, graph.blank).astype(np.float32, copy=False)
    if log_probs.shape[1] != graph.vocab:
        raise ArgumentError(
            f"log-probabilities: expected {graph.vocab} labels, found {log_probs.shape[1]}")
    impossible = (log_probs == -np.inf).all(axis=1)
    if impossible.any():
        raise ArgumentError("log-probabilities: expected a finite one in each frame, found none "
                            f"in frame {int(impossible.argmax())}")
    return log_probs


def relative(log_probs: np.ndarray, graph: PhraseGraph) -> np.ndarray:
    """Log-probabilities (T, V), the blank's BLANK_WEIGHT times and less BLANK_COST, all less the
    highest of their frame.

    Raises ArgumentError as `PhraseSearch.feed` does.
    """
    scores = checked_frames(log_probs, graph).copy()
    scores[:, graph.blank] = BLANK_WEIGHT * scores[:, graph.blank] - BLANK_COST
    return flush(scores - scores.max(axis=1, keepdims=True))


def search(
    graph: PhraseGraph, log_probs: np.ndarray, n: int = 2, filler: float | None = None
) -> list[tuple[float, int]]:
    """`PhraseSearch` of a whole recording, log_probs (T, V): (score, key) of the n best sentences.

    Raises ArgumentError as `PhraseSearch` and its `feed` do.
    """
    found = PhraseSearch(graph, n, filler)
    found.feed(log_probs)
    return found.finish()
