"""CTC decoding against enumeration of all alignments and an independent forward algorithm."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref.decode import Hypothesis, beam_search, greedy, token_confidences
from ee_ref.errors import ArgumentError

EVERYTHING = 10_000  # a beam that drops no prefix of the tiny inputs here


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def random_log_probs(frames, labels, seed, sharpness=2.0):
    x = np.random.default_rng(seed).standard_normal((frames, labels)) * sharpness
    return log_softmax(x).astype(np.float32)


def collapse(labels, blank):
    return tuple(label for label, _ in itertools.groupby(labels) if label != blank)


def enumerated(log_probs, blank):
    """tokens -> (probability, best single alignment) over all V**T alignments."""
    frames, labels = log_probs.shape
    total, best = defaultdict(float), {}
    for alignment in itertools.product(range(labels), repeat=frames):
        probability = math.exp(sum(float(log_probs[t, v]) for t, v in enumerate(alignment)))
        tokens = collapse(alignment, blank)
        total[tokens] += probability
        if probability > best.get(tokens, (-1,))[0]:
            best[tokens] = (probability, alignment)
    return total, best


def forward(log_probs, tokens, blank):
    """log p(tokens) by the CTC forward algorithm (Graves et al. 2006, section 4.1), in float64."""
    extended = [blank]
    for token in tokens:
        extended += [token, blank]
    alpha = [-np.inf] * len(extended)
    for t, row in enumerate(np.asarray(log_probs, np.float64)):
        before = alpha if t else [0.0] + [-np.inf] * (len(extended) - 1)
        alpha = []
        for s, label in enumerate(extended):
            total = before[s]
            if t == 0 and s == 1:
                total = 0.0
            if t and s >= 1:
                total = np.logaddexp(total, before[s - 1])
            if t and s >= 2 and label != blank and label != extended[s - 2]:
                total = np.logaddexp(total, before[s - 2])
            alpha.append(total + row[label])
    return np.logaddexp(alpha[-1], alpha[-2]) if len(extended) > 1 else alpha[-1]


def emission_frames(log_probs, alignment, blank):
    """First most probable frame of every run of a token."""
    frames, start = [], 0
    for label, run in itertools.groupby(alignment):
        length = len(list(run))
        if label != blank:
            frames.append(start + int(log_probs[start : start + length, label].argmax()))
        start += length
    return tuple(frames)


@st.composite
def tiny(draw, max_frames=5, max_labels=3):
    """(log_probs, blank): few enough alignments to enumerate, some labels impossible."""
    frames = draw(st.integers(1, max_frames))
    labels = draw(st.integers(2, max_labels))
    x = draw(st.lists(st.floats(-4, 4), min_size=frames * labels, max_size=frames * labels))
    log_probs = log_softmax(np.reshape(x, (frames, labels))).astype(np.float32)
    log_probs[:, 1:][draw(st.lists(st.booleans(), min_size=frames * (labels - 1),
                                   max_size=frames * (labels - 1)).map(
        lambda flags: np.reshape(flags, (frames, labels - 1))))] = -np.inf
    permutation = draw(st.permutations(range(labels)))
    return log_probs[:, permutation], draw(st.integers(0, labels - 1))


@settings(deadline=None, max_examples=150)
@given(tiny())
def test_wide_beam_is_exact(case):
    log_probs, blank = case
    totals, best = enumerated(log_probs, blank)
    found = beam_search(log_probs, EVERYTHING, EVERYTHING, blank)
    possible = {tokens for tokens, probability in totals.items() if probability > 0}
    if not possible:
        assert found == [Hypothesis((), -math.inf, ())]
        return
    assert {hypothesis.tokens for hypothesis in found} == possible
    assert len(found) == len(possible)
    for tokens, score, frames in found:
        assert score == pytest.approx(math.log(totals[tokens]), abs=1e-9)
        assert len(frames) == len(tokens)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 3), st.data())
def test_frames_are_those_of_the_best_alignment(seed, frames, labels, data):
    blank = data.draw(st.integers(0, labels - 1))
    log_probs = random_log_probs(frames, labels, seed)  # no ties: one best alignment
    _, best = enumerated(log_probs, blank)
    for hypothesis in beam_search(log_probs, EVERYTHING, EVERYTHING, blank):
        alignment = best[hypothesis.tokens][1]
        assert hypothesis.frames == emission_frames(log_probs, alignment, blank)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(2, 6), st.integers(1, 8), st.data())
def test_pruned_scores_are_lower_bounds(seed, frames, labels, beam_width, data):
    blank = data.draw(st.integers(0, labels - 1))
    log_probs = random_log_probs(frames, labels, seed)
    found = beam_search(log_probs, beam_width, beam_width, blank)
    assert 1 <= len(found) <= beam_width
    assert len({hypothesis.tokens for hypothesis in found}) == len(found)
    assert sum(math.exp(hypothesis.score) for hypothesis in found) <= 1 + 1e-5
    for hypothesis in found:
        exact = forward(log_probs, hypothesis.tokens, blank) if frames else 0.0
        assert hypothesis.score <= exact + 1e-9
        assert blank not in hypothesis.tokens
        assert list(hypothesis.frames) == sorted(set(hypothesis.frames))
        assert all(0 <= frame < frames for frame in hypothesis.frames)


def test_score_is_the_ctc_likelihood():
    log_probs = random_log_probs(8, 4, seed=5)
    found = beam_search(log_probs, EVERYTHING, EVERYTHING)
    assert sum(math.exp(hypothesis.score) for hypothesis in found) == pytest.approx(1.0, abs=1e-5)
    for hypothesis in found[:200]:
        exact = forward(log_probs, hypothesis.tokens, 0)
        assert hypothesis.score == pytest.approx(exact, abs=1e-9)


def test_score_of_a_long_utterance_is_near_the_ctc_likelihood():
    """What a narrow beam drops of 200 frames as sharp as a trained model's hardly shows."""
    log_probs = random_log_probs(200, 50, seed=5, sharpness=12.0)
    best = beam_search(log_probs)[0]
    assert best.score == pytest.approx(forward(log_probs, best.tokens, 0), abs=0.05)
    assert best.score > greedy(log_probs).score


