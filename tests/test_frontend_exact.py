"""The exact front end of NumPy: the bytes of C, in whatever blocks."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref.conformance.draw import Stream
from ee_ref.errors import ArgumentError, AudioError, ShapeError
from ee_ref.frontend import exact, plain
from ee_ref.frontend.tables import frontend_tables
from tests.frontends import CONFIG, CONFIGS, DIGESTS, LENGTHS, LOGMEL, MEL


@pytest.mark.parametrize("name", DIGESTS)
def test_same_bytes_everywhere(features_golden, name):
    digest = 0
    for length in LENGTHS:
        found = exact.extract(features_golden["clip"][:length], CONFIGS[name])
        digest = zlib.crc32(found.tobytes(), digest)
    assert f"{digest:#010x}" == f"{DIGESTS[name]:#010x}"


@pytest.mark.parametrize("name", CONFIGS)
def test_bytes_of_c(native_front_end, features_golden, name):
    config, run = CONFIGS[name], native_front_end(CONFIGS[name])
    for length in LENGTHS:
        clip = features_golden["clip"][:length]
        for samples in (clip, clip.astype(np.float32) / 32768):
            assert exact.extract(samples, config).tobytes() == run.extract(samples).tobytes()


@given(
    log_n_fft=st.integers(2, 9), share=st.floats(0, 1), hop=st.integers(1, 300),
    pad=st.integers(0, 300), length=st.integers(0, 700), mels=st.integers(1, 20),
    logmel=st.booleans(), loudness=st.sampled_from([1.0, 1e-20, 1e10]), seed=st.integers(0, 999),
)
def test_bytes_of_c_whatever_the_sizes(
    native_front_end, log_n_fft, share, hop, pad, length, mels, logmel, loudness, seed
):
    n_fft = 1 << log_n_fft
    config = replace(
        CONFIG, n_fft=n_fft, win_length=max(1, round(share * n_fft)), hop_length=hop, pad=pad,
        mels=min(mels, n_fft // 2 + 1), frontend="logmel" if logmel else "mel",
    ).validate()
    draw = Stream(seed)
    samples = draw(length, low=-0.5, high=0.5) * np.float32(loudness)
    mean, scale = draw(config.mels), draw(config.mels, low=0.5, high=2.0)
    found = exact.extract(samples, config, mean, scale)
    expected = native_front_end(config, mean, scale).extract(samples)
    assert found.shape == expected.shape and found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("config", [MEL, LOGMEL], ids=["mel", "logmel"])
def test_blocks_of_frames_do_not_show(features_golden, config, monkeypatch):
    whole = exact.extract(features_golden["clip"], config)
    assert len(whole) > 7
    monkeypatch.setattr(exact, "_BLOCK_FRAMES", 7)
    assert exact.extract(features_golden["clip"], config).tobytes() == whole.tobytes()


@pytest.mark.parametrize("n_fft", [4, 8, 512, 1024, 2048])
@pytest.mark.parametrize("loudness", [1e3, 1.0, 1e-6, 1e-12, 1e-40])
def test_no_sum_of_the_transform_is_subnormal(n_fft, loudness):
    """They are multiples of 2^-126, the least normal number."""
    config = replace(CONFIG, n_fft=n_fft, win_length=n_fft)
    tables = frontend_tables(config)
    framed = Stream(n_fft)(7 * n_fft, low=-1, high=1).reshape(7, n_fft) * np.float32(loudness)
    z = exact._transform(exact._windowed(framed, config, tables), tables)
    assert z.shape == (n_fft // 2, 7)
    for part in (z.real, z.imag):
        assert (part.astype(np.float64) * 2.0**126 % 1 == 0).all()


@pytest.mark.parametrize("samples, match", [
    (np.full(1000, 1e25), "overflows float32"),
    (np.array([0.0, np.nan, 0.0]), "1 NaN.*sample 1"),
    (np.zeros((100, 2)), r"mono.*\(100, 2\)"),
    (np.zeros(100, np.int32), "int32"),
])
@pytest.mark.parametrize("config", [MEL, LOGMEL], ids=["mel", "logmel"])
def test_errors_are_those_of_plain(samples, match, config):
    with pytest.raises(AudioError, match=match) as expected:
        plain.extract(samples, config)
    with pytest.raises(AudioError) as found:
        exact.extract(samples, config)
    assert str(found.value) == str(expected.value)


def test_what_the_transform_cannot_do():
    config = replace(CONFIG, n_fft=400, win_length=400)
    with pytest.raises(ArgumentError, match="n_fft: expected a power of two.*found 400"):
        exact.extract(np.zeros(10), config)


def test_normalisation_of_another_shape():
    with pytest.raises(ShapeError, match=r"scale.*\(80,\).*\(40,\)"):
        exact.extract(np.zeros(1000), LOGMEL, np.zeros(80), np.zeros(40))
