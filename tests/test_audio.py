"""Reading audio: formats, rates and channels, and everything that is not usable audio."""

import gc
import gzip
import io
import os
import signal
import struct
import tarfile
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
import soundfile

from ee_ref import audio
from ee_ref.errors import AudioError, AudioFileError, EeWarning

RATE = 16000


def tone(seconds=0.5, rate=RATE, frequency=440.0, level=0.5):
    t = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


def encoded(samples, rate=RATE, format="WAV", subtype="PCM_16", endian="FILE"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype, endian=endian)
    return file.getvalue()


class Pipe(io.RawIOBase):
    """A binary stream that cannot seek, like stdin."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def readable(self):
        return True

    def seekable(self):
        return False

    def readinto(self, buffer):
        return self.file.readinto(buffer)


# What a lossy codec may change of a pure tone.
@pytest.mark.parametrize("format, subtype, tolerance", [
    ("WAV", "PCM_U8", 2 / 128),
    ("WAV", "PCM_16", 1 / 32768),
    ("WAV", "PCM_24", 2**-22),
    ("WAV", "PCM_32", 2**-22),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("FLAC", "PCM_16", 1 / 32768),
    ("FLAC", "PCM_24", 2**-22),
    ("AIFF", "PCM_16", 1 / 32768),
    ("OGG", "VORBIS", 0.05),
    ("OGG", "OPUS", 0.05),
    ("MP3", "MPEG_LAYER_III", 0.05),
])
def test_formats(tmp_path, format, subtype, tolerance):
    if format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {format}")
    samples = tone()
    path = tmp_path / f"a.{format.lower()}"
    path.write_bytes(encoded(samples, format=format, subtype=subtype))
    found = audio.read(path, RATE)
    assert found.dtype == np.float32 and found.ndim == 1
    assert abs(len(found) - len(samples)) <= (2400 if format == "MP3" else 0)
    middle = slice(2000, 6000)
    assert np.abs(found[middle] - samples[middle]).max() <= tolerance


def test_sources_agree(tmp_path):
    samples = tone()
    data = encoded(samples)
    path = tmp_path / "a b é.wav"
    path.write_bytes(data)
    expected = audio.read(path, RATE)
    np.testing.assert_array_equal(audio.read(str(path), RATE), expected)
    np.testing.assert_array_equal(audio.read(io.BytesIO(data), RATE), expected)
    np.testing.assert_array_equal(audio.read(Pipe(data), RATE), expected)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(audio.read(file, RATE), expected)
    after_other_bytes = io.BytesIO(b"x" * 10 + data)
    after_other_bytes.seek(10)
    np.testing.assert_array_equal(audio.read(after_other_bytes, RATE), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_path_of_a_pipe(tmp_path):
    data, path = encoded(tone()), tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    found = audio.read(path, RATE)
    writer.join()
    np.testing.assert_array_equal(found, audio.read(io.BytesIO(data), RATE))


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 16001])
def test_rates(rate):
    found = audio.read(io.BytesIO(encoded(tone(rate=rate), rate)), RATE)
    expected = tone()
    assert abs(len(found) - len(expected)) <= 1
    middle = slice(1000, 7000)
    assert np.abs(found[middle] - expected[middle]).max() < 5e-3


def test_resampling_removes_what_the_rate_cannot_carry():
    found = audio.read((tone(rate=48000, frequency=11000), 48000), RATE)
    assert np.abs(found[500:-500]).max() < 5e-3


@pytest.mark.parametrize("rate", [1000, 999_983, 1_000_000])
def test_extreme_rates_cost_little(rate):
    found = audio.read((np.full(rate // 10, 0.25, np.float32), rate), RATE)
    assert abs(len(found) - RATE // 10) <= 1
    assert abs(found[800] - 0.25) < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_are_averaged(channels):
    samples = np.random.default_rng(1).uniform(-1, 1, (4000, channels)).astype(np.float32)
    expected = samples.mean(axis=1)
    file = io.BytesIO(encoded(samples, subtype="FLOAT"))
    np.testing.assert_allclose(audio.read(file, RATE), expected, atol=1e-6)
    np.testing.assert_allclose(audio.read((samples, RATE), RATE), expected, atol=1e-6)


@pytest.mark.parametrize("format, subtype", [
    ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
])
def test_blocks_do_not_show(monkeypatch, format, subtype):
    if format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {format}")
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (RATE, 2)).astype(np.float32)
    data = encoded(samples, format=format, subtype=subtype)
    whole, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 999)
    found = audio.read(io.BytesIO(data), RATE)
    np.testing.assert_allclose(found, whole.mean(axis=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype, low, high", [
    (np.uint8, 0, 255), (np.int8, -128, 127), (np.int16, -32768, 32767),
    (np.int32, -(2**31), 2**31 - 1),
])
def test_integer_samples(dtype, low, high):
    middle = 128 if dtype is np.uint8 else 0
    found = audio.read((np.array([low, middle, high], dtype), RATE), RATE)
    assert found.dtype == np.float32
    full = (high - middle + 1)
    np.testing.assert_allclose(found, [-1, 0, (high - middle) / full], atol=1e-7)


def test_float_samples_pass_through():
    samples = np.array([-3, 0.5, 2], np.float32)
    np.testing.assert_array_equal(audio.read((samples, RATE), RATE), samples)
    np.testing.assert_array_equal(audio.read((samples.astype(np.float64), RATE), RATE), samples)
    np.testing.assert_array_equal(audio.read((samples.tolist(), float(RATE)), RATE), samples)
    file = io.BytesIO(encoded(samples, subtype="FLOAT"))
    np.testing.assert_array_equal(audio.read(file, RATE), samples)


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_no_samples(shape):
    for rate in (RATE, 44100):
        found = audio.read((np.zeros(shape, np.float32), rate), RATE)
        assert found.shape == (0,) and found.dtype == np.float32


def test_file_without_samples():
    assert audio.read(io.BytesIO(encoded(np.zeros(0), 44100)), RATE).shape == (0,)


def test_silence():
    np.testing.assert_array_equal(audio.read((np.zeros(100), RATE), RATE), np.zeros(100))


def test_missing_file(tmp_path):
    with pytest.raises(AudioFileError, match="none.wav: no such file") as error:
        audio.read(tmp_path / "none.wav", RATE)
    assert isinstance(error.value, OSError)


def test_folder(tmp_path):
    with pytest.raises(AudioFileError):
        audio.read(tmp_path, RATE)


def test_path_that_cannot_be():
    with pytest.raises(AudioFileError, match="cannot be opened"):
        audio.read("a\0b", RATE)


@pytest.mark.parametrize("data, found", [
    (b"", "empty file"),
    (b"not audio at all\n" * 100, "libsndfile"),
    (bytes(range(256)) * 20, "libsndfile"),
    (b"RIFF\x00\x00\x00\x00WAVE", "libsndfile"),
    (encoded(tone())[:20], "libsndfile"),
])
@pytest.mark.parametrize("suffix", ["wav", "raw", "flac"])
def test_not_audio(tmp_path, data, found, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=f"expected audio.*found.*{found}") as error:
        audio.read(path, RATE)
    assert str(path) in str(error.value)
    with pytest.raises(AudioError, match="expected audio"):
        audio.read(io.BytesIO(data), RATE)


def test_cut_wav_is_read_as_far_as_it_goes():
    samples = tone()
    data = encoded(samples)
    found = audio.read(io.BytesIO(data[: 44 + 2 * 1000]), RATE)
    assert 900 <= len(found) <= 1000
    np.testing.assert_allclose(found, samples[: len(found)], atol=1e-4)


def test_cut_flac_is_refused():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    data = encoded(noise, format="FLAC")
    with pytest.raises(AudioError, match="damaged or cut short: expected 16000 samples"):
        audio.read(io.BytesIO(data[: len(data) // 2]), RATE)


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_header_of_a_pipe(claim):
    data = bytearray(encoded(tone()))
    data[4:8] = data[40:44] = struct.pack("<I", claim)
    tracemalloc.start()
    found = audio.read(io.BytesIO(bytes(data)), RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == len(tone())
    assert peak < 8e6


def test_flac_header_that_claims_hours():
    data = bytearray(encoded(tone(), format="FLAC"))
    data[22:26] = b"\x7f\xff\xff\xff"  # total samples, in the stream information block
    tracemalloc.start()
    found = audio.read(io.BytesIO(bytes(data)), RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == len(tone())
    assert peak < 8e6


def test_flac_header_alone():
    data = encoded(tone(), format="FLAC")
    with pytest.raises(AudioError, match="expected 8000 samples, found none"):
        audio.read(io.BytesIO(data[:44]), RATE)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_absurd_rate_of_a_file(rate):
    data = bytearray(encoded(tone()))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(AudioError, match=f"1000..1000000 Hz, found {rate}"):
        audio.read(io.BytesIO(bytes(data)), RATE)


@pytest.mark.parametrize("rate", [0, -16000, 16000.5, np.nan, np.inf, True, None, "16000"])
def test_absurd_rate_of_samples(rate):
    with pytest.raises(AudioError, match="sample rate"):
        audio.read((np.zeros(10), rate), RATE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_samples_that_are_not_finite(bad):
    samples = np.zeros(RATE)
    samples[8000] = bad
    with pytest.raises(AudioError, match="1 NaN or infinite.*0.500 s"):
        audio.read((samples, RATE), RATE)
    with pytest.raises(AudioError, match="1 NaN or infinite.*0.500 s"):
        audio.read(io.BytesIO(encoded(samples, subtype="DOUBLE")), RATE)


@pytest.mark.parametrize("samples, message", [
    (np.zeros((2, 16000)), "transpose"),
    (np.zeros((10, 0)), "channels"),
    (np.zeros((2, 2, 2)), "shape"),
    (np.float32(1), "shape"),
    (np.zeros(10, np.int64), "int64"),
    (np.zeros(10, np.uint16), "uint16"),
    (np.zeros(10, complex), "complex"),
    (np.zeros(10, bool), "bool"),
    (["a", "b"], "found <U1"),
])
def test_samples_that_are_no_audio(samples, message):
    with pytest.raises(AudioError, match=message):
        audio.read((samples, RATE), RATE)


def test_rate_and_samples_swapped():
    with pytest.raises(AudioError, match="swap"):
        audio.read((RATE, np.zeros(10)), RATE)


@pytest.mark.parametrize("source", [None, 3, b"RIFF", [np.zeros(10), RATE],
                                    (np.zeros(10),), (np.zeros(10), RATE, 1)])
def test_source_of_another_type(source):
    with pytest.raises(AudioError, match="expected"):
        audio.read(source, RATE)


def test_text_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"text")
    with open(tmp_path / "a.wav") as file, pytest.raises(AudioError, match="binary.*str"):
        audio.read(file, RATE)


def test_closed_file():
    file = io.BytesIO(encoded(tone()))
    file.close()
    with pytest.raises(AudioFileError, match="closed"):
        audio.read(file, RATE)


# ---- Whatever a file object raises ----


class Stopped(BaseException):
    """As KeyboardInterrupt, but nobody else's."""


