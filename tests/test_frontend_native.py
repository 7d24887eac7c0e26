"""The C front end: against NumPy and torchaudio by tolerance, against itself by bytes."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

import ee_ref
from ee_ref import features
from ee_ref.config import FRONTENDS, Config
from ee_ref.errors import ArgumentError, AudioError, ShapeError
from ee_ref.frontend_tables import frontend_tables, is_supported
from tests.conftest import require_native
from ee_ref.conformance.draw import SMALL, Stream, random_state_dict
from tests.support import GOLDEN
from weights_io import model_file
from weights_io.from_torch import convert_state_dict

CONFIG = Config(
    exits=1, layers_per_exit=(1,), dim=8, heads=1, ff=8, kernel=3, vocab=4, max_frames=100
)
LOG_FLOOR = CONFIG.log_floor
LENGTHS = (1, 2, 159, 160, 161, 256, 257, 512, 513, 514, 1600, 6000)
TOLERANCE = 1e-5  # of the largest energy; float32 rounding is about 5e-7


def frontend(name, **changes):
    n_fft, win_length, hop_length = FRONTENDS[name]
    return replace(
        CONFIG, frontend=name, n_fft=n_fft, win_length=win_length, hop_length=hop_length, **changes
    ).validate()


MEL, LOGMEL = frontend("mel"), frontend("logmel")
CONFIGS = {
    "mel": MEL,
    "logmel": LOGMEL,
    "logmel padded": frontend("logmel", pad=1600),
    "least": replace(CONFIG, n_fft=4, win_length=3, hop_length=2, mels=2),
    "window of n_fft": replace(CONFIG, n_fft=64, win_length=64, hop_length=50, mels=20, pad=7),
    "gaps": replace(CONFIG, n_fft=128, win_length=33, hop_length=200, mels=20, sample_rate=8000),
    "one sample": replace(CONFIG, n_fft=8, win_length=1, hop_length=1, mels=1),
    "largest": replace(CONFIG, n_fft=4096, win_length=4095, mels=128, sample_rate=48000),
}

DIGESTS = {
    # CRC-32 of the features of the golden clip, one length after another. Every compiler, option
    # and CPU gives these; a change of the front end's operations or tables changes them.
    "mel": 0x0f7df319,
    "logmel": 0xf64d6abd,
    "logmel padded": 0xea063a06,
    "gaps": 0x13833eca,
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "features.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def native():
    require_native()
    from ee_ref.native import _frontend

    return _frontend.NativeFrontend


def energies(found, config):
    """The mel energies of features without normalisation."""
    if config.frontend == "mel":
        return found.astype(np.float64)
    return np.exp(found.astype(np.float64)) - config.log_floor


# ---- Tables ----


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_tables_are_those_of_the_reference(config):
    tables = frontend_tables(config)
    np.testing.assert_allclose(tables.window, features._hann(config.win_length), rtol=0, atol=6e-8)
    angles = 2 * np.pi * np.arange(config.n_fft // 4 + 1) / config.n_fft
    np.testing.assert_allclose(tables.sines, np.sin(angles), rtol=0, atol=6e-8)
    bank = np.zeros((config.n_fft // 2 + 1, config.mels), np.float32)
    start = 0
    for mel, (first, count) in enumerate(zip(tables.mel_first, tables.mel_count)):
        bank[first : first + count, mel] = tables.mel_weights[start : start + count]
        start += count
    assert start == len(tables.mel_weights)
    expected = features._mel_bank(config.n_fft, config.mels, config.sample_rate)
    np.testing.assert_allclose(bank, expected, rtol=0, atol=6e-8)


def test_bytes_of_the_tables():
    """Decimal arithmetic gives them on every machine, whatever its cosine."""
    found = {name: zlib.crc32(b"".join(table.tobytes() for table in frontend_tables(config)))
             for name, config in (("mel", MEL), ("logmel", LOGMEL))}
    assert found == {"mel": 0xa6620445, "logmel": 0x95efb7eb}


# ---- Features ----


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_energies_of_the_reference(native, golden, config):
    run = native(config)
    for length in LENGTHS:
        samples = golden["clip"][:length].astype(np.float32) / 32768
        expected, found = features.extract(samples, config), run.extract(samples)
        assert found.shape == expected.shape and found.dtype == np.float32
        expected = energies(expected, config)
        error = np.abs(energies(found, config) - expected).max()
        assert error <= TOLERANCE * max(expected.max(), LOG_FLOOR), length


@pytest.mark.parametrize("name", ["mel", "logmel"])
def test_energies_of_torchaudio(native, golden, name):
    config = CONFIGS[name]
    mean, scale = (golden[f"logmel.{key}"] for key in ("mean", "scale"))
    run = native(config, mean, scale)
    for length in LENGTHS:
        expected = golden[f"{name}.{length}"].astype(np.float64)
        found = run.extract(golden["clip"][:length]).astype(np.float64)
        if name == "logmel":
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
            found, expected = np.exp(found / scale + mean), np.exp(expected / scale + mean)
        assert np.abs(found - expected).max() <= TOLERANCE * expected.max(), length


@pytest.mark.parametrize("name", DIGESTS)
def test_same_bytes_everywhere(native, golden, name):
    run, digest = native(CONFIGS[name]), 0
    for length in LENGTHS:
        digest = zlib.crc32(run.extract(golden["clip"][:length]).tobytes(), digest)
    assert f"{digest:#010x}" == f"{DIGESTS[name]:#010x}"


def test_integers_are_their_floats(native, golden):
    clip = golden["clip"]
    extremes = np.array([-32768, 32767, 0, -1, 1] * 300, np.int16)
    for samples in (clip, extremes):
        whole = native(LOGMEL).extract(samples)
        assert whole.tobytes() == native(LOGMEL).extract(
            samples.astype(np.float32) / 32768).tobytes()


@given(
    log_n_fft=st.integers(2, 9), share=st.floats(0, 1), hop=st.integers(1, 300),
    pad=st.integers(0, 300), length=st.integers(0, 700), mels=st.integers(1, 20),
    logmel=st.booleans(), seed=st.integers(0, 999),
)
def test_any_front_end(native, log_n_fft, share, hop, pad, length, mels, logmel, seed):
    n_fft = 1 << log_n_fft
    config = replace(
        CONFIG, n_fft=n_fft, win_length=max(1, round(share * n_fft)), hop_length=hop, pad=pad,
        mels=min(mels, n_fft // 2 + 1), frontend="logmel" if logmel else "mel",
    ).validate()
    samples = Stream(seed)(length, low=-0.5, high=0.5)
    expected, found = features.extract(samples, config), native(config).extract(samples)
    assert found.shape == expected.shape
    if found.size:
        expected = energies(expected, config)
        error = np.abs(energies(found, config) - expected).max()
        assert error <= TOLERANCE * max(expected.max(), LOG_FLOOR)


@pytest.mark.parametrize("name", ["logmel padded", "gaps", "window of n_fft"])
def test_a_few_frames_at_a_time(native, golden, name):
    from ee_ref.native._lib import ffi, lib

    config = CONFIGS[name]
    run, clip = native(config), golden["clip"][:3000]
    expected = run.extract(clip)
    scratch = ffi.new("float[]", lib.ee_frontend_scratch(run.handle))
    source = ffi.from_buffer("int16_t[]", clip)
    for step in (1, 3):
        found = np.empty_like(expected)
        for first in range(0, len(expected), step):
            frames = min(step, len(expected) - first)
            out = ffi.from_buffer("float[]", found[first : first + frames])
            assert lib.ee_features_s16(
                out, run.handle, source, len(clip), first, frames, scratch) == lib.EE_OK
        assert found.tobytes() == expected.tobytes()


def test_silence_and_nothing(native):
    assert not native(MEL).extract(np.zeros(1600, np.int16)).any()
    assert native(MEL).extract(np.zeros(0, np.float32)).shape == (0, 80)
    found = native(LOGMEL).extract(np.zeros(1600, np.float32))
    np.testing.assert_allclose(found, np.log(1e-6), rtol=1e-6)


# ---- What is refused ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 700, 1599])
def test_samples_that_are_not_finite(native, bad, where):
    samples = np.zeros(1600, np.float32)
    samples[where] = bad
    with pytest.raises(AudioError, match="finite"):
        native(LOGMEL).extract(samples)


@pytest.mark.parametrize("config", [MEL, LOGMEL], ids=["mel", "logmel"])
def test_power_beyond_float32(native, config):
    with pytest.raises(AudioError, match="overflow"):
        native(config).extract(np.full(1000, 1e25, np.float32))


def test_samples_of_another_kind(native):
    for samples in (np.zeros((100, 2), np.float32), np.zeros((100, 2), np.int16),
                    np.zeros(100, np.float64), np.zeros(200, np.float32)[::2],
                    np.zeros(200, np.int16)[::2], [0.0]):
        with pytest.raises(ShapeError, match="samples"):
            native(MEL).extract(samples)


def test_normalisation_of_another_shape(native):
    with pytest.raises(ShapeError, match="scale"):
        native(LOGMEL, np.zeros(80, np.float32), np.zeros(40, np.float32))


def test_sizes_that_are_no_power_of_two(native):
    config = replace(CONFIG, n_fft=400, win_length=400)
    assert not is_supported(config) and is_supported(MEL)
    with pytest.raises(ArgumentError, match="n_fft.*power of two.*400"):
        native(config)


# ---- Model.features ----


@pytest.mark.parametrize("n_fft", [512, 400])
def test_features_of_a_model(native, n_fft, golden, tmp_path):
    """The native backend has the features of a device, or NumPy's where C has none."""
    config = replace(
        SMALL, n_fft=n_fft, win_length=400, frontend="logmel", pad=80, mels=13).validate()
    state = random_state_dict(config, 1)
    tensors = convert_state_dict(state, heads=config.heads, extras={"pad": config.pad})[1]
    path = tmp_path / "m.gguf"
    model_file.write(path, config, [str(token) for token in range(config.vocab)], (), tensors)
    model = ee_ref.load(path)
    samples = golden["clip"].astype(np.float32) / 32768
    mean, scale = tensors["frontend.mean"], tensors["frontend.scale"]
    reference = features.extract(samples, config, mean, scale)
    found = model.features(samples)
    if n_fft == 512:
        assert found.tobytes() == native(config, mean, scale).extract(golden["clip"]).tobytes()
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
