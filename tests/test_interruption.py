"""Commands that are stopped, or whose output cannot be written: nothing half done, no traceback."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref.conformance.draw import SMALL, random_state_dict

from .hostile.checkpoints import torch_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and limits of POSIX")

RATE = 16000
PACKAGE = Path(ee_ref.__file__).parent
PATIENCE = 60  # seconds until a process that should have ended has failed the test

# What a process does before it becomes ee-ref.
START = f"import sys; sys.path[0] = {str(PACKAGE.parent)!r}\n"
SIGNAL_BEFORE_A_MOVE = """
import os, time
calls, replace = [], os.replace
def hooked(*arguments):
    calls.append(arguments)
    if len(calls) == {nth}:
        os.kill(os.getpid(), {number})
        time.sleep(60)
    replace(*arguments)
os.replace = hooked
"""
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
FEW_VECTORS = """
import numpy as np
from ee_ref.cli import conformance
from ee_ref.conformance import manifest
x = np.zeros((3, 5), np.float32)
case = manifest.Vector("int8/silu_exact/a", "int8", "silu_exact", {"x": x}, {"y": x},
                       {"y": manifest.Bound("exact", 0, "bytes")}, {}, "")
conformance._vectors = lambda _folder: manifest.Vectors(1, (case,), {})
"""
RUN = "from ee_ref.cli import entry; entry()"


def started(*arguments, before="", **options):
    """`ee-ref ARGUMENTS` as a process."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               **options}
    code = START + before + RUN
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **options)


def ended(process):
    """(exit code, stdout, stderr) of a process that ends by itself."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err.decode()


def one_line(err):
    return err.startswith("ee-ref: ") and err.count("\n") == 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, model_path):
    """A folder with a clip, a manifest, a model and a checkpoint."""
    folder = tmp_path_factory.mktemp("inputs")
    samples = np.random.default_rng(5).uniform(-0.5, 0.5, RATE)
    soundfile.write(folder / "clip.wav", samples, RATE)
    (folder / "set.jsonl").write_text("".join(
        json.dumps({"path": "clip.wav", "text": "ab", "id": str(n), "speaker": str(n)}) + "\n"
        for n in range(6)))
    (folder / "m.gguf").write_bytes(model_path.read_bytes())
    (folder / "m.pt").write_bytes(torch_file({"model": random_state_dict(SMALL, 3), "heads": 4}))
    return folder


COMMANDS = {
    # name: arguments, {in} and {out} being folders; what runs before
    "transcribe": ("transcribe {in}/clip.wav --model {in}/m.gguf --output-dir {out}", ""),
    "convert": ("convert {in}/m.pt -o {out}/x", ""),
    "quantize": ("quantize {in}/m.gguf -o {out}/x", ""),
    "export": ("export {in}/m.gguf -o {out}/x", ""),
    "eval": ("eval --manifest {in}/set.jsonl --model {in}/m.gguf -o {out}/x", ""),
    "calibrate": ("calibrate --manifest {in}/set.jsonl --model {in}/m.gguf --target best "
                  "--point fast=best -o {out}/x", ""),
    "conformance export": ("conformance export {out}/x", FEW_VECTORS),
    "conformance run": ("conformance run --exe '{python} {tests}/fake_port.py good' --output "
                        "{out}/x", FEW_VECTORS),
}


def arguments_of(name, inputs, out):
    text, before = COMMANDS[name]
    words = shlex.split(text)
    places = {"in": inputs, "out": out, "python": sys.executable, "tests": Path(__file__).parent}
    return [word.format(**places) for word in words], before


def environment():
    """That of a port, which runs beside the package under test."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_before_the_output_is_in_place(name, inputs, tmp_path):
    """One of the two signals each, and a process that has nothing left but to move its file."""
    number = (signal.SIGINT, signal.SIGTERM)[list(COMMANDS).index(name) % 2]
    arguments, before = arguments_of(name, inputs, tmp_path)
    before += SIGNAL_BEFORE_A_MOVE.format(nth=1, number=int(number))
    code, _, err = ended(started(*arguments, before=before, env=environment()))
    assert code == 128 + number, err
    assert "Traceback" not in err and err.splitlines()[-1].startswith("ee-ref: ")
    assert os.listdir(tmp_path) == []