class Raising(io.BytesIO):
    """Raises at call number `at` of `read`."""

    def __init__(self, data, at, error):
        super().__init__(data)
        self.left, self.error = at, error

    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().read(min(size, 1000))


@pytest.mark.parametrize("format, subtype", [
    ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
])
@pytest.mark.parametrize("error", [
    Stopped(), KeyboardInterrupt(), ZeroDivisionError("mine"), TimeoutError("of a signal handler"),
])
def test_what_reading_raises_is_raised(format, subtype, error):
    if format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {format}")
    data = encoded(tone(), format=format, subtype=subtype)
    for at in range(len(data) // 1000 + 2):
        with pytest.raises(type(error)) as raised:
            audio.read(Raising(data, at, error), RATE)
        assert raised.value is error
    assert len(audio.read(Raising(data, len(data), error), RATE)) >= len(tone())


def test_a_disk_that_fails_is_an_audio_file_error():
    data = encoded(tone())
    for at in range(len(data) // 1000):
        with pytest.raises(AudioFileError, match="cannot be read: .*Input/output") as raised:
            audio.read(Raising(data, at, OSError(5, "Input/output error")), RATE)
        assert raised.value.__cause__.errno == 5


def test_nothing_of_python_is_called_while_c_decodes(tmp_path, monkeypatch):
    """An exception in a callback of C would be lost there, and the rest of a file with it."""
    data = encoded(tone(), format="FLAC")
    (tmp_path / "a.flac").write_bytes(data)
    used = []
    original = soundfile.SoundFile._init_virtual_io
    monkeypatch.setattr(soundfile.SoundFile, "_init_virtual_io",
                        lambda *given: used.append(given) or original(*given))
    with open(tmp_path / "a.flac", "rb") as file:
        for source in (tmp_path / "a.flac", file, io.BytesIO(data), Pipe(data)):
            assert len(audio.read(source, RATE)) == len(tone())
    assert used == []


@pytest.mark.parametrize("mode", ["r:gz", "r|gz"])
def test_members_of_archives(tmp_path, mode):
    data = encoded(tone())
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a.wav")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    with tarfile.open(tmp_path / "a.tar.gz", mode) as archive:
        found = audio.read(archive.extractfile(archive.next()), RATE)
    np.testing.assert_array_equal(found, audio.read(io.BytesIO(data), RATE))


def test_a_file_of_gzip_is_what_it_decodes(tmp_path):
    with gzip.open(tmp_path / "a.wav.gz", "wb") as file:
        file.write(encoded(tone()))
    with gzip.open(tmp_path / "a.wav.gz") as file:
        assert len(audio.read(file, RATE)) == len(tone())


def test_an_empty_path():
    with pytest.raises(AudioFileError, match="^expected the path of an audio file, found an empty"):
        audio.read("", RATE)


def test_an_object_that_only_reads():
    class Reads:
        def __init__(self, data):
            self.read = io.BytesIO(data).read

    assert len(audio.read(Reads(encoded(tone())), RATE)) == len(tone())


# ---- Headers that were never filled in ----


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("as_path", [False, True])
def test_a_wav_whose_sizes_were_never_filled_in_is_heard(tmp_path, riff, as_path):
    data = bytearray(encoded(tone()))
    at = data.index(b"data") + 4
    data[4:8], data[at : at + 4] = riff.to_bytes(4, "little"), bytes(4)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    found = audio.read(path if as_path else io.BytesIO(bytes(data)), RATE)
    np.testing.assert_array_equal(found, audio.read(io.BytesIO(encoded(tone())), RATE))
    assert path.read_bytes() == data, "the file of the user was written to"


@pytest.mark.parametrize("endian, riff", [("BIG", 0), ("BIG", 0xFFFFFFFF)])
def test_so_is_one_of_the_other_byte_order(endian, riff):
    data = bytearray(encoded(tone(), endian=endian))
    at = data.index(b"data") + 4
    assert data[:4] == b"RIFX"
    data[4:8], data[at : at + 4] = riff.to_bytes(4, "big"), bytes(4)
    assert_is_the_tone(data)


@pytest.mark.parametrize("in_ds64", [8, 16])
def test_so_is_a_long_wav(in_ds64):
    """Of RF64: the data's size, or all sizes, in the chunk ds64; the others say "look there"."""
    data = bytearray(encoded(tone(), format="RF64"))
    at = data.index(b"ds64") + 8
    data[at + 8 : at + 8 + in_ds64] = bytes(in_ds64)
    assert_is_the_tone(data)


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_so_is_an_au(endian):
    data = bytearray(encoded(tone(), format="AU", endian=endian))
    data[8:12] = bytes(4)
    assert_is_the_tone(data)


def assert_is_the_tone(data):
    for found in (bytes(data), bytes(data[:1000])):  # a small file as well
        samples = audio.read(io.BytesIO(found), RATE)
        assert len(samples) > 400
        np.testing.assert_allclose(samples, tone()[: len(samples)], atol=1 / 32768, rtol=0)
    assert len(samples) < 500


@pytest.mark.parametrize("format", ["RF64", "AU"])
def test_other_empty_recordings_stay_empty(format):
    assert len(audio.read(io.BytesIO(encoded(np.zeros(0), format=format)), RATE)) == 0


@pytest.mark.parametrize("behind", [b"", b"LIST\x04\0\0\0INFO", b"note\x03\0\0\0abc\0" * 300])
def test_an_empty_recording_stays_empty(behind):
    data = encoded(np.zeros(0, np.float32)) + behind
    assert len(audio.read(io.BytesIO(data), RATE)) == 0


def test_other_headers_of_no_samples_are_refused():
    data = bytearray(encoded(tone()))
    at = data.index(b"data")
    data[at + 4 : at + 8] = bytes(4)
    data[at:at] = b"LIST" + (5000).to_bytes(4, "little") + bytes(5000)  # longer than a header
    with pytest.raises(AudioError, match="a header of no samples before 21"):
        audio.read(io.BytesIO(bytes(data)), RATE)


# ---- Channels of opposite phase ----


@pytest.mark.parametrize("channels", [
    [tone(), -tone()], [tone(), -0.95 * tone()], [tone(), -tone(), 0.99 * tone(), -tone()],
], ids=["opposite", "nearly", "four"])
def test_channels_that_cancel_are_warned_of(tmp_path, channels):
    cancelling = np.stack(channels, axis=1)
    soundfile.write(tmp_path / "a.wav", cancelling, RATE)
    for source in (tmp_path / "a.wav", (cancelling, RATE)):
        with pytest.warns(EeWarning, match="the channels cancel each other"):
            audio.read(source, RATE)


@pytest.mark.parametrize("channels", [
    [tone(), tone()], [tone(), 0 * tone()], [0 * tone(), 0 * tone()], [tone(), -0.7 * tone()],
    [tone(), *[0 * tone()] * 63], np.random.default_rng(0).normal(size=(64, 9000)),
], ids=["same", "one", "silence", "partly", "one of many", "noise"])
def test_others_are_not(channels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio.read((np.stack(channels, axis=1), RATE), RATE)


def test_text_that_is_no_text(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(tone()))
    with open(tmp_path / "a.wav") as file, pytest.raises(AudioError, match="binary.*str"):
        audio.read(file, RATE)


@pytest.mark.slow  # it decodes a clip 1,500 times
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of POSIX")
def test_every_signal_handler_that_raised_is_heard_of(request):
    """At any moment of a decoding; destructors of Python, which lose what is raised, run none."""
    class Limit(BaseException):
        pass

    def handler(number, _frame):
        handled.append(number)
        raise Limit

    handled, raised, rounds = [], 0, 1500
    data = encoded(tone(), format="OGG", subtype="VORBIS")
    gc.disable()  # its callbacks, of which Hypothesis has one, lose what is raised too
    request.addfinalizer(gc.enable)
    old = signal.signal(signal.SIGALRM, handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGALRM, old))
    for number in range(rounds):
        before = len(handled)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + 2e-3 * number / rounds)
                audio.read(io.BytesIO(data), RATE)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Limit:
            raised += 1
        else:
            assert len(handled) == before
    assert raised == len(handled) > 0


@pytest.mark.parametrize("format, subtype", [("WAV", "PCM_16"), ("WAV", "PCM_24"),
                                             ("FLAC", "PCM_16")])
def test_a_recording_goes_on_where_its_beginning_ended(format, subtype):
    file = io.BytesIO(encoded(tone(40.0), format=format, subtype=subtype))
    with audio.opened(file, RATE) as recording:
        beginning, whole = recording.upto(1.0)
        rest = list(recording.pieces())
    assert not whole and rest and recording.seconds == 40.0
    file.seek(0)
    assert np.array_equal(np.concatenate([*beginning, *rest]), audio.read(file, RATE))