def test_adds_alignments_where_the_best_single_one_is_another():
    """Graves' example: blank blank is the best path (0.36), and "1" more probable (0.64)."""
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert greedy(log_probs).tokens == ()
    best = beam_search(log_probs, n_best=2)
    assert [hypothesis.tokens for hypothesis in best] == [(1,), ()]
    assert math.exp(best[0].score) == pytest.approx(0.64)
    assert math.exp(best[1].score) == pytest.approx(0.36)


def test_a_prefix_that_left_the_beam_and_came_back_still_merges():
    """Here 2 1 2 leaves the beam while 2 1 2 1 stays, comes back, and grows into it."""
    probabilities = np.array([
        [0.02, 0.05, 0.93], [0.97, 0.00, 0.03], [1.00, 0.00, 0.00], [0.04, 0.87, 0.10],
        [0.00, 0.93, 0.07], [0.00, 1.00, 0.00], [0.00, 0.63, 0.37], [0.76, 0.15, 0.09],
    ])
    with np.errstate(divide="ignore"):
        log_probs = np.log(probabilities / probabilities.sum(axis=1, keepdims=True))
    found = [hypothesis.tokens for hypothesis in beam_search(log_probs, 6, 6)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("blank", [0, 2, 4])
def test_greedy_is_the_collapsed_argmax(blank):
    for seed in range(50):
        log_probs = random_log_probs(20, 5, seed)
        alignment = log_probs.argmax(axis=1)
        found = greedy(log_probs, blank)
        assert found.tokens == collapse(alignment.tolist(), blank)
        assert found.frames == emission_frames(log_probs, alignment, blank)
        assert found.score == pytest.approx(float(log_probs.max(axis=1).sum(dtype=np.float64)))


def test_greedy_takes_the_first_frame_of_equals_and_the_lower_label():
    log_probs = np.log([[0.2, 0.4, 0.4], [0.2, 0.4, 0.4], [0.6, 0.2, 0.2], [0.1, 0.4, 0.5]])
    assert greedy(log_probs)[::2] == ((1, 2), (0, 3))


def test_repeats_need_a_blank_between_them():
    def spell(*labels):
        return log_softmax(10 * np.eye(3)[list(labels)])

    for decode in (greedy, lambda log_probs: beam_search(log_probs)[0]):
        assert decode(spell(1, 1, 2))[::2] == ((1, 2), (0, 2))
        assert decode(spell(1, 0, 1, 1))[::2] == ((1, 1), (0, 2))
        assert decode(spell(0, 0)).tokens == ()


@pytest.mark.parametrize("seed", range(20))
def test_one_label_a_frame_is_greedy(seed):
    log_probs = random_log_probs(30, 6, seed)
    for pruning in ({"top_tokens": 1}, {"token_threshold": 0.0}):
        found = beam_search(log_probs, **pruning)
        assert len(found) == 1
        assert found[0].tokens == greedy(log_probs).tokens
        assert found[0].frames == greedy(log_probs).frames
        assert found[0].score == pytest.approx(greedy(log_probs).score)


def test_pruning_that_prunes_nothing():
    log_probs = random_log_probs(15, 6, 3)
    expected = beam_search(log_probs, 8, 8)
    assert beam_search(log_probs, 8, 8, token_threshold=1e9, top_tokens=6) == expected
    assert beam_search(log_probs, 8, 8, token_threshold=math.inf, top_tokens=99) == expected


def test_pruned_labels_count_as_impossible():
    log_probs = random_log_probs(12, 6, 4)
    masked = np.where(log_probs >= log_probs.max(axis=1, keepdims=True) - 1.5, log_probs, -np.inf)
    assert beam_search(log_probs, 9, 9, token_threshold=1.5) == beam_search(masked, 9, 9)


def test_preselection_of_labels_is_exact():
    """Only beam_width + 1 labels of a frame are looked at; a plain search over all agrees."""

    def plain(log_probs, beam_width):
        beam = {(): (0.0, -math.inf)}
        for row in log_probs.astype(np.float64):
            following = defaultdict(lambda: (-math.inf, -math.inf))

            def add(prefix, column, value):
                pair = list(following[prefix])
                pair[column] = np.logaddexp(pair[column], value)
                following[prefix] = tuple(pair)

            for prefix, (in_blank, in_token) in beam.items():
                total = np.logaddexp(in_blank, in_token)
                add(prefix, 0, total + row[0])
                if prefix:
                    add(prefix, 1, in_token + row[prefix[-1]])
                for token in range(1, len(row)):
                    source = in_blank if prefix and token == prefix[-1] else total
                    add(prefix + (token,), 1, source + row[token])
            ranked = sorted(following.items(), key=lambda item: -np.logaddexp(*item[1]))
            beam = dict(ranked[:beam_width])
        return [(prefix, np.logaddexp(*pair)) for prefix, pair in beam.items()]

    for seed, beam_width in itertools.product(range(6), (1, 2, 5)):
        log_probs = random_log_probs(12, 25, seed, sharpness=0.8)
        found = beam_search(log_probs, beam_width, beam_width)
        expected = plain(log_probs, beam_width)
        assert [hypothesis.tokens for hypothesis in found] == [tokens for tokens, _ in expected]
        np.testing.assert_allclose([h.score for h in found], [score for _, score in expected])


def test_preselection_looks_past_the_last_token():
    """The most probable label repeats the last token, and the next one wins with a beam of 1."""
    log_probs = np.log([[0.04, 0.90, 0.06], [0.50, 0.49, 0.01], [0.02, 0.50, 0.48]])
    assert beam_search(log_probs, 1)[0].tokens == (1, 2)


def test_blank_anywhere():
    log_probs = random_log_probs(12, 5, 7)
    order = np.array([1, 2, 3, 0, 4])  # label 0, the blank, moves to 3
    for plain, moved in zip(beam_search(log_probs, 20, 20),
                            beam_search(log_probs[:, order], 20, 20, blank=3)):
        assert tuple(order[list(moved.tokens)]) == plain.tokens
        assert moved.score == pytest.approx(plain.score)
        assert moved.frames == plain.frames


def test_ties_are_broken_the_same_way_every_time():
    log_probs = np.full((4, 5), math.log(0.2))
    expected = beam_search(log_probs, 6, 6)
    assert all(beam_search(log_probs, 6, 6) == expected for _ in range(3))
    assert [h.tokens for h in beam_search(log_probs[:1], 5, 5)] == [(), (1,), (2,), (3,), (4,)]


def test_no_frames():
    empty = np.zeros((0, 4), np.float32)
    assert greedy(empty) == Hypothesis((), 0.0, ())
    assert beam_search(empty, n_best=3) == [Hypothesis((), 0.0, ())]
    assert token_confidences(empty, greedy(empty)) == ()


def test_impossible_labels_and_frames():
    log_probs = random_log_probs(10, 5, 1)
    log_probs[:, 3] = -np.inf
    for hypothesis in [greedy(log_probs), *beam_search(log_probs, 10, 10)]:
        assert 3 not in hypothesis.tokens and math.isfinite(hypothesis.score)
    log_probs[4] = -np.inf
    assert greedy(log_probs).score == -math.inf
    assert beam_search(log_probs, 10, 10) == [Hypothesis((), -math.inf, ())]


def test_results_are_plain_python():
    log_probs = random_log_probs(10, 5, 1)
    for tokens, score, frames in (greedy(log_probs), beam_search(log_probs)[0]):
        assert all(type(value) is int for value in tokens + frames)
        assert type(score) is float


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0])
@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_values_that_are_no_log_probabilities(decode, bad):
    log_probs = random_log_probs(4, 3, 0)
    log_probs[2, 1] = bad
    with pytest.raises(ArgumentError, match=f"NaN or above 0, found a maximum of {bad}"):
        decode(log_probs)


