"""The plain front end: against torchaudio (golden/features.npz) and against its definition."""

from dataclasses import replace

import numpy as np
import pytest

from ee_ref.errors import AudioError, ShapeError
from ee_ref.frontend import plain
from tests.frontends import CONFIG, LOGMEL, MEL, frontend

# float32 of torch is itself about 3e-6 of the maximum away from the exact energies.
ENERGY_TOLERANCE = 1e-5
ODD = replace(
    CONFIG, n_fft=400, win_length=399, hop_length=100, mels=40, sample_rate=11025
).validate()


@pytest.fixture(scope="module")
def golden(features_golden):
    return {**features_golden, "clip": features_golden["clip"].astype(np.float32) / 32768}


def noise(length, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def lengths(golden, name):
    return sorted(int(key.split(".")[1]) for key in golden if key.startswith(f"{name}.")
                  and key.split(".")[1].isdigit())


@pytest.mark.parametrize("name, config", [("mel", MEL), ("odd", ODD)])
def test_energies_of_torchaudio(golden, name, config):
    assert lengths(golden, name)
    for length in lengths(golden, name):
        expected = golden[f"{name}.{length}"]
        found = plain.extract(golden["clip"][:length], config)
        assert found.shape == expected.shape and found.dtype == np.float32
        assert np.abs(found - expected).max() <= ENERGY_TOLERANCE * expected.max(), length


def test_log_energies_of_torchaudio(golden):
    mean, scale = golden["logmel.mean"], golden["logmel.scale"]
    assert lengths(golden, "logmel")
    for length in lengths(golden, "logmel"):
        expected = golden[f"logmel.{length}"]
        found = plain.extract(golden["clip"][:length], LOGMEL, mean, scale)
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
        energies, wanted = np.exp(found / scale + mean), np.exp(expected / scale + mean)
        assert np.abs(energies - wanted).max() <= ENERGY_TOLERANCE * wanted.max(), length


def test_definition_of_one_frame():
    """The middle frame from the formula, with a plain sum for the Fourier transform."""
    samples, t = noise(3200), 10
    n_fft, win, hop = MEL.n_fft, MEL.win_length, MEL.hop_length
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
    framed = samples[t * hop - win // 2 : t * hop + win // 2] * window
    angles = -2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(win)) / n_fft
    power = np.abs(np.exp(angles) @ framed) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82) / 2595) - 1)
    bins = np.arange(n_fft // 2 + 1) * 16000 / n_fft
    expected = [
        (power * np.interp(bins, edges[m : m + 3], [0, 1, 0])).sum() for m in range(80)
    ]
    np.testing.assert_allclose(plain.extract(samples, MEL)[t], expected, rtol=1e-4)


@pytest.mark.parametrize("config", [MEL, LOGMEL], ids=["mel", "logmel"])
@pytest.mark.parametrize("length", [1, 159, 160, 161, 40959, 40960, 41120])
def test_number_of_frames(config, length):
    assert plain.extract(noise(length), config).shape == (1 + length // 160, 80)


def test_blocks_of_frames_do_not_show(monkeypatch):
    samples = noise(16000)
    whole = plain.extract(samples, MEL)
    monkeypatch.setattr(plain, "_BLOCK_FRAMES", 7)
    np.testing.assert_allclose(plain.extract(samples, MEL), whole, rtol=1e-4, atol=1e-6)


def test_empty_audio_has_no_frames():
    for pad in (0, 800):
        assert plain.extract(np.zeros(0), frontend("mel", pad=pad)).shape == (0, 80)


def test_silence():
    assert not plain.extract(np.zeros(1600), MEL).any()
    np.testing.assert_allclose(plain.extract(np.zeros(1600), LOGMEL), np.log(1e-6), rtol=1e-6)


def test_padding_puts_zeros_on_both_sides():
    samples, padding = noise(2000), np.zeros(800, np.float32)
    expected = plain.extract(np.concatenate([padding, samples, padding]), LOGMEL)
    found = plain.extract(samples, frontend("logmel", pad=800))
    np.testing.assert_array_equal(found, expected)


def test_mel_front_end_ignores_normalisation():
    samples = noise(1600)
    found = plain.extract(samples, MEL, np.ones(80), np.ones(80))
    np.testing.assert_array_equal(found, plain.extract(samples, MEL))


def test_samples_are_not_changed():
    samples = noise(1600)
    before = samples.copy()
    plain.extract(samples, LOGMEL, np.ones(80), np.ones(80))
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_not_finite(bad):
    samples = np.zeros(1000)
    samples[123] = bad
    with pytest.raises(AudioError, match="finite.*1 NaN or infinite.*1000.*sample 123"):
        plain.extract(samples, MEL)


def test_power_beyond_float32():
    with pytest.raises(AudioError, match="overflow"):
        plain.extract(np.full(1000, 1e25), MEL)


def test_samples_of_another_kind():
    with pytest.raises(AudioError, match=r"mono.*\(100, 2\)"):
        plain.extract(np.zeros((100, 2)), MEL)
    with pytest.raises(AudioError, match="int16"):
        plain.extract(np.zeros(100, np.int16), MEL)


def test_normalisation_of_another_shape():
    with pytest.raises(ShapeError, match=r"scale.*\(80,\).*\(40,\)"):
        plain.extract(noise(1000), LOGMEL, np.zeros(80), np.zeros(40))
