"""Audio in: any file or array to float32 mono samples at the model's rate.

Files are read by libsndfile (WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, ...; 8 to 32 bits and floats),
the plainest WAV files without it (`wav`).
Channels are averaged, other rates are resampled; nothing is clipped, scaled to a peak or trimmed.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from numbers import Real
from typing import Any, BinaryIO, Literal, Union

import numpy as np

from weights_io.files import is_of_system

from . import wav
from .checks import check_finite
from .errors import AudioError, AudioFileError, EeWarning, TooLongError, shown, shown_limit

Source = Union[str, os.PathLike[str], BinaryIO, np.ndarray, tuple[np.ndarray, int], "Recording"]

MIN_RATE, MAX_RATE = 1000, 1_000_000  # Hz
MIN_STREAM_RATE = 8000
MAX_CHANNELS = 64  # of an array; more means that its axes are the other way round

# Samples, of all channels together, decoded at a time: memory follows what a file holds, never what
# its header claims. So many at most are lost before the place where decoding fails.
_BLOCK_SAMPLES = 1 << 16
_SURPLUS = 1 << 12  # frames more than the header promises that are asked for
MAX_STREAM_BYTES = 1 << 30
"""Limit for a stream that is not a system file, such as a pipe, and is copied before decoding."""
_PIECE = 1 << 20
_BYTES_A_SECOND = 16_000
_FILTER_REACH = 10  # of SciPy's default filter, in samples of the lower rate
_LARGEST_HEADER = 4096
_LONGEST_SAID = 1e6  # seconds: what says more, as headers of pipes do, does not know
_TO_THE_END = b"\xff" * 4  # a size that no file has
_RIFFS: dict[bytes, Literal["big", "little"]] = {
    b"RIFF": "little", b"RIFX": "big", b"RF64": "little"}
_SIZED_FORMATS = ("WAV", "WAVEX", "AIFF", "AU", "W64", "RF64", "CAF")
"""Those whose header says how many samples follow, uncompressed."""
_CANCELLED = 0.02  # of the energy that channels without relation would leave: 17 dB less
# Bound on the denominator of the resampling ratio, and so on the length of the resampling filter.
_MAX_DENOMINATOR = 1 << 16


def read(source: Source, rate: int, longest: float | None = None) -> np.ndarray:
    """Mono samples (N,) float32 of `source` at `rate` Hz, full scale at 1. N may be 0.

    source: one of
      - a path;
      - a binary file object, seekable or not (a pipe), read from where it stands;
      - (samples, rate): samples (N,) or (N, channels); floats are taken as they are, uint8, int8,
        int16 and int32 are scaled to [-1, 1). 64-bit integers are refused: their full scale is
        anyone's guess;
      - samples alone, at `rate`;
      - a `Recording`, whose pieces may still be coming.

    A WAV file that ends before its header says so (a cut download, a recorder that died, a header
    written by a pipe) is read as far as it goes, as libsndfile does; so are MP3 files. A FLAC or
    Ogg file cut where its decoder loses its way is refused. A WAV, RF64 or AU file whose sizes were
    never filled in is heard to its end.

    longest: seconds, None for any. Decoding stops with TooLongError soon after: a small file can
    hold days of silence.

    Float samples beyond [-1, 1] pass through. May return the caller's own array when there is
    nothing to do.

    Warns (EeWarning) when averaging the channels leaves almost nothing.

    Raises AudioFileError for a file that is missing, a folder or not readable; AudioError for what
    is not audio, NaN or infinite samples, rates outside 1 kHz..1 MHz, or a pipe that never ends;
    whatever else the `read` of a file object raises.
    """
    with opened(source, rate) as recording:
        return recording.resampled(recording.pieces_of_all(longest), rate)


class Recording:
    """Mono samples at a rate of their own, a piece at a time. Made by `opened`, or of audio that is
    still coming, whose pieces (N,) float32 are then the maker's to check.

    rate: in Hz. name: what to call it in messages. seconds: as many as it says that it has, None
    where it does not.
    """

    def __init__(self, name: str, rate: int, pieces: Iterator[np.ndarray],
                 seconds: float | None = None) -> None:
        self.name, self.rate, self.seconds = name, rate, seconds
        self._pieces = pieces

    def pieces(self) -> Iterator[np.ndarray]:
        """The samples that were not given yet, finite float32, a piece at a time; see `read`."""
        return self._pieces  # not a generator around it: one that is left early would close it

    def pieces_of_all(self, longest: float | None = None) -> list[np.ndarray]:
        """All pieces. Raises TooLongError for more seconds than `longest`, None for any."""
        pieces, whole = self.upto(longest)
        if not whole:
            raise TooLongError(f"{self.name}: expected at most {shown_limit(longest or 0)} s of "
                               "audio, found more")
        return pieces

    def resampled(self, pieces: Sequence[np.ndarray], rate: int) -> np.ndarray:
        """These pieces, all of the recording, at another rate."""
        return _resampled(_joined(pieces), self.rate, rate)

    def upto(self, seconds: float | None) -> tuple[list[np.ndarray], bool]:
        """Pieces of a little more than so many seconds, or all there are; whether these are all."""
        pieces, count = [], 0
        for piece in self.pieces():
            pieces.append(piece)
            count += len(piece)
            if seconds is not None and count > seconds * self.rate:
                return pieces, False
        return pieces, True


@contextmanager
def opened(source: Source, rate: int) -> Iterator[Recording]:
    """A recording, to be read in pieces. source, errors: as in `read`; rate: of samples alone."""
    if isinstance(source, np.ndarray):
        source = (source, rate)
    if isinstance(source, Recording):
        check_rate(source.rate, source.name)
        yield source
    elif isinstance(source, tuple):
        samples, source_rate = _from_array(source)
        check_finite(samples, "samples", source_rate)
        yield Recording("samples", source_rate, iter([samples]), len(samples) / source_rate)
    elif isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with _opened_path(path) as file:
            if (plain := wav.opened(file)) is not None:
                yield _recording(plain, path)
            else:
                with _opened_stream(file, path) as recording:
                    yield recording
    elif hasattr(source, "read"):
        with _opened_stream(source, _stream_name(source)) as recording:
            yield recording
    else:
        raise AudioError(
            "expected a path, a binary file object, samples or a tuple (samples, rate), "
            f"found {type(source).__name__}"
        )


def _opened_path(path: str) -> BinaryIO:
    if not path:
        raise AudioFileError("expected the path of an audio file, found an empty one")
    try:
        return open(path, "rb", buffering=0)
    except IsADirectoryError:
        raise AudioFileError(f"{path}: expected an audio file, found a folder") from None
    except FileNotFoundError:
        raise AudioFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise _file_error(path, "opened", error) from error


@contextmanager
def _opened_stream(stream: BinaryIO, name: str) -> Iterator[Recording]:
    """A stream from where it stands, decoded from a descriptor.

    Never through Python callbacks from C: exceptions in them, including an interrupt in the middle
    of a file, would be lost there, and part of the audio would pass for the whole.
    """
    with _on_disk(stream, name) as plain:
        if (file := wav.opened(plain)) is not None:
            yield _recording(file, name)
        else:
            with _by_libsndfile(plain, name) as recording:
                yield recording


@contextmanager
def _by_libsndfile(plain: BinaryIO, name: str) -> Iterator[Recording]:
    from soundfile import SoundFileError

    if not plain.read(1):
        raise AudioError(f"{name}: expected audio, found an empty file (0 bytes)")
    plain.seek(0)
    try:
        file = _sequential()(plain.fileno(), closefd=False)
    except SoundFileError as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(
            f"{name}: expected audio (WAV, FLAC, OGG, Opus, MP3, ...), "
            f"found what libsndfile cannot read: {reason}"
        ) from error

    def decoded() -> Iterator[np.ndarray]:
        count = 0
        try:
            for piece in _decoded(file, name):
                check_finite(piece, name, file.samplerate, count)  # floats may be anything
                count += len(piece)
                yield piece
        except SoundFileError as error:
            raise AudioError(
                f"{name}: damaged or cut short: expected {file.frames} samples, decoding failed "
                f"after {file.done} ({file.done / file.samplerate:.2f} s): {error}"
            ) from error
        size = os.fstat(plain.fileno()).st_size
        if not count and file.format in _SIZED_FORMATS and size > _LARGEST_HEADER:
            raise AudioError(f"{name}: expected audio, found a header of no samples before "
                             f"{size} bytes: was the recording ended?")

    with file:
        yield _recording(file, name, decoded())


def _recording(file: Any, name: str, pieces: Iterator[np.ndarray] | None = None) -> Recording:
    """An open file (`wav.Pcm16` or like it); pieces: None for `_decoded`."""
    check_rate(file.samplerate, name)
    seconds = file.frames / file.samplerate
    return Recording(name, file.samplerate, _decoded(file, name) if pieces is None else pieces,
                     seconds if seconds < _LONGEST_SAID else None)


@cache
def _sequential() -> type:
    """What a file is opened with. Made when one first needs libsndfile, which takes long to load.
    """
    import soundfile

    class Sequential(soundfile.SoundFile):
        """soundfile seeks after each read, which makes MP3 and Ogg decoders start anew, audibly."""

        done = 0  # frames that were read

        # It is closed where it is opened, and what a signal handler raises in a destructor is lost:
        # a builtin instead, in which no handler runs.
        __del__ = staticmethod(int)

        def seekable(self) -> bool:
            return False

        def read(self, frames: int) -> np.ndarray:
            """The next samples, at most `frames`: (N, channels) float32, full scale at 1."""
            block = super().read(frames, dtype="float32", always_2d=True)
            self.done += len(block)
            return block

    return Sequential


def _on_disk(stream: BinaryIO, name: str) -> BinaryIO:
    """`stream` as a file of the system that begins with the audio, at its first byte.

    The stream itself where it is such a file, else a copy of what it still holds. Errors of its
    `read` other than OSError are the caller's own and pass through.
    """
    if _is_plain(stream) and not _is_unfinished(stream):
        copy: BinaryIO = open(os.dup(stream.fileno()), "rb", buffering=0)
        copy.seek(0)
        return copy
    copy = _anonymous_file()
    try:
        _copy(stream, copy, name)
        _finish(copy)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _is_plain(stream: BinaryIO) -> bool:
    """Whether it is a file of the system that can seek and stands at its start.

    Other objects may have a descriptor too, as gzip files do: that of the file that they decode.
    """
    raw = stream.raw if type(stream) is io.BufferedReader else stream
    return (type(raw) is io.FileIO and not stream.closed and stream.seekable()
            and stream.tell() == 0)


def _anonymous_file() -> BinaryIO:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("ee_ref"), "w+b", buffering=0)
    import tempfile

    return tempfile.TemporaryFile(buffering=0)


def _copy(stream: BinaryIO, copy: BinaryIO, name: str) -> None:
    copied = 0
    while piece := _piece(stream, name):
        copied += len(piece)
        if copied > MAX_STREAM_BYTES:
            raise AudioError(f"{name}: expected a stream of at most {MAX_STREAM_BYTES} bytes, "
                             "found more")
        rest = memoryview(piece)
        while len(rest):  # an unbuffered file may take less than it is given
            rest = rest[copy.write(rest):]


def _piece(stream: BinaryIO, name: str) -> bytes:
    is_text = isinstance(stream, io.TextIOBase)  # which may not be able to decode audio to text
    try:
        piece = "" if is_text else stream.read(_PIECE)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and not getattr(stream, "closed", False):
            raise
        raise _file_error(name, "read", error) from error
    if piece is None:
        raise AudioFileError(f"{name}: cannot be read: it has nothing yet, and does not wait")
    if not isinstance(piece, (bytes, bytearray)):
        raise AudioError(f"{name}: expected a binary file object, found one in text mode: it reads "
                         f"{type(piece).__name__}")
    return piece


def _file_error(name: str, what: str, error: Exception) -> AudioFileError:
    """What cannot be done with a file, as the system says; errors of other code are raised."""
    if isinstance(error, OSError) and not is_of_system(error):
        raise error
    return AudioFileError(f"{name}: cannot be {what}: {error}")


def _is_unfinished(file: BinaryIO) -> bool:
    """Whether the sizes in a plain file's header were never filled in; it stands at 0 after."""
    try:
        return bool(_missing(file))
    finally:
        file.seek(0)


