"""Greedy decoding, exit scores, policies and texts in C against their Python twins, bit for bit."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import decode, exits
from ee_ref.conformance.draw import Stream
from ee_ref.errors import ArgumentError
from ee_ref.flash_image import labels_of
from ee_ref.tokens import Tokens
from tests.conftest import require_native

SHAPES = st.tuples(st.integers(0, 40), st.integers(1, 20))


@pytest.fixture(scope="module")
def native():
    require_native()
    from tests.firmware import decode

    return decode


def log_probs(rows, vocab, seed, levels=None):
    """(rows, vocab) log-probabilities; with few levels there are many ties, and -inf among them."""
    draw = Stream(seed)(rows, vocab, low=-12.0, high=0.0)
    if levels:
        draw = np.float32(-12 / levels) * np.round(draw * np.float32(levels / -12))
        draw[draw <= -12] = -np.inf
        return draw
    draw -= np.log(np.exp(draw).sum(axis=1, keepdims=True))
    return np.minimum(draw, 0)


# ---- Greedy ----


@given(SHAPES, st.integers(0, 9999), st.sampled_from([None, 1, 2, 5]), st.integers(0, 19))
def test_greedy(native, shape, seed, levels, blank):
    blank %= shape[1]
    found = log_probs(*shape, seed, levels)
    expected = decode.greedy(found, blank)
    assert native.greedy(found, blank) == (expected.tokens, expected.frames)


def test_greedy_takes_the_first_of_equals(native):
    low, high = np.float32(-3), np.float32(-1)
    found = np.array([[low, high, high], [low, high, low], [low, -0.5, low], [low, -0.5, low],
                      [high, high, low], [low, low, high]], np.float32)
    assert native.greedy(found) == ((1, 2), (2, 5))
    assert native.greedy(np.full((3, 4), -np.inf, np.float32), blank=2) == ((0,), (0,))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0])
def test_what_is_no_log_probability(native, bad):
    found = np.zeros((5, 3), np.float32)
    found[4, 2] = bad
    with pytest.raises(ArgumentError, match="EE_ERR_NOT_FINITE"):
        native.greedy(found)


def test_blank_outside_the_labels(native):
    with pytest.raises(ArgumentError, match="EE_ERR_CONFIG"):
        native.greedy(np.zeros((5, 3), np.float32), blank=3)


# ---- Scores and policies ----


@given(SHAPES, st.integers(0, 9999), st.sampled_from([None, 1, 2, 5]))
def test_frame_entropy(native, shape, seed, levels):
    found = log_probs(*shape, seed, levels)
    assert native.frame_entropy(found) == exits.frame_entropy(found)


def test_frame_entropy_of_edges(native):
    least = np.array([[0, -np.inf, -87, np.nextafter(np.float32(-87), np.float32(0)), -1e30]],
                     np.float32)
    for found in (least, np.zeros((0, 5), np.float32), np.full((1, 1), -0.0, np.float32),
                  np.full((300, 3), np.float32(-np.log(3)))):
        assert native.frame_entropy(found) == exits.frame_entropy(found)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_frame_entropy_of_what_is_no_log_probability(native, bad):
    found = np.full((3, 3), -1, np.float32)
    found[2, 1] = bad
    with pytest.raises(ArgumentError):
        exits.frame_entropy(found)
    with pytest.raises(ArgumentError, match="EE_ERR_NOT_FINITE"):
        native.frame_entropy(found)


@given(SHAPES, st.integers(0, 9999), st.sampled_from([-2, -1, 0, 1, 2]))
def test_entropy_policy_beside_its_threshold(native, shape, seed, ulps):
    """Thresholds of float64 as near to the score as can be: the same decision."""
    rows, vocab = shape
    found = log_probs(rows, vocab + 1, seed)
    threshold = exits.frame_entropy(found)
    for _ in range(abs(ulps)):
        threshold = max(0.0, float(np.nextafter(threshold, np.inf * ulps)))
    out = SimpleNamespace(exit=1, log_probs=found)
    expected = exits.Entropy(threshold)(out)
    assert native.policy_stop(native.entropy(threshold), 1, found) == expected[:2]


@pytest.mark.parametrize("n", [1, 2, 6])
def test_fixed_policy(native, n):
    found = log_probs(3, 4, 1)
    for exit_ in range(1, 7):
        out = SimpleNamespace(exit=exit_, log_probs=found)
        assert native.policy_stop(native.fixed(n), exit_, found) == exits.Fixed(n)(out)[:2]


@pytest.mark.parametrize("policy", [
    {"kind": 0, "exit": 0}, {"kind": 1, "threshold": -1.0}, {"kind": 1, "threshold": float("nan")},
    {"kind": 1, "threshold": float("inf")},
])
def test_policies_out_of_range(native, policy):
    from ee_ref.native._lib import ffi

    with pytest.raises(ArgumentError, match="EE_ERR_CONFIG"):
        native.policy_stop(ffi.new("ee_policy *", policy), 1, log_probs(3, 4, 1))


# ---- Text ----


LETTERS = ["▁", " ", "\u00a0", "\t", "\x1c", "A", "B", "é", "語"]
TOKEN = st.text(alphabet=st.sampled_from(LETTERS), max_size=4)


@given(st.data())
def test_text(native, data):
    tokens = data.draw(st.lists(TOKEN, min_size=2, max_size=12))
    ids = st.integers(0, len(tokens) - 1)
    special, blank = data.draw(st.frozensets(ids, max_size=3)), data.draw(ids)
    sequence = data.draw(st.lists(ids, max_size=20))
    labels = native.Labels(labels_of(tokens, special, blank))
    assert native.text(labels.handle, sequence) == Tokens(tokens, special, blank).text(sequence)


def test_text_of_no_label(native):
    labels = native.Labels(["", "A"])
    with pytest.raises(ArgumentError, match="EE_ERR_CONFIG"):
        native.text(labels.handle, [2])


@pytest.mark.parametrize("capacity", range(8))
def test_text_that_does_not_fit(native, capacity):
    from ee_ref.native._lib import ffi, lib

    labels = native.Labels(["", " AB"])
    tokens = ffi.new("ee_token[]", [{"token": 1}, {"token": 1}])
    buffer, length = ffi.new("char[]", b"#########"), ffi.new("size_t *")
    status = lib.ee_text(buffer, capacity, length, labels.handle, tokens, 2)
    assert length[0] == len("AB AB")
    assert status == (lib.EE_OK if capacity > 5 else lib.EE_ERR_BUFFER_TOO_SMALL)
    expected = b"AB AB"[: max(0, capacity - 1)] + b"\0" if capacity else b""
    assert ffi.buffer(buffer, 9)[:] == expected.ljust(9, b"#")
