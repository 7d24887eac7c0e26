"""Threads: the same bytes for every number, one model in many threads, fork, exit, errors."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ee_ref
from ee_ref.cli import main
from ee_ref.conformance.draw import SMALL, Stream, random_features, random_int8_model
from ee_ref.errors import ArgumentError, NativeUnavailable
from ee_ref.families import tensors as tensor_specs
from tests.support import SMALL_SEED, WHERE_FOUND

try:
    from ee_ref.native import _lib
    from ee_ref.native._session import NativeModel
except NativeUnavailable as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(ee_ref.__file__).resolve().parent.parent
DEMO = ROOT / "ee_ref" / "assets" / "demo.wav"
LONG = dataclasses.replace(SMALL, max_frames=300)


def f32_model():
    draw = Stream(11)
    return LONG, {spec.name: draw.weight(*spec.shape) if len(spec.shape) == 2
                  else draw(*spec.shape, low=0.5, high=1.0) for spec in tensor_specs(LONG)}


MODELS = {"f32": f32_model(), "qs8": random_int8_model(LONG, SMALL_SEED)}


def outputs(model, features) -> list[bytes]:
    return [out.log_probs.tobytes() for out in model.exits(features)]


# ---- The same bytes ----


@pytest.mark.parametrize("dtype", MODELS)
def test_every_number_of_threads_gives_the_same_bytes(dtype, isa):
    config, tensors = MODELS[dtype]
    models = [NativeModel(config, tensors, threads) for threads in (1, 2, 3, 5)]
    for rows in (1, 2, 11, 24, 49, 144, 256, 257, 300):
        features = random_features(4 * rows + 3, 5, config.mels)
        assert config.encoder_frames(len(features)) == rows
        expected, *others = (outputs(model, features) for model in models)
        assert len(expected) == config.exits
        for model, found in zip(models[1:], others):
            assert found == expected, f"{rows} rows, {model.threads} threads"


def test_no_frames_in_several_threads():
    config, tensors = MODELS["qs8"]
    outs = NativeModel(config, tensors, 3).exits(random_features(6, 1, config.mels))
    assert [out.log_probs.shape for out in outs] == [(0, config.vocab)] * config.exits


def test_arenas_are_planned_for_the_threads():
    config, tensors = MODELS["qs8"]
    one, two, five = (NativeModel(config, tensors, n).arena_size(1000) for n in (1, 2, 5))
    assert one < five and two < five


# ---- One model in many threads ----


@pytest.mark.parametrize("dtype", MODELS)
def test_many_threads_share_a_model(dtype):
    model = NativeModel(*MODELS[dtype], threads=3)
    clips = [random_features(frames, frames, LONG.mels) for frames in (7, 200, 900)]
    expected = [outputs(NativeModel(*MODELS[dtype]), clip) for clip in clips]
    wrong: list[str] = []

    def run(start: int) -> None:
        for turn in range(start, start + 15):
            if outputs(model, clips[turn % 3]) != expected[turn % 3]:
                wrong.append(f"thread {start}, turn {turn}")

    threads = [threading.Thread(target=run, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_steps_release_the_interpreter():
    """While one call of C runs, another Python thread gets on.

    Threads switch here only where one lets go, so without that the count stands still in a step.
    """
    model = NativeModel(*MODELS["f32"])
    features = random_features(1200, 1, LONG.mels)
    count, done, moved = 0, False, False

    def run() -> None:
        nonlocal done, moved
        for _ in range(1000):  # the other thread may not be given a turn in each of them
            exits = model.exits(features)
            before = count
            next(exits)
            moved = moved or count > before
            if moved:
                break
        done = True

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        while not done:
            count += 1
            time.sleep(0.0005)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert moved


def test_sessions_keep_the_pool_of_their_model():
    features = random_features(400, 1, LONG.mels)
    expected = outputs(NativeModel(*MODELS["f32"]), features)
    model = NativeModel(*MODELS["f32"], threads=3)
    exits = model.exits(features)
    del model
    assert [out.log_probs.tobytes() for out in exits] == expected


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to count threads in")
def test_models_take_their_threads_with_them():
    def threading_count() -> int:
        """Threads of this process, those of C included."""
        return len(os.listdir("/proc/self/task"))

    before = threading_count()
    for _ in range(20):
        outputs(NativeModel(*MODELS["f32"], threads=4), random_features(100, 1, LONG.mels))
    assert threading_count() == before


# ---- Processes ----


def in_python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """The code in a process of its own; a hang is an error after a minute."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[0] = {str(ROOT)!r}\n{code}", *arguments],
        capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_goes_on_alone():
    done = in_python(f"""
import os, ee_ref
model = ee_ref.load(threads=3)
expected = model.transcribe({str(DEMO)!r})
child = os.fork()
if child == 0:
    os._exit(0 if model.transcribe({str(DEMO)!r}) == expected else 3)
assert os.waitpid(child, 0)[1] == 0
assert model.transcribe({str(DEMO)!r}) == expected
print("done")
""")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_interpreters_end_while_threads_work():
    done = in_python(f"""
import threading, time, ee_ref
model = ee_ref.load(threads=3)
started = threading.Event()
def work():
    while True:
        model.transcribe({str(DEMO)!r})
        started.set()
threading.Thread(target=work, daemon=True).start()
started.wait()
print("done")
""")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# ---- The number ----


