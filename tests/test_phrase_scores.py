"""How sure the best phrase is, and the rule that goes by it: formulas, C, bad arguments."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import exits
from ee_ref.errors import ArgumentError
from ee_ref.exits import Confidence, Phrase, PhraseScores, phrase_scores
from ee_ref.exits.policy import Course

single = st.floats(-1e6, 0, width=32, allow_subnormal=False)
confidences = st.builds(
    Confidence, st.floats(-50, 50, width=32), st.floats(0, 50, width=32),
    st.floats(0, 50, width=32), st.floats(0, 1, width=32))
searches = st.lists(single, max_size=3).map(lambda scores: sorted(scores, reverse=True))


def test_scores_are_their_formulas():
    found = phrase_scores([-16.0, -17.5], 16, Confidence(1.0, 2.0, 0.25, 0.5))
    odds = 1 + 2 * -0.5 + 0.25 * 1.5
    assert found == (-0.5, 1.5, pytest.approx(1 / (1 + math.exp(-odds)), rel=1e-6))
    assert phrase_scores([-3.0, -90.0], 6).margin == phrase_scores([-3.0], 6).margin == 10
    assert phrase_scores([], 0) == (-math.inf, 0, 0)


@given(searches, st.integers(1, 300), confidences)
def test_more_certain_is_never_less_confident(found, letters, confidence):
    scores = phrase_scores(found, letters, confidence)
    assert 0 <= scores.confidence <= 1
    if found:
        surer = phrase_scores([found[0] / 2, *(s - 1 for s in found[1:])], letters, confidence)
        assert surer.confidence >= scores.confidence
        assert np.float32(scores.confidence) == 0 or scores.confidence > 1e-38  # not subnormal


@pytest.mark.usefixtures("native_library")
@given(searches, st.integers(1, 300), confidences)
def test_scores_in_c_are_the_same_bytes(found, letters, confidence):
    from tests.firmware import exits as firmware

    scores = phrase_scores(found, letters, confidence)
    in_c, accepted = firmware.phrase_judge(confidence, found, letters)
    assert in_c == scores
    assert accepted == (bool(found) and scores.confidence >= confidence.threshold)


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("found, letters, weights", [
    ([1.0], 3, (0, 1, 1, 0.5)), ([-math.inf], 3, (0, 1, 1, 0.5)), ([-1.0], 0, (0, 1, 1, 0.5)),
    ([-2.0, -1.0], 3, (0, 1, 1, 0.5)), ([math.nan], 3, (0, 1, 1, 0.5)),
    ([-1.0, math.nan], 3, (0, 1, 1, 0.5)), ([-1.0], 3, (math.nan, 1, 1, 0.5)),
    ([-1.0], 3, (0, -1, 1, 0.5)), ([-1.0], 3, (0, 1, 2e4, 0.5)), ([-1.0], 3, (0, 1, 1, 1.5)),
    ([], 0, (0, 1, 1, math.nan)),
])
def test_c_refuses_what_is_out_of_range(found, letters, weights):
    from ee_ref.native._lib import ffi, lib

    accepted = ffi.new("int *", 1)
    status = lib.ee_phrase_judge(
        ffi.new("ee_phrase_confidence *", weights), len(found), *[*found, 0.0, 0.0][:2], letters,
        ffi.new("ee_phrase_scores *"), accepted)
    assert status == lib.EE_ERR_CONFIG and accepted[0] == 0


class Out(NamedTuple):
    exit: int
    log_probs: np.ndarray


class Found(NamedTuple):
    scores: PhraseScores


def stops(rule, scores):
    utterance = exits.Utterance(hear=lambda log_probs: Found(scores))
    return Course(rule, utterance)(Out(1, np.zeros((3, 4), np.float32)))


rules = st.builds(Phrase, st.floats(-20, 0), st.floats(0, 10))


@pytest.mark.usefixtures("native_library")
@given(rules, st.floats(-20, 0, width=32), st.floats(0, 10, width=32), st.booleans())
def test_the_rule_and_its_twin_in_c(rule, free, margin, exactly):
    from tests.firmware import exits as firmware

    if exactly:  # a threshold that is met exactly is met
        free, margin = float(np.float32(rule.free)), float(np.float32(rule.margin))
    scores = PhraseScores(free, margin, 0.5)
    decision = stops(rule, scores)
    assert decision.stop == firmware.phrase_stop(rule.free, rule.margin, scores)
    assert decision.stop == (decision.margin >= 0) and decision.score == margin
    assert decision.stop or not exactly
    assert not stops(rule, PhraseScores(-math.inf, 0.0, 0.0)).stop


OUTSIDE = [(0.5, 1), (-math.inf, 1), (math.nan, 1), (-1, -0.5), (-1, 10.5), (-1, math.nan)]
"""(free, margin) of no rule."""


@pytest.mark.parametrize("free, margin", [*OUTSIDE, ("-1", 1), (-1, None)])
def test_a_rule_out_of_its_ranges(free, margin):
    with pytest.raises(ArgumentError, match="expected .*, found "):
        Phrase(free, margin)


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("free, margin", OUTSIDE)
def test_a_rule_out_of_its_ranges_in_c(free, margin):
    from tests.firmware import exits as firmware

    with pytest.raises(ArgumentError):
        firmware.phrase_stop(free, margin, PhraseScores(-1.0, 1.0, 0.5))


@pytest.mark.parametrize("weights", [
    (math.nan, 1, 1, 0.5), (0, -1, 1, 0.5), (0, 1, -1, 0.5), (0, 1, 1, 1.1), (0, 1, 1, "0.5"),
    (2e4, 1, 1, 0.5)])
def test_a_confidence_out_of_its_ranges(weights):
    with pytest.raises(ArgumentError, match="expected .*, found "):
        Confidence(*weights)


@pytest.mark.parametrize("policy", [
    Phrase(-1, 1), exits.Within(Phrase(-1, 1)), exits.FirstOf(exits.Fixed(2), Phrase(-1, 1))],
    ids=repr)
def test_a_rule_that_goes_by_phrases_needs_some(policy):
    with pytest.raises(ArgumentError, match="goes by phrases: expected phrases, found none"):
        Course(policy, exits.Utterance())
    assert stops(policy, PhraseScores(-0.5, 2.0, 0.9)).stop


def test_phrases_are_looked_for_once_an_exit_and_only_where_a_rule_asks():
    calls = []

    def hear(log_probs):
        calls.append(log_probs)
        return Found(PhraseScores(-2.0, 2.0, 0.9))

    for policy, expected in ((exits.Fixed(3), 0), (lambda out: (False, 0.0), 0),
                             (exits.FirstOf(Phrase(-1, 1), exits.Within(Phrase(-1, 0))), 3)):
        calls.clear()
        course = Course(policy, exits.Utterance(hear=hear))
        for number in (1, 2, 3):
            course(Out(number, np.zeros((3, 4), np.float32)))
        assert len(calls) == expected and (course.heard is None) == (expected == 0)
