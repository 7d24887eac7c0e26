"""Forced alignment: where in a recording the labels of a known sentence are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError
from .graph import PhraseGraph, relative
from .hypothesis import Hypothesis


def force_align(
    graph: PhraseGraph, key: int, log_probs: np.ndarray, filler: float | None = None
) -> Hypothesis:
    """The best alignment of one sentence of a graph, in the best of its spellings.

    key: of the sentence; log_probs: (T, V); filler: all as in `decode.graph.search`, and the score
    is the one that it gives this sentence. Raises ArgumentError as it does, for a key of no
    sentence, and for a sentence that does not fit into so few frames.
    """
    places = _places(graph, key)
    scored = relative(log_probs, graph)
    frames, rows = len(scored), np.arange(len(places.label))
    aside = np.float32(-np.inf if filler is None else -filler)  # something else before, or after
    scores = np.full(len(rows) + 1, -np.inf, np.float32)  # the last one is of no place at all
    path = np.empty((frames, len(rows)), np.intp)
    begins = np.zeros(frames, bool)  # whether place 0 is better entered with this frame
    ends, last = np.empty(frames, np.float32), np.empty(frames, np.intp)
    for t, e in enumerate(scored):
        begin = aside if t else np.float32(0)
        begins[t] = scores[0] < begin
        scores[0] = max(scores[0], begin)
        path[t] = places.before[rows, scores[places.before].argmax(axis=1)]
        scores[:-1] = scores[path[t]] + e[places.label]
        last[t] = places.last[scores[places.last].argmax()]
        ends[t] = scores[last[t]]
    ends[:-1] += aside
    if not frames or ends.max() == -np.inf:
        raise ArgumentError(f"sentence {key}: expected frames enough for it, found {frames}")
    t = frames - 1 - int(ends[::-1].argmax())
    trail = list(_walked_back(path, begins, t, int(last[t])))[::-1]
    tokens, emissions = [], []
    for place, run in groupby(trail, key=lambda step: step[1]):
        label = int(places.label[place])
        if label != graph.blank:
            tokens.append(label)
            emissions.append(max((t for t, _ in run), key=lambda t: log_probs[t, label]))
    return Hypothesis(tuple(tokens), float(ends.max()), tuple(emissions))


def _walked_back(path: np.ndarray, begins: np.ndarray, t: int, place: int
                 ) -> Iterator[tuple[int, int]]:
    """(frame, place), from the last one to the first one."""
    while True:
        yield t, place
        place = int(path[t, place])
        if place == 0 and begins[t]:
            return
        t -= 1


class _Places(NamedTuple):
    """Where an alignment of a sentence may be: in a label of one of its spellings, or in a blank.

    label: (P,) of each place; place 0 is the blank at the start. before: (P, K) the places that may
    come a frame earlier, the place itself among them; P is no place. last: those that end it.
    """

    label: np.ndarray
    before: np.ndarray
    last: np.ndarray


def _places(graph: PhraseGraph, key: int) -> _Places:
    """Those of the paths of a graph whose weights add up to `key`.

    A node is a state together with the sum of the weights up to it.
    """
    source, target, label, weight = (
        array.tolist() for array in (graph.source, graph.target, graph.label, graph.weight))
    final, first = graph.final.tolist(), graph.first.tolist()
    # The least and the most that can be added from a state on; None where no sentence ends.
    rest: list[tuple[int, int] | None] = [(0, 0) if ends else None for ends in final]
    for arc in reversed(range(graph.arcs)):
        onward, here = rest[target[arc]], rest[source[arc]]
        if onward is not None:
            low, high = onward[0] + weight[arc], onward[1] + weight[arc]
            rest[source[arc]] = (low, high) if here is None else (
                min(low, here[0]), max(high, here[1]))

    def within(state: int, total: int) -> bool:
        bounds = rest[state]
        return bounds is not None and bounds[0] <= key - total <= bounds[1]

    reached: list[set[int]] = [set() for _ in range(graph.states)]
    reached[0] = {0} if within(0, 0) else set()
    steps = []  # (node, arc, node)
    for state in range(graph.states):
        for total in sorted(reached[state]):
            for arc in range(first[state], first[state + 1]):
                after = total + weight[arc]
                if within(target[arc], after):
                    reached[target[arc]].add(after)
                    steps.append(((state, total), arc, (target[arc], after)))
    useful = {(state, key) for state in range(graph.states) if final[state]
              and key in reached[state]}
    ends = set(useful)
    kept = []
    for step in reversed(steps):
        if step[2] in useful:
            useful.add(step[0])
            kept.append(step)
    if not ends:
        raise ArgumentError(f"key: expected a sentence of the graph, found {key}")
    # Blanks first, that of the start as place 0, then labels.
    blank = {node: place for place, node in enumerate(sorted(useful))}
    into: dict[tuple[int, int], list[tuple[int, int]]] = {node: [] for node in blank}
    for place, (_, arc, node) in enumerate(reversed(kept), start=len(blank)):
        into[node].append((place, label[arc]))
    labels = [graph.blank] * len(blank)
    before = [[place, *(p for p, _ in into[node])] for node, place in blank.items()]
    for place, (node, arc, _) in enumerate(reversed(kept), start=len(blank)):
        labels.append(label[arc])
        before.append([place, blank[node], *(p for p, other in into[node] if other != label[arc])])
    last = [p for node in ends for p in (blank[node], *(p for p, _ in into[node]))]
    width = max(map(len, before))
    return _Places(np.array(labels), np.array([row + [len(labels)] * (width - len(row))
                                               for row in before]), np.array(sorted(last)))