@pytest.mark.parametrize("threads", [0, -1, 257, 1.0, "2", True, 10**30])
def test_other_numbers_are_refused(threads):
    with pytest.raises(ArgumentError, match=r"^threads: expected an integer in 1..256, found"):
        ee_ref.load(threads=threads)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " 2", "257", "²", 5000 * "9"])
def test_other_numbers_in_the_environment_are_refused(value, monkeypatch):
    monkeypatch.setenv("EE_REF_THREADS", value)
    with pytest.raises(ArgumentError, match=r"^EE_REF_THREADS: expected an integer in 1..256"):
        ee_ref.load(threads=None)
    assert ee_ref.load().threads == 1


@pytest.mark.parametrize("value, threads", [("3", 3), ("", 1), (None, 1)])
def test_none_takes_the_number_from_the_environment(value, threads, monkeypatch, capsys):
    monkeypatch.setenv("EE_REF_THREADS", value) if value is not None \
        else monkeypatch.delenv("EE_REF_THREADS", raising=False)
    model = ee_ref.load(threads=None)
    assert model.threads == model.info()["threads"] == threads
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threads"] == threads


def test_the_limit_is_that_of_the_library():
    assert ee_ref.loading.MAX_THREADS == _lib.lib.EE_MAX_WORKERS


def test_numpy_takes_a_number_of_threads():
    assert ee_ref.load(backend="numpy", threads=2).threads == 2


# ---- The command line ----


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_keep_their_order_and_go_on_past_bad_files(threads, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"")
    files = [str(DEMO), str(tmp_path / "bad.wav"), str(DEMO), str(tmp_path / "missing.wav"),
             str(DEMO)]
    assert main(["transcribe", *files, "--format", "json", "--threads", str(threads)]) == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == [str(DEMO)] * 3
    assert [name in line for name, line in zip(("bad.wav", "missing.wav"), err.splitlines())] \
        == [True, True]


def test_a_wrong_number_of_threads_is_wrong_usage(capsys):
    assert main(["transcribe", str(DEMO), "--threads", "0"]) == 2
    assert "threads: expected an integer" in capsys.readouterr().err


@pytest.fixture
def small_set(tmp_path, model_path):
    """Options for the commands that run a model over a manifest."""
    lines = [json.dumps({"path": str(DEMO), "text": "on", "id": id}) for id in "abcde"]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(lines))
    return ["--manifest", str(path), "--model", str(model_path)]


@pytest.fixture
def started(monkeypatch):
    """The numbers of threads that were asked for: of thread pools, and of native models."""
    numbers = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads):
            numbers.append(threads)
            super().__init__(threads)

    class Encoder(NativeModel):
        def __init__(self, config, tensors, threads, packed):
            numbers.append(threads)
            super().__init__(config, tensors, threads, packed)

    monkeypatch.setattr("ee_ref.evaluation.run.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("ee_ref.native._session.NativeModel", Encoder)
    return numbers


@pytest.mark.parametrize("command, extra, expected", [
    ("eval", [], [1, 3]),  # one thread a recording, three recordings at once
    ("calibrate", ["--dry-run", "--point", "fast=cost 1"], [1, 3]),
    ("bench", ["--runs", "2", "--seconds", "1"], [3]),
    ("quantize", ["--force"], [1, 1, 3]),
])
def test_every_command_takes_its_number_from_the_environment(
        command, extra, expected, small_set, started, tmp_path, monkeypatch, capsys):
    options = {"eval": small_set, "calibrate": small_set, "bench": small_set[2:],
               "quantize": [small_set[3], "-o", str(tmp_path / "q.gguf"), *small_set[:2]]}[command]
    monkeypatch.setenv("EE_REF_THREADS", "3")
    assert main([command, *options, *extra]) == 0
    assert started == expected
    started.clear()
    monkeypatch.setenv("EE_REF_THREADS", "many")
    assert main([command, *options, *extra, "--threads", "3"]) == 0
    assert started == expected
    assert main([command, *options, *extra]) == 2
    assert "EE_REF_THREADS: expected an integer" in capsys.readouterr().err


def test_every_command_with_threads_says_what_they_do_and_where_the_number_comes_from():
    parser = ee_ref.cli._parser()
    commands = next(action for action in parser._actions if action.dest == "command").choices
    for name, command in commands.items():
        for action in command._actions:
            if action.dest == "threads":
                assert action.default is None, name
                assert action.help.endswith("(default: EE_REF_THREADS, or 1)"), name


def test_an_interrupt_stops_a_batch():
    command = [sys.executable, "-c",
               f"import sys; sys.path[0] = {str(ROOT)!r}\n"
               "from ee_ref.cli import main; sys.exit(main())",
               "transcribe", "--threads", "2", "--backend", "numpy", *[str(DEMO)] * 5000]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()  # the batch is under way
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err, err
    assert rest.count(b"\n") < 4000


def test_a_pool_closes_when_modules_have_forgotten_their_names(tmp_path):
    """As when the interpreter ends: what runs there holds what it needs."""
    program = ("import gc, ee_ref\n"
               "model = ee_ref.load(threads=2)\n"
               "from ee_ref.native import _session\n"
               "vars(_session).update(dict.fromkeys(list(vars(_session))))\n"
               "del model\n"
               "gc.collect()\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=tmp_path, env={**os.environ, "PYTHONPATH": WHERE_FOUND})
    assert (done.returncode, done.stderr) == (0, "")
