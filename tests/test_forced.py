"""Forced alignment of a sentence of a graph, against every alignment that there is."""

from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ee_ref.decode.forced import force_align
from ee_ref.decode.graph import SPREAD, PhraseGraph, relative, search
from ee_ref.errors import ArgumentError

VOCAB, BLANK = 4, 0


def trie(spellings):
    """The graph of label sequences, each with the key of its sentence."""
    nodes = {(): (0, 0)}  # prefix -> (state, sum of the weights up to it)
    prefixes = sorted({labels[:n] for labels in spellings for n in range(1, len(labels) + 1)},
                      key=lambda prefix: (len(prefix), prefix))
    arcs = []
    for prefix in prefixes:
        state, before = nodes[prefix[:-1]]
        total = spellings.get(prefix, before)
        if total < before:
            assume(False)
        nodes[prefix] = len(nodes), total
        arcs.append((state, len(nodes) - 1, prefix[-1], total - before,
                     prefix[-2:-1] == prefix[-1:]))
    source, target, label, weight, after_blank = zip(*sorted(arcs, key=lambda a: (a[0], a[2])))
    final = np.zeros(len(nodes), bool)
    final[[nodes[labels][0] for labels in spellings]] = True
    return PhraseGraph(
        len(nodes), *(np.array(a, np.uint16) for a in (source, target, label)),
        np.array(weight, np.uint64), np.array(after_blank, bool), final, BLANK, VOCAB)


graphs = st.dictionaries(
    st.lists(st.integers(1, VOCAB - 1), min_size=1, max_size=4).map(tuple), st.integers(0, 5),
    min_size=1, max_size=6)


def random_log_probs(frames, seed, labels=VOCAB):
    x = 2 * np.random.default_rng(seed).standard_normal((frames, labels))
    return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)


def spelled(alignment):
    return tuple(label for label, _ in groupby(alignment) if label != BLANK)


def best_alignments(spellings, log_probs, filler=None):
    """key -> (score, label sequences that have it, to rounding), of all alignments of all parts."""
    e = relative(log_probs, trie(spellings))
    found = {}
    frames = len(e)
    for first in range(frames if filler is not None else 1):
        for end in range(first + 1, frames + 1) if filler is not None else (frames,):
            aside = (filler or 0) * ((first > 0) + (end < frames))
            for alignment in product(range(VOCAB), repeat=end - first):
                labels = spelled(alignment)
                if labels in spellings:
                    score = e[np.arange(first, end), alignment].sum() - aside
                    found.setdefault(spellings[labels], []).append((score, labels))
    return {key: (max(ways)[0], {labels for score, labels in ways if score > max(ways)[0] - 1e-4})
            for key, ways in found.items()}


@given(graphs, st.integers(0, 5), st.integers(0, 10**6), st.sampled_from([None, 0.0, 1.5]))
def test_it_is_the_best_of_all_alignments(spellings, frames, seed, filler):
    graph, log_probs = trie(spellings), random_log_probs(frames, seed)
    expected = best_alignments(spellings, log_probs, filler)
    searched = {key: score for score, key in search(graph, log_probs, 8, filler)}
    best = max(searched.values(), default=0)
    near = {key for key, (score, _) in expected.items() if score > best - SPREAD + 1e-3}
    assert near <= searched.keys() <= expected.keys()
    for key in set(spellings.values()):
        if key not in expected:
            with pytest.raises(ArgumentError, match="frames"):
                force_align(graph, key, log_probs, filler)
            continue
        found = force_align(graph, key, log_probs, filler)
        score, ways = expected[key]
        assert found.score == searched.get(key, found.score) == pytest.approx(score, abs=1e-4)
        assert found.tokens in ways
        assert list(found.frames) == sorted(set(found.frames) & set(range(frames)))


def test_a_repeated_label_has_a_blank_between_and_a_frame_is_where_the_label_is_most_probable():
    graph = trie({(1, 1): 0, (2,): 1})
    log_probs = np.full((6, VOCAB), -9.0, np.float32)
    for frame, label in enumerate((0, 1, 1, 0, 1, 0)):
        log_probs[frame, label] = -0.5
    log_probs[2, 1] = -0.1
    found = force_align(graph, 0, log_probs)
    assert found == ((1, 1), 0.0, (2, 4))


@pytest.mark.parametrize("key", [7, -1])
def test_a_key_of_no_sentence(key):
    with pytest.raises(ArgumentError, match=f"key: expected a sentence of the graph, found {key}"):
        force_align(trie({(1,): 0, (1, 2): 6}), key, random_log_probs(5, 0))
