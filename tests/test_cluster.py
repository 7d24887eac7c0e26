"""Work on the workers of a Dask cluster, and journals by which it is resumed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import ee_ref
from ee_ref import cluster, exits
from ee_ref.cli import main
from ee_ref.errors import ArgumentError, AudioError, FileError
from ee_ref.evaluation import journal, manifest, run

pytest.importorskip("distributed", reason="needs the extra cluster")

# One worker of xdist: each has a cluster of two processes.
pytestmark = pytest.mark.xdist_group("cluster")

ROOT = Path(__file__).parent.parent
RATE = 16000
LOADED = 0


@pytest.fixture(scope="module")
def two():
    with cluster.local(2) as found:
        yield found


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A manifest of 40 recordings of noise, long enough for several shards."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(3)
    for n in range(40):
        soundfile.write(folder / f"{n}.wav", rng.uniform(-0.3, 0.3, RATE // 4 + 400 * n), RATE)
    (folder / "set.jsonl").write_text("".join(
        json.dumps({"path": f"{n}.wav", "text": "a b", "seconds": 5}) + "\n" for n in range(40)))
    return folder / "set.jsonl"


def without_times(utterances):
    return [replace(u, times=(), seconds_used=0.0, score_seconds=0.0) for u in utterances]


def doubled(item):
    return 2 * item


class Loaded:
    """Says how often one was loaded in this process."""

    def __getstate__(self):
        return {"x": 1}

    def __setstate__(self, state):
        global LOADED
        LOADED += 1
        time.sleep(0.1)  # for a second one to come too

    def __call__(self, item):
        return os.getpid(), LOADED


class Dies:
    """A function whose process ends at some items: once, where there is a marker to leave."""

    def __init__(self, function, items, marker=None):
        self.function, self.items, self.marker = function, items, marker

    def __call__(self, item):
        name = getattr(item, "id", item)
        if name in self.items and not (self.marker and self.marker.exists()):
            if self.marker:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.function(item)


class Refuses:
    """A function that raises at some items."""

    def __init__(self, function, items, error=AudioError):
        self.function, self.items, self.error = function, items, error

    def __call__(self, item):
        if getattr(item, "id", item) in self.items:
            raise self.error(f"{item}: for a test")
        return self.function(item)


# ---- Shards ----


@given(st.lists(st.floats(0, 2000), max_size=80))
def test_every_item_is_in_one_shard(seconds):
    shards = cluster.sharded(seconds)
    assert sorted(n for shard in shards for n in shard) == list(range(len(seconds)))
    lengths = [sum(seconds[n] for n in shard) for shard in shards]
    assert lengths == sorted(lengths, reverse=True)
    for shard, length in zip(shards, lengths):
        assert len(shard) == 1 or length <= cluster.LONGEST


@pytest.mark.parametrize("hours, most", [(1, 150), (100, 2000), (1000, 6000)])
def test_shards_follow_the_length_of_a_corpus(hours, most):
    shards = cluster.sharded([12.0] * (300 * hours))
    assert most * 0.85 < len(shards) <= most


# ---- The same as here ----


def test_results_come_with_their_numbers(two):
    assert sorted(two.map(doubled, range(200), [10.0] * 200)) == [(n, 2 * n) for n in range(200)]
    assert list(two.map(doubled, [], [])) == []
    assert two.threads == 2


def test_a_function_is_loaded_once_a_worker(two):
    found = {answer for _, answer in two.map(Loaded(), range(100), [10.0] * 100)}
    assert len(found) == 2 and {loads for _, loads in found} == {1}


@pytest.mark.parametrize("options", [
    {"policy": exits.Entropy(0.001)}, {"posteriors": True}, {"phrases": "[a] b | c"}])
def test_measurements_are_those_of_one_machine(two, recordings, model_path, options, tmp_path):
    model = ee_ref.load(model_path)
    found = manifest.read(recordings)
    if "phrases" in options:
        (tmp_path / "p.phrases").write_text("x: a b [a]\n")
        options = {"phrases": model.phrase_decoder(tmp_path / "p.phrases")}
    there = run.run(model, found, spread=two.map, **options)
    assert without_times(there) == without_times(run.run(model, found, **options))
    assert all(0 < u.times[0] < u.times[-1] for u in there)


def test_a_worker_that_dies_changes_nothing(recordings, model_path, tmp_path):
    model = ee_ref.load(model_path)
    found = manifest.read(recordings)
    marker = tmp_path / "died"

    with cluster.local(2) as two:
        def spread(function, items, seconds):
            return two.map(Dies(function, {"17"}, marker), items, seconds)

        there = run.run(model, found, exits.Fixed(2), spread=spread)
    assert marker.exists()
    assert without_times(there) == without_times(run.run(model, found, exits.Fixed(2)))


def test_recordings_that_cannot_be_used_are_left_out(two, recordings, model_path):
    found = manifest.read(recordings)
    found[7] = replace(found[7], path=found[7].path.with_name("none.wav"))
    left_out = []
    there = run.run(ee_ref.load(model_path), found, spread=two.map,
                    failed=lambda *one: left_out.append(one))
    assert [r.id for r, _ in left_out] == ["7"] and "no such file" in str(left_out[0][1])
    assert [u.recording.id for u in there] == [str(n) for n in range(40) if n != 7]
    with pytest.raises(FileError, match="none.wav: no such file"):
        run.run(ee_ref.load(model_path), found, spread=two.map)


# ---- Clusters that cannot do it ----


def test_a_scheduler_that_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for address in (f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:1", "nonsense://x", "a b"):
            with pytest.raises(cluster.ClusterError, match="expected a Dask scheduler, found none"):
                with cluster.connected(address, patience=1):
                    raise AssertionError


@pytest.fixture
def scheduler():
    """A scheduler without workers, and a function that starts one as a process."""
    from distributed import LocalCluster

    workers = []

    def start(before=""):
        code = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{before}\n"
                "from distributed.cli.dask_worker import main\n"
                f"main([{alone.scheduler_address!r}, '--no-nanny', '--nthreads', '1', "
                "'--no-dashboard', '--death-timeout', '60'])")
        workers.append(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL))
        return workers[-1]

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as alone:
        yield alone, start
        for worker in workers:
            worker.kill()
            worker.wait()


def test_a_scheduler_without_workers(scheduler):
    with pytest.raises(cluster.ClusterError, match="found one without any within 0.5 s"):
        with cluster.connected(scheduler[0].scheduler_address, patience=0.5):
            raise AssertionError


def test_a_worker_without_ee_ref(scheduler):
    alone, start = scheduler
    start("sys.modules['ee_ref'] = None")
    with cluster.connected(alone.scheduler_address, patience=30) as one:
        with pytest.raises(cluster.ClusterError, match="worker tcp://.*ee_ref"):
            list(one.map(doubled, range(5), [10.0] * 5))


def test_a_cluster_that_loses_all_its_workers(scheduler):
    alone, start = scheduler
    start()
    with cluster.connected(alone.scheduler_address, patience=30) as one:
        one._patience = 1.0
        with pytest.raises(cluster.ClusterError, match="no workers any more: expected one"):
            list(one.map(Dies(doubled, {2}), range(5), [10.0] * 5))


def test_a_scheduler_that_ends(scheduler):
    alone, start = scheduler
    start()
    with cluster.connected(alone.scheduler_address, patience=30) as one:
        with pytest.raises(cluster.ClusterError, match="connection to the cluster is lost"):
            for _ in one.map(doubled, range(5000), [20.0] * 5000):
                alone.close()


def test_recordings_that_kill_every_worker(two):
    with pytest.raises(cluster.ClusterError, match="ended one worker after another"):
        list(two.map(Dies(doubled, {2}), range(5), [10.0] * 5))


def test_workers_that_are_not_there_yet(two):
    """As just after all of them ended: no item is lost."""
    two._client.run(os._exit, 3, on_error="ignore")
    found = dict(two.map(doubled, range(5), [10.0] * 5))
    assert found == {n: 2 * n for n in range(5)}


def test_workers_of_another_version(two, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "9.9")
    with pytest.raises(cluster.ClusterError, match="expected ee_ref 9.9, found 0.1"):
        list(two.map(doubled, range(5), [10.0] * 5))


def test_workers_without_the_model(two, model_path, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(model_path.read_bytes())
    model = ee_ref.load(path)
    path.unlink()
    with pytest.raises(cluster.ClusterError, match="worker tcp://.*m.gguf: No such file"):
        list(two.map(model.transcribe, ["x"], [1.0]))
    path.write_bytes(ee_ref.loading.bundled_model("commands").read_bytes())
    with pytest.raises(cluster.ClusterError, match="found another in it"):
        list(two.map(model.transcribe, ["x"], [1.0]))


def test_workers_without_the_recordings(two):
    with pytest.raises(cluster.ClusterError, match="nowhere.wav: expected a file that this worker"):
        list(two.map(doubled, [1], [1.0], files=["/nowhere.wav"]))


def test_without_the_library(monkeypatch, capsys, recordings):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["eval", "--manifest", str(recordings), "--workers", "2"]) == 1
    assert "expected the library dask.distributed, found none: pip" in capsys.readouterr().err


# ---- Journals ----


def counted(calls, function, items, seconds):
    """A spread that notes what it was asked for."""
    calls.append([item.id for item in items])
    return run.here(1)(function, items, seconds)


def test_a_run_that_ended_is_resumed(recordings, model_path, tmp_path):
    """With the very numbers, and only what is missing is measured."""
    model, path = ee_ref.load(model_path), tmp_path / "j"
    found = manifest.read(recordings)
    (tmp_path / "p.phrases").write_text("x: a b [a]\n")
    how = {"posteriors": True, "phrases": model.phrase_decoder(tmp_path / "p.phrases")}
    asked = journal.question(model, posteriors=True, options={"phrases": "p"})

    def ends(function, items, seconds):
        return run.here(1)(Refuses(function, {"25"}, KeyboardInterrupt), items, seconds)

    with pytest.raises(KeyboardInterrupt):
        run.run(model, found, spread=journal.resumed(path, asked, ends), **how)
    whole = path.read_bytes()
    assert whole.count(b"\n") == 26
    path.write_bytes(whole + b'{"id": "25", "pa')  # and the disk was full
    calls = []
    resumed = run.run(model, found, **how,
                      spread=journal.resumed(path, asked, partial(counted, calls)))
    assert calls == [[str(n) for n in range(25, 40)]]
    assert without_times(resumed) == without_times(run.run(model, found, **how))
    assert path.read_bytes().startswith(whole) and path.read_bytes().count(b"\n") == 41
    again = run.run(model, found, spread=journal.resumed(path, asked, partial(counted, calls)),
                    **how)
    assert again == resumed and calls[1] == []


def test_what_is_asked_has_the_content_of_files(model_path, tmp_path):
    model, path = ee_ref.load(model_path), tmp_path / "hot.txt"
    found = []
    for word in ("a", "b", "a"):
        path.write_text(word)
        found.append(journal.question(model, sources=[path, "a b," * 200, "english"])["sources"])
    assert found[0] == found[2] != found[1] and len(found[0]) == 1


def test_errors_are_tried_again(recordings, model_path, tmp_path):
    model, path = ee_ref.load(model_path), tmp_path / "j"
    found = manifest.read(recordings)[:3]

    def fails(function, items, seconds):
        return run.here(1)(run.Tried(Refuses(function.one, {"1"})), items, seconds)

    asked, failed = journal.question(model), []
    assert len(run.run(model, found, spread=journal.resumed(path, asked, fails),
                       failed=lambda *one: failed.append(one))) == 2 and len(failed) == 1
    calls = []
    assert len(run.run(model, found, spread=journal.resumed(
        path, asked, partial(counted, calls)))) == 3
    assert calls == [["1"]]


def test_a_full_disk(recordings, model_path, tmp_path):
    """Ends the run with the name of the journal, in which all whole lines are found."""
    resource = pytest.importorskip("resource")
    model, path = ee_ref.load(model_path), tmp_path / "j"
    found, asked = manifest.read(recordings), journal.question(model)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, most))
    try:
        with pytest.raises(FileError, match="j: File too large"):
            run.run(model, found, spread=journal.resumed(path, asked, run.here(1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    whole = path.read_bytes().count(b"\n") - 1
    calls = []
    run.run(model, found, spread=journal.resumed(path, asked, partial(counted, calls)))
    assert 0 < whole < 40 and calls == [[str(n) for n in range(whole, 40)]]


LINE = {"id": "0", "path": "/0.wav", "found": {
    "seconds": 1.0, "texts": ["a", "b", "c"], "times": [0.1, 0.2, 0.3], "costs": [1, 2, 3],
    "scores": [[0.5] * len(exits.Scores._fields)] * 3, "posteriors": [], "attention": [],
    "heard": [], "exit": 0,
    "text": "", "seconds_used": 0.0, "score_seconds": 0.0}}


@pytest.mark.parametrize("change", [
    {"seconds": -1}, {"seconds": float("nan")}, {"seconds": "1"}, {"texts": ["a", "b"]},
    {"texts": ["a", "b", "\ud800"]}, {"times": None}, {"costs": [1, 2, 1 << 70]},
    {"costs": [True, 2, 3]}, {"scores": [[0.5] * 3] * 3}, {"scores": [[10**400] * 12] * 3},
    {"posteriors": [[1, 2]]}, {"exit": 4}, {"heard": [1]}, {"text": 3}])
def test_lines_that_are_none(change, model_path, tmp_path):
    model, path = ee_ref.load(model_path), tmp_path / "j"
    asked = journal.question(model)
    first = json.dumps({"journal": 1, "asked": asked}) + "\n"

    def read():
        with open(path, "rb") as file:
            return journal.read(file, path, asked)

    path.write_text(first + json.dumps(LINE) + "\n")
    assert set(read()[0]) == {("0", "/0.wav")}
    path.write_text(first + json.dumps({**LINE, "found": {**LINE["found"], **change}}) + "\n")
    with pytest.raises(ArgumentError, match="line 2: expected a line of a journal"):
        read()


@pytest.mark.parametrize("content, message", [
    ("no journal\n", "line 1: expected a line"), ("[1]\n", "line 1: expected a line"),
    ('{"journal": 2, "asked": {}}\n', "version 1, found 2"),
    ('{"journal": 1, "asked": {"ee_ref": "0.0"}}\n', "same run, found one whose")])
def test_files_that_are_no_journal(content, message, recordings, model_path, tmp_path):
    """Stay as they are."""
    model, path = ee_ref.load(model_path), tmp_path / "j"
    path.write_text(content)
    with pytest.raises(ArgumentError, match=message):
        run.run(model, manifest.read(recordings)[:1], spread=journal.resumed(
            path, journal.question(model), run.here(1)))
    assert path.read_text() == content


@pytest.mark.parametrize("place", ["", "none/j"])
def test_places_for_no_journal(place, recordings, model_path, tmp_path):
    model = ee_ref.load(model_path)
    with pytest.raises(FileError):
        run.run(model, manifest.read(recordings)[:1], spread=journal.resumed(
            tmp_path / place, journal.question(model), run.here(1)))


# ---- The commands ----


def report(capsys, *arguments):
    """The report of `ee-ref eval` as JSON, without what is measured by a clock."""
    assert main(["eval", "--format", "json", *map(str, arguments)]) == 0
    found = json.loads(capsys.readouterr().out)
    clocks = ("time", "wall_seconds", "times_real_time", "threads", "policy_run")

    def clean(value):
        if isinstance(value, dict):
            return {key: clean(of) for key, of in value.items() if key not in clocks}
        return [clean(of) for of in value] if isinstance(value, list) else value

    return clean(found)


def test_the_report_is_the_same_everywhere(capsys, recordings, model_path, tmp_path):
    """Here, on workers, from a journal."""
    model = ("--manifest", recordings, "--model", model_path)
    expected = report(capsys, *model)
    options = ("--workers", 2, "--journal", tmp_path / "j")
    assert report(capsys, *model, *options) == expected
    assert report(capsys, *model, "--journal", tmp_path / "j") == expected
    assert main(["eval", *map(str, model), "--exit", "1", "--journal", str(tmp_path / "j")]) == 2
    assert "whose policy was" in capsys.readouterr().err


def test_calibration_on_workers(capsys, recordings, model_path, tmp_path):
    options = ["calibrate", "--manifest", str(recordings), "--model", str(model_path), "--dry-run",
               "--target", "best", "--point", "fast=best"]
    points = []
    for number, more in enumerate(([], ["--workers", "2"])):
        path = tmp_path / str(number)
        assert main([*options, "--json", str(path), *more]) == 0
        points.append({name: point["policy"] for name, point in
                       json.loads(path.read_text())["points"].items()})
    assert points[0] == points[1]
    capsys.readouterr()
    assert main([*options[:6], "--stream", "--workers", "2"]) == 2
    assert "expected --workers or --stream, found both" in capsys.readouterr().err


def test_transcripts_on_workers(capsys, recordings, model_path, tmp_path):
    clips = [str(recordings.with_name(f"{n}.wav")) for n in range(12)]
    options = ["--model", str(model_path), *clips]
    assert main(["transcribe", *options]) == 0
    expected = capsys.readouterr().out
    assert main(["transcribe", "--workers", "2", *options]) == 0
    assert capsys.readouterr().out == expected
    bad = [*options, str(tmp_path / "none.wav")]
    folder = ["--output-dir", str(tmp_path / "out")]
    assert main(["transcribe", "--workers", "1", *folder, *bad]) == 1
    assert "none.wav: no such file" in capsys.readouterr().err
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert [written[f"{n}.txt"] for n in range(12)] == expected.splitlines(keepends=True)
    (tmp_path / "out" / "3.txt").unlink()
    (tmp_path / "out" / "4.txt").write_text("kept")
    assert main(["transcribe", "--workers", "1", "--resume", *folder, *options]) == 0
    assert (tmp_path / "out" / "3.txt").read_text() == written["3.txt"]
    assert (tmp_path / "out" / "4.txt").read_text() == "kept"
    assert main(["transcribe", "--resume", *folder, *options]) == 0  # nothing is left to do
    capsys.readouterr()


@pytest.mark.parametrize("arguments, message", [
    (["transcribe", "-", "--workers", "2"], "found - (standard input)"),
    (["transcribe", "a.wav", "--resume"], "--resume needs --output-dir"),
    (["transcribe", "a.wav", "--workers", "0"], "workers: expected an integer in 1..1024"),
    (["transcribe", "a.wav", "--dask", "tcp://h:1", "--threads", "2"], "found both"),
    (["eval", "--scores", "x", "--workers", "2"], "expected --workers or --scores"),
    (["eval", "--scores", "x", "--journal", "j"], "expected --journal or --scores")])
def test_options_that_cannot_be(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