def _finish(file: BinaryIO) -> None:
    """Make such a header say "as far as it goes", as that of a pipe does."""
    for at, written in _missing(file).items():
        file.seek(at)
        file.write(written)


def _missing(file: BinaryIO) -> dict[int, bytes]:
    """What to write where, so that a header without sizes ends with the file; {} for others.

    Such a header counts no samples, and yet what follows is no other part of the format.
    """
    file.seek(0)
    head = file.read(_LARGEST_HEADER)
    end = file.seek(0, os.SEEK_END)
    kind = head[:4]
    if kind in (b".snd", b"dns."):  # AU: where the samples begin, their bytes
        first, size = (_number(head, at, "big" if kind == b".snd" else "little") for at in (4, 8))
        return {8: _TO_THE_END} if size == 0 and end > first else {}
    if kind not in _RIFFS or head[8:12] != b"WAVE":
        return {}
    order = _RIFFS[kind]
    is_long = kind == b"RF64"  # whose sizes of 64 bits stand in a first chunk, ds64
    at = 12
    while at + 8 <= len(head):
        name, size = head[at : at + 4], _number(head, at + 4, order)
        if name == b"data":
            counted = any(head[28:36]) if is_long else size
            if counted or end <= at + 8 or _are_chunks(file, at + 8, end, order):
                return {}
            as_wav = {0: b"RIFF", 12: b"JUNK"} if is_long else {}
            return {4: _TO_THE_END, at + 4: _TO_THE_END, **as_wav}
        at += 8 + size + size % 2
    return {}


