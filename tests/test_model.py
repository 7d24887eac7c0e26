"""The whole road: load, features, exits, transcribe."""

import contextlib
import copy
import itertools
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref import decode, exits
from ee_ref.clock import StageClock
from ee_ref.errors import (
    ArgumentError,
    AudioError,
    AudioFileError,
    EeWarning,
    FileError,
    ModelFileError,
    NativeUnavailable,
    TooLongError,
)
from ee_ref.loading import BACKENDS, BUNDLED, bundled_model
from tests.support import WHERE_FOUND

RATE = 16000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


@pytest.fixture(params=BACKENDS)
def model(request, model_path):
    return ee_ref.load(model_path, backend=request.param)


def test_transcribe_is_its_stages_in_order(model):
    samples = noise(1.5)
    result = model.transcribe((samples, RATE), exit=2)
    outputs = list(model.exits(model.features(samples)))
    best = decode.greedy(outputs[1].log_probs, blank=model.config.blank)
    assert result.exit == 2
    assert result.text == model.tokens.text(best.tokens)
    assert [h.tokens for h in result.n_best] == [best.tokens]
    assert " ".join(word.word for word in result.words) == result.text
    assert result.duration == 1.5
    assert result.timing["total"] == pytest.approx(
        sum(seconds for stage, seconds in result.timing.items() if stage != "total")
    )


def test_a_run_goes_to_the_last_exit_or_where_the_policy_stops(model):
    features = model.features(noise(1.0))
    outputs = list(model.exits(features))
    whole = model.run(features, every=True)
    assert [out.exit for out in whole.outputs] == [1, 2, 3] and whole.out is whole.outputs[-1]
    for found, expected in zip(whole.outputs, outputs):
        np.testing.assert_array_equal(found.log_probs, expected.log_probs)
    assert [scores.entropy for scores, _ in whole.measured] == [
        exits.frame_entropy(out.log_probs) for out in outputs]
    assert whole.measured[2][0].agreement == np.mean(
        outputs[1].log_probs.argmax(1) == outputs[2].log_probs.argmax(1))
    assert len(whole.encoder_seconds) == len(whole.rule_seconds) == 3
    early = model.run(features, exits.Fixed(2))
    assert (early.out.exit, *early.decision) == (2, True, 2.0, 0.0)
    assert early.outputs == early.measured == () and len(early.encoder_seconds) == 2


def test_a_run_counts_its_time_by_the_clock_it_is_given(model):
    clock = StageClock(itertools.count().__next__)  # 0 when made, one more whenever it is asked
    run = model.run(model.features(noise(0.5)), exits.Fixed(2), clock=clock)
    assert run.encoder_seconds == (1, 1)
    assert run.rule_seconds == (2, 1)  # the rule is begun before the first layer
    assert clock.timing() == {"policy": 3, "encoder": 2, "total": 5}


def test_greedy_text_is_that_of_transcribe(model):
    out = model.run(model.features(noise(1.0)), exits.Fixed(2)).out
    assert model.decode(out.log_probs) == decode.greedy(out.log_probs, model.config.blank)
    assert model.text(out.log_probs) == model.transcribe(noise(1.0), exit=2).text


def test_both_backends_agree(model_path):
    samples = noise(2.0)
    native, numpy = (ee_ref.load(model_path, backend=backend) for backend in BACKENDS)
    for ours, theirs in zip(
        native.exits(native.features(samples)), numpy.exits(numpy.features(samples)), strict=True
    ):
        assert ours.exit == theirs.exit
        np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=3e-5, rtol=0)


def test_the_default_is_the_last_exit(model):
    audio = (noise(1.0), RATE)
    last = model.config.exits
    assert model.transcribe(audio).exit == last
    assert model.transcribe(audio) == model.transcribe(audio, exit=last)
    assert model.transcribe(audio, exit=1) == model.transcribe(audio, policy=exits.Fixed(1))


def test_fixed_exits_have_their_number_as_score_and_no_margin_left(model):
    result = model.transcribe((noise(1.0), RATE), exit=2)
    assert (result.score, result.margin) == (2.0, 0.0)


