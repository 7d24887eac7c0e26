"""Exit scores against their formulas, and the policies."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import decode, exits
from ee_ref.errors import ArgumentError


class Out(NamedTuple):
    exit: int
    log_probs: np.ndarray


def random_log_probs(frames=12, labels=6, seed=0, sharpness=2.0):
    x = np.random.default_rng(seed).standard_normal((frames, labels)) * sharpness
    return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)


def test_entropy_is_the_formula():
    log_probs = random_log_probs()
    expected = 0.0
    for row in log_probs.astype(float):
        for log_p in row:
            expected -= math.exp(log_p) * log_p
    expected /= log_probs.size
    assert exits.frame_entropy(log_probs) == pytest.approx(expected, rel=1e-6)


def test_entropy_of_uniform_and_of_certain_labels():
    uniform = np.full((7, 16), -math.log(16))
    assert exits.frame_entropy(uniform) == pytest.approx(math.log(16) / 16)
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(5))
    assert exits.frame_entropy(certain) == 0.0
    assert math.copysign(1, exits.frame_entropy(certain)) == 1
    assert exits.frame_entropy(np.full((3, 4), -np.inf)) == 0.0
    assert exits.frame_entropy(np.array([[1e-7, -16.0]])) >= 0.0


def test_entropy_of_no_frames():
    assert exits.frame_entropy(np.zeros((0, 256), np.float32)) == 0.0


@pytest.mark.parametrize(
    "log_probs", [np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.zeros(3)]
)
def test_entropy_of_something_else(log_probs):
    with pytest.raises(ArgumentError):
        exits.frame_entropy(log_probs)


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=20))
def test_posterior_is_the_largest_softmax(scores):
    weights = [math.exp(score - max(scores)) for score in scores]
    found = exits.sentence_posterior(scores)
    assert found == pytest.approx(max(weights) / sum(weights))
    assert 1 / len(scores) - 1e-12 <= found <= 1


def test_posterior_of_impossible_hypotheses():
    assert exits.sentence_posterior([0.0, -math.inf]) == 1.0
    assert exits.sentence_posterior([-math.inf, -math.inf]) == 0.0


@pytest.mark.parametrize("scores", [[], [math.nan], [0.0, math.nan], [math.inf], [[0.0]]])
def test_posterior_of_something_else(scores):
    with pytest.raises(ArgumentError):
        exits.sentence_posterior(scores)


def test_fixed():
    policy = exits.Fixed(3)
    log_probs = random_log_probs()
    assert [policy(Out(n, log_probs)) for n in (1, 2, 3, 4)] == [
        (False, 1.0), (False, 2.0), (True, 3.0), (True, 4.0)
    ]
    assert policy.margin(2.0) == -1 and policy.margin(3.0) == 0 and policy.exit == 3


def test_entropy_policy():
    log_probs = random_log_probs()
    score = exits.frame_entropy(log_probs)
    assert exits.Entropy(score)(Out(1, log_probs)) == (True, score)
    assert exits.Entropy(score * 0.99)(Out(1, log_probs)) == (False, score)
    assert exits.Entropy(score + 0.5).margin(score) == pytest.approx(0.5)
    assert exits.Entropy(0)(Out(1, np.zeros((0, 5)))) == (True, 0.0)


def test_posterior_policy():
    log_probs = random_log_probs()
    hypotheses = decode.beam_search(log_probs, beam_width=10, n_best=4)
    score = exits.sentence_posterior([hypothesis.score for hypothesis in hypotheses])
    assert exits.Posterior(score, n_best=4)(Out(1, log_probs)) == (True, score)
    assert exits.Posterior(score + 1e-6, n_best=4)(Out(1, log_probs)) == (False, score)
    assert exits.Posterior(0.25).margin(0.75) == 0.5
    assert exits.Posterior(1.0, n_best=1)(Out(1, log_probs)) == (True, 1.0)
    assert exits.Posterior(1.0)(Out(1, np.zeros((0, 5)))) == (True, 1.0)


def test_posterior_policy_of_many_hypotheses_and_another_blank():
    log_probs = random_log_probs()
    hypotheses = decode.beam_search(log_probs, beam_width=30, n_best=30, blank=2)
    score = exits.sentence_posterior([hypothesis.score for hypothesis in hypotheses])
    assert exits.Posterior(0.5, n_best=30, blank=2)(Out(1, log_probs))[1] == score


@given(st.floats(0, 1), st.integers(0, 50))
def test_stop_means_a_margin_of_at_least_zero(threshold, seed):
    out = Out(2, random_log_probs(5, 4, seed))
    for policy in (exits.Fixed(1 + seed % 3), exits.Entropy(threshold), exits.Posterior(threshold)):
        stop, score = policy(out)
        assert type(stop) is bool and type(score) is float
        assert stop == (policy.margin(score) >= 0)


@pytest.mark.parametrize("make", [
    lambda: exits.Fixed(0), lambda: exits.Fixed(1.5), lambda: exits.Fixed(True),
    lambda: exits.Fixed("2"), lambda: exits.Entropy(-0.1), lambda: exits.Entropy(math.nan),
    lambda: exits.Entropy(math.inf), lambda: exits.Entropy("1"), lambda: exits.Entropy(None),
    lambda: exits.Posterior(1.1), lambda: exits.Posterior(-0.1), lambda: exits.Posterior(math.nan),
    lambda: exits.Posterior(0.5, n_best=0), lambda: exits.Posterior(0.5, n_best=2.0),
    lambda: exits.Posterior(0.5, blank=-1),
])
def test_settings_out_of_range(make):
    with pytest.raises(ArgumentError, match="expected .*, found "):
        make()


def test_policies_show_their_settings():
    assert repr(exits.Posterior(0.5)) == "Posterior(threshold=0.5, n_best=10, blank=0)"
    assert exits.Entropy(0.25) == exits.Entropy(0.25) != exits.Entropy(0.5)