def _number(data: bytes, at: int, order: Literal["big", "little"]) -> int:
    return int.from_bytes(data[at : at + 4], order)


def _are_chunks(file: BinaryIO, at: int, end: int, order: Literal["big", "little"]) -> bool:
    """Whether RIFF chunks fill a file from `at` to `end`, as behind the data of an empty WAV."""
    while at < end:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return False
        size = _number(head, 4, order)
        at += 8 + size + size % 2
    return at in (end, end + 1)  # the last may lack its padding


def _decoded(file: Any, name: str) -> Iterator[np.ndarray]:
    """All frames of an open file (`wav.Pcm16` or like it), channels averaged, block by block."""
    most = max(1, _BLOCK_SAMPLES // file.channels)
    done, before, after = 0, 0.0, 0.0
    while True:
        # Little more than should be left: libsndfile clears what it does not fill.
        block = file.read(min(most, max(file.frames - done, 0) + _SURPLUS))
        if not len(block):
            break
        mean = _mean(block)
        if file.channels > 1:
            before, after = before + _energy(block), after + _energy(mean)
        done += len(block)
        yield mean
    if not done and file.frames > 0:
        raise AudioError(f"{name}: cut short: expected {file.frames} samples, found none")
    _warn_if_cancelled(before / file.channels**2, after, name)


def _from_array(source: tuple) -> tuple[np.ndarray, int]:
    if len(source) != 2:
        raise AudioError(f"expected a tuple (samples, rate), found one of {len(source)} entries")
    samples, rate = source
    if isinstance(samples, Real) and np.ndim(rate):
        raise AudioError("expected (samples, rate), found (rate, samples): swap them")
    check_rate(rate, "samples")
    rate = int(rate)

    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise AudioError(f"expected samples (N,) or (N, channels), found shape {samples.shape}")
    if samples.ndim == 2:
        if not 1 <= samples.shape[1] <= MAX_CHANNELS:
            raise AudioError(
                f"expected samples (N, channels) with 1..{MAX_CHANNELS} channels, found shape "
                f"{samples.shape}: transpose (channels, N) first"
            )
    if samples.size == 0:
        return np.zeros(0, np.float32), rate
    samples = _as_float(samples)
    mean = _mean(samples)
    if samples.size > len(mean):
        _warn_if_cancelled(_energy(samples) / samples.shape[1]**2, _energy(mean), "samples")
    return mean, rate


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Floats as float32; integers of up to 32 bits scaled to [-1, 1), unsigned bytes about 128."""
    dtype = samples.dtype
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return samples.astype(np.float32, copy=False)
    if dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if dtype.kind == "i" and dtype.itemsize <= 4:
        return (samples / 2.0 ** (8 * dtype.itemsize - 1)).astype(np.float32)
    raise AudioError(
        f"expected samples of a float dtype, uint8, int8, int16 or int32, found {dtype}"
    )


def rough_seconds(path: str | os.PathLike[str]) -> float:
    """About how long a file of speech is, by its size alone; 0 for one that is not there.

    FLAC of 16 kHz takes so many bytes; WAV is said to be twice as long, Opus a quarter.
    """
    try:
        return os.stat(path).st_size / _BYTES_A_SECOND
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return 0.0


def from_pcm(data: bytes, width: Any = 2, channels: Any = 1) -> np.ndarray:
    """Mono samples (N,) float32, full scale at 1, of little-endian integers; channels alternate.

    width: bytes of each, 1 (unsigned, as in WAV) to 4. Raises AudioError for another width or
    number of channels, and for bytes that are no whole number of frames.
    """
    for name, value, most in (("bytes a sample", width, 4), ("channels", channels, MAX_CHANNELS)):
        if type(value) is not int or not 1 <= value <= most:
            raise AudioError(f"samples: expected 1..{most} {name}, found {shown(value)}")
    if len(data) % (width * channels):
        raise AudioError(f"samples: expected frames of {width * channels} bytes, found "
                         f"{len(data)} bytes")
    if width == 3:  # as the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.reshape(-1).view("<i4")
    else:
        samples = np.frombuffer(data, "u1" if width == 1 else f"<i{width}")
    return _mean(_as_float(samples.reshape(-1, channels)))


def _mean(samples: np.ndarray) -> np.ndarray:
    """(N,) of samples (N,) or (N, channels)."""
    if samples.ndim == 1:
        return np.ascontiguousarray(samples)
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        return samples.mean(axis=1, dtype=np.float32)


def _energy(samples: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.square(samples, dtype=np.float32).sum(dtype=np.float64))


def _warn_if_cancelled(unrelated: float, left: float, name: str) -> None:
    """Warn when channels of opposite phase have left almost nothing.

    unrelated: the energy of the average if the channels had no relation; left: what it is.
    """
    if left < _CANCELLED * unrelated:
        warnings.warn(
            f"{name}: the channels cancel each other: they are of opposite phase, and their "
            "average is almost silent; give one of them alone", EeWarning, stacklevel=2)


def check_rate(rate: Any, name: str, least: int = MIN_RATE) -> None:
    """Raise AudioError, naming what it is the rate of, unless it is a whole number of Hz in
    least..MAX_RATE."""
    is_number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not (is_number and least <= rate <= MAX_RATE and rate == int(rate)):
        raise AudioError(
            f"{name}: expected a whole sample rate in {least}..{MAX_RATE} Hz, found {rate!r}"
        )


def _joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _resampled(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Polyphase resampling, ceil(N * to / from) samples. Exact for rates of which one, in lowest
    terms, is at most 65536; beyond that the nearest such ratio, off by less than 1 in 65536."""
    if from_rate == to_rate or not len(samples):
        return samples
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(to_rate, int(from_rate)).limit_denominator(_MAX_DENOMINATOR)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32, copy=False)


