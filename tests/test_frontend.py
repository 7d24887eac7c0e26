"""The stage: which front end a model gets, and the same bytes on both backends."""

import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

import ee_ref
from ee_ref import exits, model_file
from ee_ref.config import FRONTENDS
from ee_ref.conformance.draw import SMALL, Stream, random_state_dict
from ee_ref.conformance.suite import demo
from ee_ref.convert import convert_state_dict
from ee_ref.errors import ArgumentError, AudioError, EeWarning
from ee_ref.frontend import KINDS, exact, front_end, plain, tables, waveform
from ee_ref.loading import BACKENDS
from ee_ref.quantize import quantize

RATE = 16000
LOGMEL = replace(SMALL, frontend="logmel", n_fft=512, win_length=400, pad=80)
TOKENS = ("@", "<s>", "▁", "a", "e", "n", "t", "▁b", "o", "c", "d")


def recordings(seconds):
    """Name -> samples: stretches of the demo clip and what is synthetic, at most `seconds` long."""
    speech = demo().astype(np.float32) / np.float32(32768)
    time = np.arange(round(seconds * RATE)) / RATE
    draw = Stream(11)
    return {
        "speech": speech[: len(time)],
        "quiet": speech[: len(time)] * np.float32(1e-4),
        "sweep": np.sin(2 * np.pi * (100 + 1500 * time) * time).astype(np.float32),
        "noise": draw(len(time), low=-0.5, high=0.5),
        "clipped": np.sign(draw(len(time) // 2)),
        "silence": np.zeros(len(time), np.float32),
        "one sample": np.ones(1, np.float32),
        "nothing": np.zeros(0, np.float32),
    }


def write(path, config):
    """A model file of random weights in that configuration, int8 where it says so."""
    state = random_state_dict(replace(config, dtype="f32"), 1)
    made, tensors = convert_state_dict(state, extras={"heads": config.heads, "pad": config.pad})
    made = replace(made, n_fft=config.n_fft, win_length=config.win_length)
    if config.dtype == "qs8":
        made, tensors = quantize(made, tensors)
    assert made == config
    model_file.write(path, made, TOKENS, frozenset({1}), tensors)
    return path


def both(path):
    return [ee_ref.load(path, backend=backend) for backend in BACKENDS]


# ---- The same bytes from the samples on ----


def assert_same(models, samples):
    """Features, log-probabilities, scores, and what is made of them, at every exit."""
    native, numpy = models
    features = [model.features(samples) for model in models]
    assert features[0].dtype == np.float32 and features[0].shape == features[1].shape
    assert features[0].tobytes() == features[1].tobytes()
    outputs = [list(model.exits(of)) for model, of in zip(models, features)]
    for ours, theirs in zip(*outputs, strict=True):
        assert ours.exit == theirs.exit
        assert ours.log_probs.shape == theirs.log_probs.shape
        assert ours.log_probs.tobytes() == theirs.log_probs.tobytes(), f"exit {ours.exit}"
    rules = [exits.Fixed(n + 1) for n in range(native.config.exits)]
    rules += [exits.Entropy(0.05), exits.Posterior(0.5), exits.Patience(1), None]
    for rule in rules:
        ours, theirs = (model.transcribe((samples, RATE), policy=rule) for model in models)
        # All of a result but its timing: text, exit, score, margin, words, hypotheses.
        assert ours == theirs, rule


@pytest.mark.parametrize("name", recordings(3))
def test_the_bundled_model_is_the_same_on_both_backends(native_library, name):
    assert_same(both(None), recordings(3)[name])


def test_the_demo_clip_is_the_same_on_both_backends(native_library):
    models = both(None)
    assert_same(models, demo().astype(np.float32) / np.float32(32768))
    assert models[0].transcribe((demo(), RATE)).text != ""


@pytest.mark.parametrize("config", [SMALL, LOGMEL], ids=["mel", "logmel"])
def test_int8_models_are_the_same_on_both_backends(native_library, config, tmp_path):
    models = both(write(tmp_path / "m.gguf", replace(config, dtype="qs8")))
    for samples in recordings(1).values():
        assert_same(models, samples)


# ---- Who computes them ----


@pytest.fixture
def asked(native_library, monkeypatch):
    """The modules whose `extract` is called, in order."""
    from ee_ref.native import _frontend

    names = []
    for module in (plain, exact, _frontend):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "extract", lambda *a, name=name, **k: names.append(name))
    return names


@pytest.mark.parametrize("config", [SMALL, LOGMEL], ids=["mel", "logmel"])
@pytest.mark.parametrize("dtype, backend, expected", [
    ("qs8", "numpy", "exact"), ("qs8", "native", "_frontend"),
    ("f32", "numpy", "plain"), ("f32", "native", "_frontend"),
])
def test_the_front_end_of_a_model(asked, config, dtype, backend, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = front_end(replace(config, dtype=dtype), {}, backend)
    found(np.zeros(10, np.float32))
    assert asked == [expected]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["f32", "qs8"])
@pytest.mark.parametrize("changes, reason", [
    ({"n_fft": 400}, "n_fft: expected a power of two in 4..65536, found 400"),
    ({"log_floor": 1e-50}, "log_floor: expected a float32 of at least .*, found 1e-50"),
])
def test_a_front_end_that_cannot_be_exact_says_why(
    asked, changes, reason, dtype, backend
):
    config = replace(LOGMEL, dtype=dtype, **changes).validate()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = front_end(config, {}, backend)
    found(np.zeros(10, np.float32))
    assert asked == ["plain"]
    if (dtype, backend) == ("f32", "numpy"):  # the plain one is what was asked for
        assert caught == []
    else:
        (warning,) = caught
        assert issubclass(warning.category, EeWarning)
        assert re.match(f"{reason}; using the plain NumPy front end", str(warning.message))


def test_a_model_without_an_exact_front_end_warns_once_and_still_agrees(native_library, tmp_path):
    path = write(tmp_path / "m.gguf", replace(LOGMEL, dtype="qs8", n_fft=400))
    models = both(path)
    samples = recordings(1)["speech"]
    for model in models:
        with pytest.warns(EeWarning, match="n_fft.*found 400.*plain NumPy front end") as caught:
            model.features(samples)
            model.features(samples)
        assert len(caught) == 1
    assert_same(models, samples)


def test_float_models_have_plain_features_on_the_numpy_backend(tmp_path):
    model = ee_ref.load(write(tmp_path / "m.gguf", LOGMEL), backend="numpy")
    mean, scale = (model.file.tensors[f"frontend.{part}"] for part in ("mean", "scale"))
    samples = recordings(1)["speech"]
    expected = plain.extract(samples, model.config, mean, scale)
    assert model.features(samples).tobytes() == expected.tobytes()


# ---- Kinds ----


def test_a_conformer_takes_the_mel_kinds():
    assert set(KINDS) - set(FRONTENDS) == {"waveform", "samples"}
    with pytest.raises(ArgumentError, match="frontend: expected one of.*found 'waveform'"):
        replace(SMALL, frontend="waveform").validate()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_waveform_is_the_same_everywhere(dtype, backend):
    samples = recordings(1)["speech"]
    sizes = {"mels": 1, "n_fft": 1, "win_length": 1, "hop_length": 1, "pad": 0}
    for kind, specification in (("waveform", waveform.extract), ("samples", waveform.unchanged)):
        found = front_end(replace(SMALL, frontend=kind, dtype=dtype, **sizes), {}, backend)
        assert found(samples).tobytes() == specification(samples).tobytes()
        assert found(samples[:0]).shape == (0, 1)
        with pytest.raises(AudioError, match="NaN"):
            found(np.array([0, np.nan], np.float32))


def test_another_kind():
    with pytest.raises(ArgumentError, match="frontend: expected one of.*waveform.*found 'mfcc'"):
        front_end(replace(SMALL, frontend="mfcc"), {}, "numpy")


# ---- Old names ----


def test_old_names_work_and_warn():
    with pytest.warns(DeprecationWarning, match="use ee_ref.frontend.plain.extract"):
        assert ee_ref.features.extract is plain.extract
    with pytest.warns(DeprecationWarning, match="use ee_ref.frontend.plain.checked_samples"):
        from ee_ref.features import checked_samples
    assert checked_samples is plain.checked_samples
    with pytest.warns(DeprecationWarning, match="use ee_ref.frontend.tables.frontend_tables"):
        from ee_ref.frontend_tables import frontend_tables
    assert frontend_tables is tables.frontend_tables
    with pytest.warns(DeprecationWarning, match="use ee_ref.frontend.tables.unsupported"):
        from ee_ref.frontend_tables import is_supported
    assert is_supported(SMALL) and not is_supported(replace(SMALL, n_fft=400))
    for module in (ee_ref.features, sys.modules["ee_ref.frontend_tables"]):
        with pytest.raises(AttributeError, match="no attribute 'else'"):
            getattr(module, "else")


def test_nothing_of_the_package_uses_old_names():
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:ee_ref", "-c",
         "import sys, ee_ref; from ee_ref import *; ee_ref.load(backend='numpy');"
         "sys.exit(any(name in sys.modules for name in"
         " ('ee_ref.features', 'ee_ref.frontend_tables', 'ee_ref.pipeline')))"],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