@pytest.mark.parametrize("exit", [1, 2])
def test_deeper_layers_are_not_run(model, exit, monkeypatch):
    ran = []
    run = model._encoder.exits

    def counted(features):
        for out in run(features):
            ran.append(out.exit)
            yield out

    monkeypatch.setattr(model._encoder, "exits", counted)
    model.transcribe((noise(1.0), RATE), exit=exit)
    assert ran == list(range(1, exit + 1))


def test_a_policy_picks_the_first_exit_it_accepts(model):
    samples = noise(1.0)
    entropies = [exits.frame_entropy(out.log_probs) for out in model.exits(model.features(samples))]
    threshold = min(entropies)
    result = model.transcribe((samples, RATE), policy=exits.Entropy(threshold))
    assert result.exit == 1 + entropies.index(threshold)
    assert result.score == threshold and result.margin == 0.0


def test_a_policy_never_satisfied_ends_at_the_last_exit_with_a_negative_margin(model):
    result = model.transcribe((noise(1.0), RATE), policy=exits.Entropy(0.0))
    assert result.exit == model.config.exits
    assert result.margin < 0 < result.score


def test_posterior_policy(model):
    result = model.transcribe((noise(1.0), RATE), policy=exits.Posterior(0.0, n_best=4))
    assert result.exit == 1
    assert 0 < result.score <= 1 and result.margin == result.score


def test_any_callable_is_a_policy(model):
    result = model.transcribe((noise(1.0), RATE), policy=lambda out: (out.exit == 2, 7.5))
    assert (result.exit, result.score) == (2, 7.5)
    assert result.margin is None


def test_a_decoder_gives_the_n_best(model):
    def decoder(log_probs):
        return decode.beam_search(log_probs, beam_width=5, n_best=3)

    result = model.transcribe((noise(1.0), RATE), decoder=decoder)
    scores = [hypothesis.score for hypothesis in result.n_best]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert result.text == result.n_best[0].text


@pytest.mark.parametrize("samples", [0, 1, 100, 500, 959], ids="{} samples".format)
def test_clips_too_short_for_a_frame_are_silence(model, samples):
    result = model.transcribe((noise(samples / RATE), RATE))
    assert (result.text, result.words, result.confidence) == ("", [], 1.0)
    assert result.exit == model.config.exits


def test_zeros_are_no_error(model):
    result = model.transcribe((np.zeros(RATE, np.float32), RATE))
    assert 0 <= result.confidence <= 1


def test_word_times_lie_inside_the_audio_and_never_go_back(model):
    result = model.transcribe((noise(3.0), RATE))
    times = [time for word in result.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= result.duration for time in times)
    assert result.confidence == min((word.confidence for word in result.words), default=1.0)


def test_audio_longer_than_the_positions(model):
    limit = model.config.max_seconds
    samples = np.zeros(math.ceil(limit * RATE) + 1, np.float32)
    model.transcribe((samples[: math.floor(limit * RATE)], RATE), exit=1)
    assert model.transcribe((samples, RATE), exit=1).duration == len(samples) / RATE
    with pytest.raises(TooLongError, match=f"{limit:.1f} s"):
        list(model.exits(model.features(samples)))


@pytest.mark.parametrize("argument, expected", [("view", "Windows or Chunks"),
                                                ("endpoint", "an Endpoint")])
def test_a_stream_of_something_else(model, argument, expected):
    with pytest.raises(ArgumentError, match=f"{argument}: expected {expected}, found 0.8"):
        model.stream(**{argument: 0.8})


@pytest.mark.parametrize("exit", [0, -1, 4, 10**9, 1.5, "1", True])
def test_exits_that_are_not_there(model, exit):
    with pytest.raises(ArgumentError, match=r"1\.\.3|at least 1"):
        model.transcribe((noise(1.0), RATE), exit=exit)


def test_exit_and_policy_exclude_each_other(model):
    with pytest.raises(ArgumentError, match="exit or policy"):
        model.transcribe((noise(1.0), RATE), exit=1, policy=exits.Fixed(1))


