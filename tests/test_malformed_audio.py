"""Malformed audio through `ee-ref transcribe`: a transcript, or one line that says why not."""

import io
import os
import subprocess
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile

from ee_ref import audio
from ee_ref.cli import main
from ee_ref.errors import AudioError, AudioFileError, TooLongError

from .hostile import corpus
from .hostile.audio_files import AUDIO_FILES, DATA, HEARD, REFUSED, UNSURE
from .test_audio import Pipe
from .test_cli import COMMAND

RATE = 16000
MEMORY = 3 << 30  # of address space for a whole process; headers here claim up to 2^64 bytes


@pytest.fixture
def transcribe(model_path, capsys):
    """(exit code, stdout, stderr) of `ee-ref transcribe FILE...`."""
    def transcribe(*files):
        code = main(["transcribe", "--model", str(model_path), *map(str, files)])
        return (code, *capsys.readouterr())
    return transcribe


def refused(found, name):
    code, out, err = found
    assert (code, out) == (1, "")
    assert err.startswith("ee-ref: ") and err.count("\n") == 1 and err.endswith("\n")
    assert name in err and "Traceback" not in err


def heard(found):
    code, out, err = found
    assert (code, err) == (0, "") and out.count("\n") == 1


def test_there_are_many_ways():
    assert len(REFUSED) >= 40 and len(HEARD) >= 20
    assert len(AUDIO_FILES) == len(HEARD) + len(REFUSED) + len(UNSURE)


@pytest.mark.parametrize("name", HEARD)
def test_what_can_be_told_is_heard(name, transcribe):
    heard(transcribe(corpus.FOLDER / "audio" / name))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_is_refused(name, transcribe):
    refused(transcribe(corpus.FOLDER / "audio" / name), name)


@pytest.mark.parametrize("name", UNSURE)
def test_what_libsndfile_may_decide(name, transcribe):
    found = transcribe(corpus.FOLDER / "audio" / name)
    heard(found) if found[0] == 0 else refused(found, name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs devices and pipes")
def test_what_is_no_file(transcribe, tmp_path):
    refused(transcribe(tmp_path), "found a folder")
    refused(transcribe(tmp_path / "none.wav"), "no such file")
    refused(transcribe(os.devnull), "empty file")
    refused(transcribe("/dev/zero"), "libsndfile cannot read")  # and is not copied first
    for name, content, expect in (("good", HEARD["good.wav"], heard),
                                  ("text", b"text", lambda found: refused(found, "pipe"))):
        path = tmp_path / f"{name}.pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        expect(transcribe(path))
        writer.join()


def test_a_name_moves_no_cursor(transcribe):
    code, out, err = transcribe("a\x1b[2J\udcff.wav")
    assert (code, out) == (1, "") and r"a\x1b[2J\udcff.wav: no such file" in err


def test_as_a_process_with_little_memory(model_path):
    """All that lie about sizes in one batch: each has its line, none gets what it claims."""
    names = ["aiff-without-sound.aiff",
             *(name for name in REFUSED if "huge" in name or "hours" in name or "2-3" in name)]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
    command = [COMMAND[0], "-c", limit + COMMAND[2], "transcribe", "--model", model_path,
               *(corpus.FOLDER / "audio" / name for name in names),
               corpus.FOLDER / "audio" / "data-size-huge.wav"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ee-ref: ")]
    assert done.returncode == 1 and len(names) >= 5
    assert [name for name, line in zip(names, lines) if name not in line] == []
    assert len(lines) == len(names) and done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr and "MemoryError" not in done.stderr


def test_silence_of_hours_in_a_small_file():
    """Ten minutes in some kilobytes: no more of it is decoded than the model has positions for."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(600 * RATE, np.int16), RATE, format="FLAC")
    file.seek(0)
    tracemalloc.start()
    with pytest.raises(TooLongError, match="at most 4.00 s of audio, found more"):
        audio.read(file, RATE, longest=4.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6 < 4 * 600 * RATE


def test_what_is_just_short_enough(monkeypatch):
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 1000)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(RATE, np.int16), RATE, format="WAV")
    file.seek(0)
    assert len(audio.read(file, RATE, longest=1.0)) == RATE
    file.seek(0)
    with pytest.raises(TooLongError):
        audio.read(file, RATE, longest=0.99)


def test_a_pipe_without_end(monkeypatch):
    monkeypatch.setattr(audio, "MAX_STREAM_BYTES", 10_000)
    with pytest.raises(AudioError, match="a stream of at most 10000 bytes"):
        audio.read(Pipe(bytes(3_000_000)), RATE)


class Failing(io.BytesIO):
    """A file on a disk that fails after the header."""

    def read(self, size=-1):
        if self.tell() > 100:
            raise OSError(5, "Input/output error")
        return super().read(min(size, 300))


def test_a_disk_that_fails(capfd):
    with pytest.raises(AudioFileError, match="Input/output error"):
        audio.read(Failing(HEARD["good.wav"] + DATA * 100), RATE)
    assert capfd.readouterr().err == ""
