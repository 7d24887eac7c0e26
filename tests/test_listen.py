"""`ee-ref listen`, and `transcribe` of long recordings on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import soundfile

from ee_ref import audio
from ee_ref.cli import main
from ee_ref.loading import bundled_model
from tests.test_interruption import ended, started

RATE = 16000
DEMO = bundled_model().with_name("demo.wav")
QUICK = ("--model", "commands", "--exit", "3")
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and pipes of POSIX")


@pytest.fixture(scope="module")
def pcm() -> bytes:
    samples = np.concatenate([audio.read(DEMO, RATE), np.zeros(2 * RATE, np.float32)])
    return (samples * 32768).astype("<i2").tobytes()


def listen(data: bytes, *options: str) -> tuple[int, bytes, str]:
    process = started("listen", "-", *options, stdin=subprocess.PIPE)
    out, err = process.communicate(data, timeout=60)
    return process.returncode, out, err.decode()


def test_words_of_a_pipe(pcm):
    code, out, err = listen(pcm + pcm)
    assert (code, err) == (0, "")
    assert out.decode() == "COMPUTER GO FORWARD NINE STOP\n" * 2


def test_events_as_lines_of_json(pcm):
    code, out, _ = listen(pcm, "--format", "json", *QUICK)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {event["final"] for event in events} == {True, False}
    assert set(events[0]) == {"final", "text", "words", "exit", "start", "end", "confidence",
                              "endpoint", "intent", "slots"}
    finals = [event for event in events if event["final"]]
    assert finals[-1]["endpoint"]
    words = [word for event in finals for word in event["words"]]
    assert [word["word"] for word in words] == " ".join(e["text"] for e in finals).split()


def test_phrases_of_a_pipe(pcm, tmp_path):
    (tmp_path / "all.phrases").write_text("all: computer go {way = forward | back} nine stop\n")
    code, out, _ = listen(pcm, "--phrases", str(tmp_path / "all.phrases"), "--format", "json")
    [event] = [json.loads(line) for line in out.splitlines()]
    assert (code, event["intent"], event["slots"]) == (0, "all", {"way": "forward"})


@pytest.mark.parametrize("data, message", [
    (DEMO.read_bytes(), "found an audio file"), (b"\0" * 3201, "odd number")])
def test_what_are_no_samples(data, message):
    code, _, err = listen(data, *QUICK)
    assert code == 1 and message in err and err.count("\n") == 1


@pytest.mark.parametrize("options, message", [
    (("--rate", "4000"), "8000..1000000 Hz"), (("--after", "-1"), "after"),
    (("--exit", "9"), "--exit 9"), (("--filler", "3"), "--phrases")])
def test_options_that_cannot_be(options, message):
    code, out, err = listen(b"", *options)
    assert code in (1, 2) and message in err and not out


def test_an_odd_slice_is_no_odd_number(pcm):
    process = started("listen", "-", stdin=subprocess.PIPE)
    for start in range(0, len(pcm), 4001):
        process.stdin.write(pcm[start : start + 4001])
        process.stdin.flush()
    process.stdin.close()
    process.stdin = None
    assert ended(process)[:2] == (0, b"COMPUTER GO FORWARD NINE STOP\n")


# ---- The end that nobody planned ----

BREAKS = """
from ee_ref.stream import hearing
calls, hear = [], hearing.Hearing._heard
def hooked(self, end, is_last):
    calls.append(end)
    if len(calls) == 9:
        raise MemoryError("for a test")
    return hear(self, end, is_last)
hearing.Hearing._heard = hooked
"""

INTERRUPT = """
import os, signal
from ee_ref import model
calls, add = [], model.Transcript.add
def hooked(self, events):
    add(self, events)
    calls.append(self)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGINT)
