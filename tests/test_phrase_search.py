"""The search over a graph of phrases: against every alignment there is, and C against NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref.decode import graph as graphs
from ee_ref.decode.graph import PhraseGraph, PhraseSearch, search
from ee_ref.errors import ArgumentError
from ee_ref.native import _phrases as native

from .support import spelled


def make_graph(states, arcs, final, vocab, blank=0):
    """A graph of arcs (source, label, target, weight), less those that no graph may have."""
    entered: dict[int, set[int]] = {}
    kept = []
    for source, label, target, weight in sorted(arcs, key=lambda arc: arc[:2]):
        after_blank = label in entered.get(source, ())
        if (after_blank and len(entered[source]) > 1) or (kept and kept[-1][:2] == (source, label)):
            continue
        kept.append((source, label, target, weight, after_blank))
        # A state that asks for a blank already takes no arcs of other labels.
        entered.setdefault(target, set()).add(label)
    asks = {arc[0]: arc[1] for arc in kept if arc[4]}
    kept = [arc for arc in kept if asks.get(arc[2], arc[1]) == arc[1]]
    columns = list(zip(*kept)) or [()] * 5
    return PhraseGraph(
        states, np.array(columns[0], np.uint16), np.array(columns[2], np.uint16),
        np.array(columns[1], np.uint16), np.array(columns[3], np.uint64),
        np.array(columns[4], np.bool_), np.isin(np.arange(states), final), blank, vocab)


def random_graph(rng, states, arcs, vocab, weights, blank=0, ends=2):
    """Any acyclic graph; with few weights, several label sequences are of one sentence."""
    source = rng.integers(0, states - 1, arcs)
    target = source + 1 + rng.integers(0, np.minimum(states - 1 - source, 4))
    labels = [label for label in range(vocab) if label != blank]
    return make_graph(
        states, zip(source.tolist(), rng.choice(labels, arcs).tolist(), target.tolist(),
                    rng.integers(0, weights, arcs, np.uint64).tolist()),
        rng.choice(states, ends), vocab, blank)


def random_log_probs(rng, frames, vocab, sharpness=1.0):
    """(T, V) float32, a few of them minus infinity, and now and then two alike."""
    logits = np.round(rng.normal(0, sharpness, (frames, vocab)) * 4) / 4
    logits[rng.random((frames, vocab)) < 0.05] = -np.inf
    logits[np.arange(frames), rng.integers(0, vocab, frames)] = 0.0
    with np.errstate(divide="ignore"):
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def by_all_alignments(graph, log_probs, n, filler):
    """What `search` returns, from every alignment of every part of the recording."""
    frames, vocab = log_probs.shape
    e = log_probs.astype(np.float64)
    e[:, graph.blank] = graphs.BLANK_WEIGHT * e[:, graph.blank] - graphs.BLANK_COST
    e -= e.max(axis=1, keepdims=True)
    keys = dict(spelled(graph))
    parts = [(0, frames)] if filler is None else [
        (start, end) for start in range(max(frames, 1)) for end in range(start, frames + 1)
        if end > start or frames == 0]
    found: dict[int, float] = {}
    lowest = graphs.lowest(filler)
    for start, end in parts:
        outside = 0.0 if filler is None else filler * ((start > 0) + (end < frames))
        for labels in itertools.product(range(vocab), repeat=end - start):
            runs = tuple(label for label, _ in itertools.groupby(labels) if label != graph.blank)
            if runs in keys:
                scores = np.cumsum([e[start + t, label] for t, label in enumerate(labels)])
                before = 0.0 if filler is None or start == 0 else filler
                if any(score - before < lowest(start + t) for t, score in enumerate(scores, 1)):
                    continue
                score = float(scores[-1] if len(scores) else 0.0) - outside
                found[keys[runs]] = max(score, found.get(keys[runs], -math.inf))
    return sorted(((score, key) for key, score in found.items() if score > -math.inf),
                  key=lambda phrase: (-phrase[0], phrase[1]))[:n]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 4),
       st.none() | st.floats(0, 3), st.sampled_from([1, 2, 50]))
def test_search_finds_the_best_alignments(seed, frames, n, filler, weights):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(2, 7)), 9, 4, weights, int(rng.integers(4)))
    log_probs = random_log_probs(rng, frames, 4)
    expected = by_all_alignments(graph, log_probs, n, filler)
    expected = [phrase for phrase in expected if phrase[0] >= expected[0][0] - graphs.SPREAD]
    found = search(graph, log_probs, n, filler)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected],
                                                          abs=1e-4)
    # Of sentences that are equal but for rounding, any may be first.
    apart = [abs(a - b) > 1e-3 for (a, _), (b, _) in itertools.pairwise(expected)]
    if all(apart):
        assert [key for _, key in found[:-1]] == [key for _, key in expected[:-1]]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 8),
       st.none() | st.floats(0, 3), st.sampled_from([1, 3, 2**40, 2**64 - 1]))
def test_c_gives_the_same_bytes(seed, frames, n, filler, weights):
    rng = np.random.default_rng(seed)
    states = int(rng.integers(2, 40))
    graph = random_graph(rng, states, 3 * states, 6, weights)
    log_probs = random_log_probs(rng, frames, 6, 3.0)
    searches = PhraseSearch(graph, n, filler), native.PhraseSearch(graph, n, filler)
    for part in np.split(log_probs, sorted(rng.integers(0, frames + 1, 3))):
        for one in searches:
            one.feed(part)
        assert searches[0].finish() == searches[1].finish()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 3),
       st.none() | st.floats(0, 9), st.sampled_from([3.0, 10.0, 30.0]))
def test_whole_utterances_drop_only_what_cannot_be_found(seed, frames, n, filler, sharpness):
    rng = np.random.default_rng(seed)
    states = int(rng.integers(2, 120))
    graph = random_graph(rng, states, 3 * states, 9, 2**60, ends=states // 2)
    searched = native.PhraseSearch(graph, n, filler)
    for _ in range(2):  # what was fed before is forgotten
        log_probs = random_log_probs(rng, frames, 9, sharpness)
        assert searched.all(log_probs) == search(graph, log_probs, n, filler)


@pytest.mark.parametrize("kind", [PhraseSearch, native.PhraseSearch])
def test_what_is_no_log_probability_is_refused_and_changes_nothing(kind):
    graph = make_graph(2, [(0, 1, 1, 5)], [1], 3)
    searched = kind(graph)
    searched.feed(np.log(np.array([[0.2, 0.6, 0.2]])))
    before = searched.finish()
    assert before == [(0.0, 5)]
    for rows, message in (
            ([[math.nan, 0, 0]], "NaN"), ([[0.5, 0, 0]], "above 0"),
            ([[-1.0, -1.0]], "expected 3 labels, found 2"),
            ([[-1.0] * 3, [-math.inf] * 3], "none in frame 1"),
            ([-1.0] * 3, "shape")):
        with pytest.raises(ArgumentError, match=message):
            searched.feed(np.array(rows))
        assert searched.finish() == before


@pytest.mark.parametrize("kind", [PhraseSearch, native.PhraseSearch])
@pytest.mark.parametrize("given", [{"n": 0}, {"n": 9}, {"n": 1.5}, {"filler": -1.0},
                                   {"filler": math.nan}, {"filler": math.inf}])
def test_settings_out_of_range_are_refused(kind, given):
    with pytest.raises(ArgumentError, match=f"{next(iter(given))}: expected"):
        kind(make_graph(2, [(0, 1, 1, 5)], [1], 3), **given)


GRAPH = {
    "states": 3, "source": [0, 0, 1], "target": [1, 2, 2], "label": [1, 2, 1],
    "weight": [0, 1, 0], "after_blank": [0, 0, 1], "final": [0, 0, 1], "blank": 0, "vocab": 3,
}


@pytest.mark.parametrize("changed, message", [
    ({"states": 0}, "states: expected an integer in 1..65535, found 0"),
    ({"states": 2, "final": [0, 1]}, "arc 1: expected a target below 2, found 0 -> 2"),
    ({"target": [0, 2, 2]}, "arc 0: expected a source below its target"),
    ({"label": [1, 3, 1]}, "arc 1: expected a label below 3"),
    ({"label": [0, 2, 1]}, "arc 0: .* not the blank 0"),
    ({"label": [2, 1, 1]}, "arc 1: expected an order by source and label"),
    ({"source": [0, 0, 0]}, "arc 2: expected an order"),
    ({"after_blank": [0, 0, 0]}, "arc 2: expected after_blank"),
    ({"after_blank": [0, 1, 1]}, "arc 1: expected after_blank"),
    ({"vocab": 1}, "vocab: expected"),
    ({"blank": 3}, "blank: expected"),
    ({"final": [1, 0]}, r"final: expected \(3,\)"),
    ({"weight": [0, 1]}, r"weight: expected \(3,\)"),
])
def test_a_graph_that_is_none_is_refused(changed, message):
    dtypes = {"weight": np.uint64, "after_blank": np.bool_, "final": np.bool_}
    given = GRAPH | changed
    arrays = {name: np.array(value, dtypes.get(name, np.uint16))
              for name, value in given.items() if isinstance(value, list)}
    with pytest.raises(ArgumentError, match=message):
        PhraseGraph(**(given | arrays))
    good = {name: np.array(value, dtypes.get(name, np.uint16))
            for name, value in GRAPH.items() if isinstance(value, list)}
    assert PhraseGraph(**(GRAPH | good)).arcs == 3


def test_two_labels_into_a_state_that_asks_for_a_blank_are_refused():
    arrays = {"source": [0, 0, 1], "target": [1, 1, 2], "label": [1, 2, 1]}
    with pytest.raises(ArgumentError, match="and 2 labels"):
        PhraseGraph(states=3, weight=np.zeros(3, np.uint64),
                    after_blank=np.array([False, False, True]), final=np.array([0, 0, 1], bool),
                    blank=0, vocab=3, **{k: np.array(v, np.uint16) for k, v in arrays.items()})
