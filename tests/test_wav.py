"""WAV files read without libsndfile: the same samples, and only where nothing is in doubt."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import audio, wav
from ee_ref.errors import EeWarning, TooLongError

RATE = 16000


def noise(frames, channels=1, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(-32768, 32768, (frames, channels)).astype(np.int16)


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(channels=1, rate=RATE, kind=1, bits=16, align=None):
    align = 2 * channels if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * align, align, bits))


def opened(path):
    with open(path, "rb", buffering=0) as file:
        return wav.opened(file), file.tell()


SAMPLES = noise(5)
DATA = chunk(b"data", SAMPLES.tobytes())
PLAIN = {
    "plain": riff(fmt(), DATA),
    "chunks before": riff(fmt(), chunk(b"LIST", b"INFOodd"), chunk(b"fact", bytes(4)), DATA),
    "stereo": riff(fmt(2), chunk(b"data", noise(4, 2).tobytes())),
    "by soundfile": None,
}
OTHERS = {
    "nothing": b"",
    "a header's beginning": riff(fmt(), DATA)[:30],
    "no data": riff(fmt()),
    "no samples": riff(fmt(), chunk(b"data", b"")),
    "chunks behind": riff(fmt(), DATA, chunk(b"LIST", b"INFO")),
    "cut short": riff(fmt(), DATA)[:-2],
    "half a sample": riff(fmt(), chunk(b"data", bytes(9))),
    "bytes behind": riff(fmt(), DATA) + b"\0\0",
    "a size of none": riff(fmt(), DATA).replace(DATA[:8], b"data\xff\xff\xff\xff"),
    "another size of the whole": b"RIFF\0\0\0\0" + riff(fmt(), DATA)[8:],
    "floats": riff(fmt(kind=3, bits=32, align=4), chunk(b"data", bytes(8))),
    "8 bits": riff(fmt(bits=8, align=1), chunk(b"data", bytes(8))),
    "24 bits": riff(fmt(bits=24, align=3), chunk(b"data", bytes(9))),
    "A-law": riff(fmt(kind=6), DATA),
    "no channels": riff(fmt(0), DATA),
    "65 channels": riff(fmt(65), chunk(b"data", bytes(130))),
    "another alignment": riff(fmt(align=4), chunk(b"data", bytes(8))),
    "a longer fmt": riff(chunk(b"fmt ", fmt()[8:] + bytes(2)), DATA),
    "a chunk before fmt": riff(chunk(b"JUNK", bytes(28)), fmt(), DATA),
    "big-endian": b"RIFX" + riff(fmt(), DATA)[4:],
    "a header of 5000 bytes": riff(fmt(), chunk(b"LIST", bytes(5000)), DATA),
    "a chunk past the end": riff(fmt(), b"LIST\xff\xff\xff\xff", DATA),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_read_as_libsndfile_reads_them(name, tmp_path):
    path = tmp_path / "a.wav"
    if PLAIN[name] is None:
        soundfile.write(path, SAMPLES, RATE)
    else:
        path.write_bytes(PLAIN[name])
    expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
    with open(path, "rb", buffering=0) as file:
        found = wav.opened(file)
        assert (found.samplerate, found.channels, found.frames) == (
            rate, expected.shape[1], len(expected))
        assert found.read(3).tobytes() + found.read(99).tobytes() == expected.tobytes()
        assert found.read(1).shape == (0, expected.shape[1])


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_left_to_libsndfile(name, tmp_path):
    (tmp_path / "a.wav").write_bytes(OTHERS[name])
    assert opened(tmp_path / "a.wav") == (None, 0)


def test_a_pipe_is_not_read(tmp_path):
    read, write = os.pipe()
    os.write(write, PLAIN["plain"])
    with open(read, "rb", buffering=0) as file:
        assert wav.opened(file) is None
        assert file.read(99) == PLAIN["plain"]
    os.close(write)


@given(frames=st.integers(1, 300), channels=st.integers(1, 64), rate=st.integers(1000, 10**6),
       seed=st.integers(0, 99))
def test_any_size(tmp_path_factory, frames, channels, rate, seed):
    samples = noise(frames, channels, seed)
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    path.write_bytes(riff(fmt(channels, rate), chunk(b"data", samples.tobytes())))
    expected = samples.astype(np.float32) / 32768
    found = audio.read(path, rate)
    assert found.tobytes() == (expected[:, 0] if channels == 1
                               else expected.mean(axis=1, dtype=np.float32)).tobytes()


@pytest.mark.parametrize("source", [lambda path: path, lambda path: io.BytesIO(path.read_bytes())],
                         ids=["path", "stream"])
def test_the_same_by_either_way(source, tmp_path, monkeypatch):
    (tmp_path / "long.wav").write_bytes(
        riff(fmt(2), chunk(b"data", noise(200_000, 2).tobytes())))  # of two blocks
    ours = audio.read(source(tmp_path / "long.wav"), RATE)
    monkeypatch.setattr(wav, "opened", lambda file: None)
    assert ours.tobytes() == audio.read(source(tmp_path / "long.wav"), RATE).tobytes()


def test_refusals_and_warnings_are_the_same(tmp_path):
    left = noise(1000)
    path = tmp_path / "a.wav"
    path.write_bytes(riff(fmt(2), chunk(b"data", np.hstack([left, ~left]).tobytes())))
    with pytest.warns(EeWarning, match="cancel each other"):
        audio.read(path, RATE)
    path.write_bytes(riff(fmt(), chunk(b"data", noise(RATE + 1).tobytes())))
    assert len(audio.read(path, RATE, longest=1.1)) == RATE + 1
    with pytest.raises(TooLongError, match="at most 1"):
        audio.read(path, RATE, longest=1)


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(riff(fmt(2), chunk(b"data", noise(100, 2).tobytes())))
    with open(path, "rb", buffering=0) as file:
        found = wav.opened(file)
        os.truncate(path, 44 + 4 * 30 + 3)
        assert len(found.read(100)) == 30 and len(found.read(100)) == 0