model.Transcript.add = hooked
"""


def test_an_error_while_listening_keeps_what_was_heard(pcm):
    process = started("listen", "-", "--model", "english", stdin=subprocess.PIPE, before=BREAKS)
    out, _ = process.communicate(pcm + pcm, timeout=60)
    assert process.returncode != 0 and out.startswith(b"COMPUTER GO")


@posix
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_listening(pcm, number, code):
    """What was said is out, and the pipe is still open."""
    process = started("listen", "-", stdin=subprocess.PIPE)
    process.stdin.write(pcm)
    process.stdin.flush()
    seen = b""
    while b"NINE" not in seen:
        seen += os.read(process.stdout.fileno(), 100)
    process.send_signal(number)
    assert process.wait(60) == code
    rest, err = process.stdout.read(), process.stderr.read().decode()
    process.stdin.close()
    assert (seen + rest).decode() == "COMPUTER GO FORWARD NINE STOP\n"
    assert "Traceback" not in err and err.count("\n") == 1


@posix
def test_a_reader_that_has_gone(pcm):
    process = started("listen", "-", *QUICK, stdin=subprocess.PIPE)
    process.stdout.close()
    process.stdout = None
    try:
        process.stdin.write(pcm)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it has ended before all was read
    process.stdin = None
    assert process.wait(60) == 1
    assert "Traceback" not in process.stderr.read().decode()


@posix
def test_an_interrupt_keeps_what_was_heard_of_a_long_recording(tmp_path):
    samples = np.tile(np.concatenate([audio.read(DEMO, RATE), np.zeros(RATE)]), 30)
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    code, _, err = ended(started(
        "transcribe", tmp_path / "long.wav", "--output-dir", tmp_path / "out", *QUICK,
        before=INTERRUPT))
    assert code == 130 and "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["long.txt.partial"]
    assert (tmp_path / "out" / "long.txt.partial").read_text().startswith("COMP")
    assert "the first" in err


def test_a_long_recording_that_is_cut_keeps_what_was_heard(tmp_path, capsys):
    samples = np.tile(np.concatenate([audio.read(DEMO, RATE), np.zeros(RATE)]), 30)
    path = tmp_path / "long.flac"
    soundfile.write(path, samples, RATE)
    os.truncate(path, path.stat().st_size // 2)
    (tmp_path / "out").mkdir()
    other = tmp_path / "out" / "long.partial.txt"  # of another recording, long.partial.flac
    other.write_text("OTHER")
    assert main(["transcribe", str(path), "--output-dir", str(tmp_path / "out"), *QUICK]) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"long.txt.partial", other.name}
    assert other.read_text() == "OTHER"
    words = (tmp_path / "out" / "long.txt.partial").read_text().split()
    assert 45 < len(words) < 75 and " ".join(words).count("COMPUTER") > 12
    assert "cut short" in (err := capsys.readouterr().err) and "the first" in err


def test_a_long_recording_becomes_subtitles(tmp_path, capsys):
    samples = np.tile(np.concatenate([audio.read(DEMO, RATE), np.zeros(RATE)]), 12)
    soundfile.write(tmp_path / "long.flac", samples, RATE)
    assert main(["transcribe", str(tmp_path / "long.flac"), "--format", "srt"]) == 0
    cues = capsys.readouterr().out.split("\n\n")
    assert len(cues) >= 12
    assert all(len(cue.splitlines()[-1]) <= 42 for cue in cues if cue.strip())


# ---- A microphone ----


class Device:
    """What stands in for `sounddevice`: blocks, and then nothing."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks, error: Exception | None = None):
        self.blocks, self.error, self.active = blocks, error, False

    def InputStream(self, rate, size, device, channels, dtype, callback):  # noqa: N802
        if self.error:
            raise self.error
        assert (rate, size, channels, dtype) == (RATE, 320, 1, "float32")
        self.callback = callback
        return self

    def __enter__(self):
        for block in self.blocks:
            self.callback(block[:, None], len(block), None, None)
        return self

    def __exit__(self, *_):
        self.blocks = None


@pytest.fixture
def plug(monkeypatch):
    def put(device):
        module = types.ModuleType("sounddevice")
        module.InputStream, module.PortAudioError = device.InputStream, device.PortAudioError
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        monkeypatch.setattr("ee_ref.cli.listen._SILENT_SECONDS", 0.05)

    return put


def test_a_microphone_that_is_pulled_out(plug, capsys):
    samples = np.concatenate([audio.read(DEMO, RATE), np.zeros(RATE, np.float32)])
    device = Device(np.array_split(samples, len(samples) // 320))
    plug(device)
    assert main(["listen"]) == 1
    out, err = capsys.readouterr()
    assert out == "COMPUTER GO FORWARD NINE STOP\n"
    assert "was it disconnected" in err and device.blocks is None


def test_a_machine_that_cannot_keep_up(plug, capsys, monkeypatch):
    monkeypatch.setattr("ee_ref.cli.listen._WAITING_BLOCKS", 3)
    plug(Device([np.zeros(320, np.float32)] * 5))
    assert main(["listen", *QUICK]) == 1
    assert "cannot keep up" in capsys.readouterr().err


@pytest.mark.parametrize("error", [
    Device.PortAudioError("Error querying device -1"),
    ValueError("No input device matching 'desk'"),  # what sounddevice says of names
])
def test_no_device(plug, capsys, error):
    plug(Device([], error))
    assert main(["listen", *QUICK]) == 1
    assert str(error) in (err := capsys.readouterr().err) and "listen -" in err


def test_no_library(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["listen", *QUICK]) == 1
    assert "ee-ref[mic]" in capsys.readouterr().err