class Resampler:
    """`_resampled` of samples that come in pieces: the same numbers, a moment later.

    from_rate, to_rate: in Hz. Keeps no more than what the filter reaches and a hundredth second.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        from fractions import Fraction

        from_rate = int(from_rate)  # 8000.0 is a rate too
        ratio = Fraction(to_rate, from_rate).limit_denominator(_MAX_DENOMINATOR)
        self._up, self._down = ratio.numerator, ratio.denominator
        # Of input samples, in steps that are whole numbers of output ones: what the filter of SciPy
        # reaches to each side, and how many are taken at a time.
        reach = _FILTER_REACH * max(self._up, self._down) // self._up + 1
        self._reach = -(-reach // self._down) * self._down
        self._step = -(-from_rate // (100 * self._down)) * self._down
        self._kept = np.zeros(0, np.float32)
        self._before = 0  # of the kept, those whose outputs were given

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The samples that are known with these (N,) float32."""
        self._kept = np.concatenate([self._kept, samples])
        ready = (len(self._kept) - self._before - self._reach) // self._step * self._step
        return self._given(ready, self._kept[: self._before + ready + self._reach])

    def finish(self) -> np.ndarray:
        """Those that are left."""
        return self._given(len(self._kept) - self._before, self._kept)

    def _given(self, count: int, samples: np.ndarray) -> np.ndarray:
        if count <= 0:
            return np.zeros(0, np.float32)
        from scipy.signal import resample_poly

        made = resample_poly(samples, self._up, self._down).astype(np.float32, copy=False)
        first, end = self._before, self._before + count
        found = made[first // self._down * self._up : -(-end * self._up // self._down)]
        drop = max(0, end - self._reach) // self._down * self._down
        self._kept, self._before = self._kept[drop:].copy(), end - drop
        return found


def check_stream_rate(rate: Any) -> None:
    """Raise AudioError unless it is a rate that speech can be heard at, as it comes."""
    check_rate(rate, "stream", MIN_STREAM_RATE)


def _stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "audio stream"