def test_bad_audio(model, tmp_path):
    with pytest.raises(AudioFileError, match="no such file"):
        model.transcribe(tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("not audio at all")
    with pytest.raises(AudioError, match="expected audio"):
        model.transcribe(tmp_path / "text.wav")
    with pytest.raises(AudioError, match="NaN"):
        model.transcribe((np.full(RATE, np.nan, np.float32), RATE))


def test_a_file_and_its_samples_give_the_same(model, tmp_path):
    samples = noise(1.0)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with open(tmp_path / "a.wav", "rb") as stream:
        from_stream = model.transcribe(stream)
    assert model.transcribe(tmp_path / "a.wav") == model.transcribe((samples, RATE)) == from_stream


def test_load_arguments(model_path, tmp_path):
    with pytest.raises(ArgumentError, match="backend.*'native', 'numpy'.*'cuda'"):
        ee_ref.load(model_path, backend="cuda")
    with pytest.raises(ArgumentError, match="threads"):
        ee_ref.load(model_path, threads=0)
    with pytest.raises(FileError, match="missing.gguf"):
        ee_ref.load(tmp_path / "missing.gguf")
    (tmp_path / "wrong.gguf").write_bytes(b"RIFF")
    with pytest.raises(ModelFileError):
        ee_ref.load(tmp_path / "wrong.gguf")


def test_without_the_c_library_numpy_takes_over_and_one_warning_says_so(model_path, monkeypatch):
    def unavailable(name, *args, **kwargs):
        if name.endswith("_kernels") or "_kernels" in (args[2] or () if len(args) > 2 else ()):
            raise ImportError("no C library in this test")
        return real_import(name, *args, **kwargs)

    import builtins
    import sys

    real_import = builtins.__import__
    for module in [name for name in sys.modules if name.startswith("ee_ref.native.")]:
        monkeypatch.delitem(sys.modules, module)
    ee_ref.loading._warn_once.cache_clear()
    monkeypatch.setattr(builtins, "__import__", unavailable)
    with pytest.warns(EeWarning, match="NumPy backend") as caught:
        first = ee_ref.load(model_path)
        ee_ref.load(model_path)
    monkeypatch.undo()
    ee_ref.loading._warn_once.cache_clear()
    assert len(caught) == 1
    assert first.backend == "numpy"
    assert first.transcribe((noise(1.0), RATE)).exit == first.config.exits


def test_info_names_what_runs(model):
    info = model.info()
    assert info["backend"] == model.backend
    assert [exit["exit"] for exit in info["exits"]] == [1, 2, 3]
    cost = [exit["multiply_accumulates"]["1 s"] for exit in info["exits"]]
    assert cost == sorted(cost)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_transcribes_the_demo_clip(name):
    expected = (bundled_model().parent / "demo.txt").read_text().strip()
    demo = bundled_model().parent / "demo.wav"
    for backend in BACKENDS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = ee_ref.load(name, backend)
            last = model.config.exits
            result, full = model.transcribe(demo), model.transcribe(demo, exit=last)
        assert full.text == result.text == expected
        assert full.exit == last and full.margin == 0
        # The rule asks nothing at the last exit: who gets there was stopped by no rule.
        assert (result.margin is None) == (result.exit == last)


@pytest.mark.parametrize("name, parameters, size", [
    ("english", 12_000_000, 12_000_000), ("commands", 1_800_000, 2_000_000)])
def test_the_bundled_models_fit_their_budgets(name, parameters, size):
    assert ee_ref.load(name).info()["parameters"] <= parameters
    assert bundled_model(name).stat().st_size <= size


def test_errors_are_caught_as_one_family():
    assert issubclass(NativeUnavailable, ee_ref.EeError)
    assert issubclass(AudioFileError, OSError) and issubclass(ArgumentError, ValueError)


# ---- Copies ----


@pytest.mark.parametrize("copied", [
    copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)),
], ids=["copy", "deepcopy", "pickle"])
def test_a_copy_is_loaded_again(model, copied):
    again = copied(model)
    assert again is not model
    assert (again.backend, again.threads, again.packed, again.config) == (
        model.backend, model.threads, model.packed, model.config)
    assert again.transcribe((noise(1.0), RATE)) == model.transcribe((noise(1.0), RATE))


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_a_packed_model_says_the_same(model_path, backend):
    plain, packed = (ee_ref.load(model_path, backend, packed=packed) for packed in (False, True))
    assert packed.packed and copy.copy(packed).packed and not plain.packed
    found = (model.transcribe((noise(1.0), RATE)) for model in (plain, packed))
    assert next(found) == next(found)