@pytest.mark.parametrize("decode", [greedy, beam_search])
@pytest.mark.parametrize("log_probs", [np.zeros(3), np.zeros((1, 2, 3)), np.zeros((2, 3), int)])
def test_arrays_that_are_no_log_probabilities(decode, log_probs):
    with pytest.raises(ArgumentError, match="shape"):
        decode(log_probs)


@pytest.mark.parametrize("arguments", [
    {"beam_width": 0}, {"beam_width": 2.0}, {"n_best": 0}, {"n_best": 11}, {"blank": -1},
    {"blank": 3}, {"blank": True}, {"token_threshold": -0.1}, {"token_threshold": math.nan},
    {"top_tokens": 0},
])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        beam_search(random_log_probs(4, 3, 0), **arguments)


def test_greedy_blank_out_of_range():
    with pytest.raises(ArgumentError, match="blank.*0..2.*3"):
        greedy(random_log_probs(4, 3, 0), blank=3)


def test_confidence_is_the_probability_at_the_emission_frame():
    log_probs = np.log([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.5, 0.5]])
    found = greedy(log_probs)
    assert found.frames == (0,)
    assert token_confidences(log_probs, found) == pytest.approx((0.9,))
    above_one = np.array([[-20, 1e-4]])
    assert token_confidences(above_one, greedy(above_one)) == (1.0,)


@pytest.mark.parametrize("hypothesis", [
    Hypothesis((1,), 0.0, (4,)), Hypothesis((3,), 0.0, (0,)), Hypothesis((1,), 0.0, (-1,)),
    Hypothesis((1, 2), 0.0, (0,)),
])
def test_confidences_of_a_hypothesis_of_something_else(hypothesis):
    with pytest.raises(ArgumentError, match="expected"):
        token_confidences(random_log_probs(4, 3, 0), hypothesis)
