"""The front end `waveform` against exact fractions."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref.conformance.draw import Stream
from ee_ref.errors import AudioError
from ee_ref.frontend.waveform import VARIANCE_FLOOR, extract, normalised, unchanged
from tests.speech_layouts import POST


def by_fractions(samples):
    """The formula in rational arithmetic up to the square root."""
    x = [Fraction(float(value)) for value in samples]
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    deviation = math.sqrt(variance + Fraction(VARIANCE_FLOOR))
    return np.array([float(value - mean) / deviation for value in x])


@given(
    length=st.integers(1, 200), offset=st.sampled_from([0.0, 0.3, -1e4]),
    loudness=st.sampled_from([1e-30, 1e-4, 1.0, 1e30]), seed=st.integers(0, 999),
)
def test_the_formula(length, offset, loudness, seed):
    samples = Stream(seed)(length) * np.float32(loudness) + np.float32(offset)
    found = extract(samples)
    assert found.shape == (length, 1) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], by_fractions(samples), rtol=1e-6, atol=1e-9)


def test_zero_mean_and_unit_variance():
    found = extract(Stream(2)(160000, low=-0.2, high=0.4)).astype(np.float64)
    assert abs(found.mean()) < 1e-8 and abs(found.var() - 1) < 1e-5


def test_the_order_of_the_samples_does_not_matter():
    """The sums are exact, so every machine has these bytes, however it adds."""
    samples = Stream(3)(5000) * np.float32(3) + np.float32(0.1)
    order = np.random.default_rng(0).permutation(len(samples))
    assert normalised(samples[order]).tobytes() == normalised(samples)[order].tobytes()


@pytest.mark.parametrize("value", [0.0, 0.25, -3e38])
def test_a_constant_is_silence(value):
    assert not extract(np.full(1000, value, np.float32)).any()


def test_the_loudest_samples():
    top = float(np.finfo(np.float32).max)
    found = extract(np.array([top, -top] * 50))
    np.testing.assert_allclose(found[:, 0], [1, -1] * 50, rtol=1e-6)


@pytest.fixture(scope="module", params=["waveform", "samples"])
def in_c(request, native_front_end):
    """(that of C, the specification)"""
    specification = extract if request.param == "waveform" else unchanged
    return native_front_end(replace(POST, frontend=request.param)), specification


@given(
    length=st.integers(1, 300), offset=st.sampled_from([0.0, 0.3, -1e4, 3e38]),
    loudness=st.sampled_from([0.0, 1e-45, 1e-30, 1e-4, 1.0, 1e30]), seed=st.integers(0, 999),
)
def test_c_gives_the_same_bytes(in_c, length, offset, loudness, seed):
    run, specification = in_c
    samples = Stream(seed)(length) * np.float32(loudness) + np.float32(offset)
    assert run.extract(samples).tobytes() == specification(samples).tobytes()


def test_c_takes_integers_as_their_floats(in_c):
    run, specification = in_c
    integers = np.array([-32768, 32767, 0, -1, 1, 77] * 50, np.int16)
    expected = specification(integers.astype(np.float32) / 32768)
    assert run.extract(integers).tobytes() == expected.tobytes()


def test_c_gives_a_part_of_an_utterance(in_c):
    from ee_ref.native._lib import ensure, ffi, lib, ops

    run, specification = in_c
    samples, part = Stream(5)(100), np.empty(30, np.float32)
    ensure(lib.ee_features_f32(ffi.from_buffer("float[]", part), run.handle,
                               ffi.from_buffer("float[]", samples), 100, 50, 30, ffi.NULL, ops()))
    assert part.tobytes() == specification(samples)[50:80].tobytes()
    found = lib.ee_features_f32(ffi.NULL, run.handle, ffi.NULL, 100, 71, 30, ffi.NULL, ops())
    assert found == lib.EE_ERR_TOO_MANY_FRAMES


@pytest.mark.parametrize("field", ["mels", "n_fft", "win_length", "hop_length", "pad"])
def test_c_asks_for_sizes_of_one(in_c, field):
    from ee_ref.native._lib import ffi, lib

    run, _ = in_c
    frontend = ffi.new("ee_frontend *", run.handle[0])
    assert lib.ee_frontend_check(frontend) == lib.EE_OK
    setattr(frontend, field, 2)
    assert lib.ee_frontend_check(frontend) == lib.EE_ERR_CONFIG


def test_no_samples_and_bad_samples():
    assert extract(np.zeros(0)).shape == (0, 1)
    with pytest.raises(AudioError, match="1 NaN.*sample 1"):
        extract(np.array([0.0, np.nan]))
    with pytest.raises(AudioError, match="mono"):
        extract(np.zeros((10, 2)))
    with pytest.raises(AudioError, match="int16"):
        extract(np.zeros(10, np.int16))


def test_samples_are_not_changed():
    samples = Stream(4)(100)
    before = samples.copy()
    extract(samples)[:] = 0
    np.testing.assert_array_equal(samples, before)