def test_a_signal_between_the_moves_of_an_export_keeps_the_old_vectors(tmp_path):
    target = tmp_path / "vectors"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    before = FEW_VECTORS + SIGNAL_BEFORE_A_MOVE.format(nth=2, number=int(signal.SIGTERM))
    code, _, err = ended(started("conformance", "export", target, "--force", before=before))
    assert (code, err) == (143, "ee-ref: stopped by SIGTERM\n")
    assert os.listdir(tmp_path) == ["vectors"] and os.listdir(target) == ["manifest.json"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full(name, inputs, tmp_path):
    arguments, before = arguments_of(name, inputs, tmp_path)
    before += SMALL_FILES
    if name == "transcribe":
        before = before.replace("100", "0")  # the text is shorter than 100 bytes
    code, _, err = ended(started(*arguments, before=before, env=environment()))
    assert code == 1, err
    assert "File too large" in err and "Traceback" not in err and one_line(err)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [
    "transcribe {in}/clip.wav --model {in}/m.gguf", "info {in}/m.gguf",
    "conformance list",
])
def test_a_full_stdout(arguments, inputs):
    words = [word.format(**{"in": inputs}) for word in arguments.split()]
    with open("/dev/full", "wb") as full:
        code, _, err = ended(started(*words, before=FEW_VECTORS, stdout=full))
    assert (code, err) == (1, "ee-ref: standard output: No space left on device\n")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream(closed, inputs):
    words = ["transcribe", "-" if closed == 0 else inputs / "clip.wav", "--model",
             inputs / "m.gguf"]
    before = "import os\n"
    command = [sys.executable, "-c", START + before + RUN, *map(str, words)]
    shell = f"exec {shlex.join(command)} {closed}{'<' if closed == 0 else '>'}&-"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=PATIENCE)
    if closed == 2:
        assert done.returncode == 0 and done.stdout
    else:
        assert done.returncode == 1 and done.stdout == b""
        assert b"is closed" in done.stderr and one_line(done.stderr.decode())


def test_a_reader_that_has_read_enough(inputs):
    """As `| head -1`: no complaint, and no more work."""
    clips = [inputs / "clip.wav"] * 200
    process = started("transcribe", *clips, "--model", inputs / "m.gguf", "--backend", "numpy")
    assert process.stdout.readline().endswith(b"\n")
    process.stdout.close()
    process.stdout = None
    assert ended(process) == (1, None, "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("number, threads", [
    (signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2),
], ids=lambda value: getattr(value, "name", str(value)))
def test_a_batch_that_waits_for_a_pipe(number, threads, inputs, tmp_path):
    """What was done is there; the file that nobody writes is not waited for."""
    os.mkfifo(tmp_path / "pipe.wav")
    process = started("transcribe", inputs / "clip.wav", tmp_path / "pipe.wav", "--model",
                      inputs / "m.gguf", "--threads", threads)
    assert process.stdout.readline().endswith(b"\n")
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out) == (128 + number, b"") and one_line(err), err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
                         ids=lambda number: number.name)
def test_no_port_is_left_behind(number, tmp_path):
    """A port that never answers, and a child of it, end with the command."""
    pids = tmp_path / "pids"
    port = f"sleep 600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    process = started("conformance", "run", "--exe", shlex.join(["sh", "-c", port]),
                      before=FEW_VECTORS)
    deadline = time.monotonic() + PATIENCE
    while not pids.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 128 + number and one_line(err), err
    for pid in map(int, pids.read_text().split()):
        while is_running(pid):
            assert time.monotonic() < deadline, f"process {pid} is left behind"
            time.sleep(0.01)


def is_running(pid):
    """Whether there is such a process, and it is no zombie that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """40 files, of Opus where libsndfile has it, which it decodes slowly."""
    folder = tmp_path_factory.mktemp("batch")
    samples = np.random.default_rng(5).uniform(-0.5, 0.5, 2 * RATE)
    kind = {"format": "OGG", "subtype": "OPUS"} if "OGG" in soundfile.available_formats() else {
        "format": "WAV"}
    soundfile.write(folder / "00.ogg", samples, RATE, **kind)
    for n in range(1, 40):
        (folder / f"{n:02}.ogg").write_bytes((folder / "00.ogg").read_bytes())
    return sorted(folder.iterdir())


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("lines", [
    3, *(pytest.param(lines, marks=pytest.mark.slow) for lines in (1, 9))])
def test_a_signal_while_files_are_read_ends_the_batch(
    batch, model_path, number, code, threads, lines
):
    """And no transcript covers a part of its audio, however many came before the signal."""
    whole = ee_ref.load(model_path).transcribe(batch[0]).text + "\n"
    process = started("transcribe", "--model", model_path, "--threads", threads, *batch)
    out = b"".join(process.stdout.readline() for _ in range(lines))
    process.send_signal(number)
    found, rest, err = ended(process)
    assert found == code and one_line(err)
    assert set((out + rest).decode().splitlines(keepends=True)) == {whole}
    assert lines <= (out + rest).count(b"\n") < len(batch)
