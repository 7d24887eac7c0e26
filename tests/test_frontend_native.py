"""The C front end: against NumPy and torchaudio by tolerance, against itself by bytes."""

import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ee_ref
from ee_ref import model_file
from ee_ref.config import FRONTENDS, KINDS
from ee_ref.conformance.draw import SMALL, Stream, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.errors import ArgumentError, AudioError, EeWarning, ShapeError
from ee_ref.frontend import plain
from ee_ref.frontend.tables import frontend_tables, unsupported
from tests.frontends import CONFIG, CONFIGS, DIGESTS, LENGTHS, LOG_FLOOR, LOGMEL, MEL, energies

NUMERICS = Path(__file__).resolve().parent.parent / "docs" / "numerics.md"
TOLERANCE = 1e-5  # of the largest energy; float32 rounding is about 5e-7


# ---- Tables ----


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_tables_are_those_of_the_reference(config):
    tables = frontend_tables(config)
    np.testing.assert_allclose(tables.window, plain._hann(config.win_length), rtol=0, atol=6e-8)
    angles = 2 * np.pi * np.arange(config.n_fft) / config.n_fft
    np.testing.assert_allclose(tables.sines, np.sin(angles), rtol=0, atol=3e-8)
    assert (tables.sines * 2**24 % 1 == 0).all()
    bank = np.zeros((config.n_fft // 2 + 1, config.mels), np.float32)
    start = 0
    for mel, (first, count) in enumerate(zip(tables.mel_first, tables.mel_count)):
        bank[first : first + count, mel] = tables.mel_weights[start : start + count]
        start += count
    assert start == len(tables.mel_weights)
    expected = plain._mel_bank(config.n_fft, config.mels, config.sample_rate)
    np.testing.assert_allclose(bank, expected, rtol=0, atol=6e-8)


def test_bytes_of_the_tables():
    """Decimal arithmetic gives them on every machine, whatever its cosine."""
    found = {name: zlib.crc32(b"".join(table.tobytes() for table in frontend_tables(config)))
             for name, config in (("mel", MEL), ("logmel", LOGMEL))}
    assert found == {"mel": 0x194f5ab0, "logmel": 0x490ff370}


# ---- Features ----


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_energies_of_the_reference(native_front_end, features_golden, config):
    run = native_front_end(config)
    for length in LENGTHS:
        samples = features_golden["clip"][:length].astype(np.float32) / 32768
        expected, found = plain.extract(samples, config), run.extract(samples)
        assert found.shape == expected.shape and found.dtype == np.float32
        expected = energies(expected, config)
        error = np.abs(energies(found, config) - expected).max()
        assert error <= TOLERANCE * max(expected.max(), LOG_FLOOR), length


def test_kinds_have_the_numbers_of_the_configuration(native_library):
    from ee_ref.native._lib import lib

    assert lib.EE_FRONTEND_KINDS == len(KINDS)
    for number, name in enumerate(KINDS):
        assert getattr(lib, f"EE_FRONTEND_{name.upper()}") == number
        assert f"| `{name}` | {number} |" in NUMERICS.read_text()


@pytest.mark.parametrize("name", ["mel", "logmel"])
def test_energies_of_torchaudio(native_front_end, features_golden, name):
    config = CONFIGS[name]
    mean, scale = (features_golden[f"logmel.{key}"] for key in ("mean", "scale"))
    run = native_front_end(config, mean, scale)
    for length in LENGTHS:
        expected = features_golden[f"{name}.{length}"].astype(np.float64)
        found = run.extract(features_golden["clip"][:length]).astype(np.float64)
        if name == "logmel":
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
            found, expected = np.exp(found / scale + mean), np.exp(expected / scale + mean)
        assert np.abs(found - expected).max() <= TOLERANCE * expected.max(), length


@pytest.mark.parametrize("name", DIGESTS)
def test_same_bytes_everywhere(native_front_end, features_golden, name):
    run, digest = native_front_end(CONFIGS[name]), 0
    for length in LENGTHS:
        digest = zlib.crc32(run.extract(features_golden["clip"][:length]).tobytes(), digest)
    assert f"{digest:#010x}" == f"{DIGESTS[name]:#010x}"


def test_integers_are_their_floats(native_front_end, features_golden):
    clip = features_golden["clip"]
    extremes = np.array([-32768, 32767, 0, -1, 1] * 300, np.int16)
    for samples in (clip, extremes):
        whole = native_front_end(LOGMEL).extract(samples)
        assert whole.tobytes() == native_front_end(LOGMEL).extract(
            samples.astype(np.float32) / 32768).tobytes()


@given(
    log_n_fft=st.integers(2, 9), share=st.floats(0, 1), hop=st.integers(1, 300),
    pad=st.integers(0, 300), length=st.integers(0, 700), mels=st.integers(1, 20),
    kind=st.sampled_from(list(FRONTENDS)), seed=st.integers(0, 999),
)
def test_any_front_end(native_front_end, log_n_fft, share, hop, pad, length, mels, kind, seed):
    n_fft = 1 << log_n_fft
    config = replace(
        CONFIG, n_fft=n_fft, win_length=max(1, round(share * n_fft)), hop_length=hop, pad=pad,
        mels=min(mels, n_fft // 2 + 1), frontend=kind,
    ).validate()
    samples = Stream(seed)(length, low=-0.5, high=0.5)
    expected, found = plain.extract(samples, config), native_front_end(config).extract(samples)
    assert found.shape == expected.shape
    if found.size:
        expected = energies(expected, config)
        error = np.abs(energies(found, config) - expected).max()
        assert error <= TOLERANCE * max(expected.max(), LOG_FLOOR)


@pytest.mark.parametrize("name", ["logmel padded", "gaps", "window of n_fft"])
def test_a_few_frames_at_a_time(native_front_end, features_golden, name):
    from ee_ref.native._lib import ffi, lib, ops

    config = CONFIGS[name]
    run, clip = native_front_end(config), features_golden["clip"][:3000]
    expected = run.extract(clip)
    scratch = ffi.new("float[]", lib.ee_frontend_scratch(run.handle, ops()))
    source = ffi.from_buffer("int16_t[]", clip)
    for step in (1, 3):
        found = np.empty_like(expected)
        for first in range(0, len(expected), step):
            frames = min(step, len(expected) - first)
            out = ffi.from_buffer("float[]", found[first : first + frames])
            assert lib.ee_features_s16(
                out, run.handle, source, len(clip), first, frames, scratch, ops()) == lib.EE_OK
        assert found.tobytes() == expected.tobytes()


def test_silence_and_nothing(native_front_end):
    assert not native_front_end(MEL).extract(np.zeros(1600, np.int16)).any()
    assert native_front_end(MEL).extract(np.zeros(0, np.float32)).shape == (0, 80)
    found = native_front_end(LOGMEL).extract(np.zeros(1600, np.float32))
    np.testing.assert_allclose(found, np.log(1e-6), rtol=1e-6)


# ---- What is refused ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 700, 1599])
def test_samples_that_are_not_finite(native_front_end, bad, where):
    samples = np.zeros(1600, np.float32)
    samples[where] = bad
    with pytest.raises(AudioError, match="finite"):
        native_front_end(LOGMEL).extract(samples)


@pytest.mark.parametrize("config", [MEL, LOGMEL], ids=["mel", "logmel"])
def test_power_beyond_float32(native_front_end, config):
    with pytest.raises(AudioError, match="overflow"):
        native_front_end(config).extract(np.full(1000, 1e25, np.float32))


def test_samples_of_another_kind(native_front_end):
    for samples in (np.zeros((100, 2), np.float32), np.zeros((100, 2), np.int16),
                    np.zeros(100, np.float64), np.zeros(200, np.float32)[::2],
                    np.zeros(200, np.int16)[::2], [0.0]):
        with pytest.raises(ShapeError, match="samples"):
            native_front_end(MEL).extract(samples)


def test_normalisation_of_another_shape(native_front_end):
    with pytest.raises(ShapeError, match="scale"):
        native_front_end(LOGMEL, np.zeros(80, np.float32), np.zeros(40, np.float32))


@pytest.mark.parametrize("changes, message", [
    ({"n_fft": 400, "win_length": 400}, "n_fft: expected a power of two.*found 400"),
    ({"n_fft": 2, "win_length": 2, "mels": 1}, "n_fft: expected a power of two.*found 2"),
    # As a float32 they are zero, which stands for "mel" in C, less than 2^-70, and infinity.
    ({"log_floor": 1e-50}, "log_floor.*found 1e-50"),
    ({"log_floor": 8.47e-22}, "log_floor.*found 8.47e-22"),
    ({"log_floor": 1e300}, r"log_floor.*found 1e\+300"),
])
def test_configurations_that_c_cannot_do(native_front_end, changes, message):
    config = replace(LOGMEL, **changes).validate()
    assert unsupported(config) and not unsupported(MEL)
    with pytest.raises(ArgumentError, match=message):
        native_front_end(config)


@pytest.mark.parametrize("log_floor", [2.0**-70, 3.4028235e38])
def test_the_least_and_the_largest_log_floor(native_front_end, log_floor):
    config = replace(LOGMEL, log_floor=log_floor)
    assert unsupported(config) == ""
    found = native_front_end(config).extract(np.zeros(400, np.float32))
    np.testing.assert_allclose(found, np.log(log_floor), rtol=1e-6)


# ---- Model.features ----


@pytest.mark.parametrize("n_fft", [512, 400])
def test_features_of_a_model(native_front_end, n_fft, features_golden, tmp_path):
    """The native backend has the features of a device, or NumPy's where C has none, and says so."""
    config = replace(
        SMALL, n_fft=n_fft, win_length=400, frontend="logmel", pad=80, mels=13).validate()
    state = random_state_dict(config, 1)
    tensors = convert_state_dict(state, heads=config.heads, extras={"pad": config.pad})[1]
    path = tmp_path / "m.gguf"
    model_file.write(path, config, [str(token) for token in range(config.vocab)], (), tensors)
    model = ee_ref.load(path)
    samples = features_golden["clip"].astype(np.float32) / 32768
    mean, scale = tensors["frontend.mean"], tensors["frontend.scale"]
    reference = plain.extract(samples, config, mean, scale)
    warned = nullcontext() if n_fft == 512 else pytest.warns(EeWarning, match="n_fft.*found 400")
    with warned:
        found = model.features(samples)
    if n_fft == 512:
        again = native_front_end(config, mean, scale).extract(features_golden["clip"])
        assert found.tobytes() == again.tobytes()
        np.testing.assert_allclose(found, reference, rtol=0, atol=1e-3)
    else:
        assert found.tobytes() == reference.tobytes()
    assert ee_ref.load(path, backend="numpy").features(samples).tobytes() == reference.tobytes()
    # What the reference takes, this takes too.
    assert model.features(list(samples[:500])).tobytes() == model.features(samples[:500]).tobytes()
    np.testing.assert_array_equal(
        model.features(samples[:1000:2].astype(np.float64)), model.features(samples[:1000:2]))
    with pytest.raises(AudioError, match="finite.*1 NaN"):
        model.features(np.array([0, np.nan]))