def test_a_model_goes_to_another_process(model_path, monkeypatch):
    monkeypatch.setattr(sys, "path", WHERE_FOUND.split(os.pathsep))  # that of the process
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(ee_ref.load(model_path).transcribe, ((noise(0.5), RATE),))
    assert found == ee_ref.load(model_path).transcribe((noise(0.5), RATE))


def test_a_copy_of_a_bundled_model_is_loaded_by_name():
    """The package may be elsewhere in the process that it goes to."""
    pickled = pickle.dumps(ee_ref.load(backend="numpy"))
    assert str(bundled_model().parent).encode() not in pickled
    assert pickle.loads(pickled).file.path == str(bundled_model())


def test_a_copy_of_a_file_that_changed_is_refused(model_path, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(model_path.read_bytes())
    pickled = pickle.dumps(ee_ref.load(path))
    path.unlink()
    with pytest.raises(FileError):
        pickle.loads(pickled)
    path.write_bytes(bundled_model().read_bytes())
    with pytest.raises(ModelFileError, match="found another in it"):
        pickle.loads(pickled)


# ---- Nothing is not the default; no frames are no error ----


def test_an_empty_path_is_no_default():
    with pytest.raises(ArgumentError, match="found an empty path"):
        ee_ref.load("")


def test_a_bundled_model_is_loaded_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no file of that name is
    assert ee_ref.load("english").file.header_checksum == ee_ref.load().file.header_checksum
    with pytest.raises(FileError, match="commands"):
        ee_ref.load(Path("commands"))


def test_exits_can_be_closed(model):
    with contextlib.closing(model.exits(model.features(noise(1.0)))) as outs:
        assert next(outs).exit == 1
    assert list(outs) == []


@pytest.mark.parametrize("samples", [0, 1, 300, 1119])
@pytest.mark.parametrize("policy", [
    exits.Deadline(0.03), exits.Budget(1e6), exits.Entropy(0.01), exits.Posterior(0.5),
    exits.Patience(1),
    exits.FirstOf(exits.Deadline(0.03), exits.Within(exits.Patience(1), floor=2)),
], ids=lambda policy: type(policy).__name__)
def test_a_clip_shorter_than_a_frame(model, samples, policy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.transcribe((np.zeros(samples, np.float32), RATE), policy=policy)
    assert math.isfinite(found.score) and math.isfinite(found.duration)


def test_a_beam_has_a_limit(model):
    log_probs = next(model.exits(model.features(noise(1.0)))).log_probs
    with pytest.raises(ArgumentError, match=r"beam_width: expected an integer in 1\.\.10000"):
        decode.beam_search(log_probs, beam_width=100_000_000)
    with pytest.raises(ArgumentError, match="n_best"):
        exits.Posterior(0.5, n_best=100_000_000)


def test_samples_alone_are_at_the_rate_of_the_model(model):
    assert model.transcribe(noise(1.0)) == model.transcribe((noise(1.0), RATE))


def test_what_a_model_and_its_tokens_look_like(model):
    assert repr(model) == (f"<Model {model.file.path}: 3 exits, 4 layers of 20, 32 labels, f32, "
                           f"{model.backend}>")
    assert repr(model.tokens) == (
        "<Tokens: 32 labels ('@', '<s>', '</s>', '<unk>', '\u2581a', ...), blank 0>")


def test_the_old_names_of_pipeline_work_and_warn():
    for name, room in (("Result", ee_ref.model), ("load", ee_ref.loading)):
        with pytest.warns(DeprecationWarning, match=f"use ee_ref.{room.__name__[7:]}.{name}"):
            assert getattr(ee_ref.pipeline, name) is getattr(room, name)
    with pytest.raises(AttributeError, match="no attribute 'else'"):
        getattr(ee_ref.pipeline, "else")


@pytest.mark.parametrize("name", ee_ref.__all__)
def test_every_public_name_is_there_after_import(name):
    program = f"import ee_ref; ee_ref.{name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": WHERE_FOUND})
    assert (done.returncode, done.stderr) == (0, "")
