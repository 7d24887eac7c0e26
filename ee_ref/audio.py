"""Audio in: any file or array to float32 mono samples at the model's rate.

Files are read by libsndfile (WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, ...; 8 to 32 bits and floats).
Channels are averaged, other rates are resampled; nothing is clipped, scaled to a peak or trimmed.
"""

from __future__ import annotations

import io
import os
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import BinaryIO, Union

import numpy as np

from .errors import AudioError, AudioFileError, TooLongError

Source = Union[str, Path, BinaryIO, tuple[np.ndarray, int]]

MIN_RATE, MAX_RATE = 1000, 1_000_000  # Hz
MAX_CHANNELS = 64  # of an array; more means that its axes are the other way round

# Samples, of all channels together, decoded at a time: memory follows what a file holds, never what
# its header claims.
_BLOCK_SAMPLES = 1 << 18
MAX_STREAM_BYTES = 1 << 30
"""Of what cannot seek, as a pipe, and is read whole before it is decoded."""
_PIECE = 1 << 20
# Bound on the denominator of the resampling ratio, and so on the length of the resampling filter.
_MAX_DENOMINATOR = 1 << 16


def read(source: Source, rate: int, longest: float | None = None) -> np.ndarray:
    """Mono samples (N,) float32 of `source` at `rate` Hz, full scale at 1. N may be 0.

    source: one of
      - a path;
      - a binary file object, seekable or not (a pipe), read from where it stands;
      - (samples, rate): samples (N,) or (N, channels); floats are taken as they are, uint8, int8,
        int16 and int32 are scaled to [-1, 1). 64-bit integers are refused: their full scale is
        anyone's guess.

    A WAV file that ends before its header says so (a cut download, a recorder that died, a header
    written by a pipe) is read as far as it goes, as libsndfile does; so are MP3 files. A FLAC or
    Ogg file cut where its decoder loses its way is refused.

    longest: seconds, None for any. Decoding stops with TooLongError soon after: a small file can
    hold days of silence.

    Float samples beyond [-1, 1] pass through. May return the caller's own array when there is
    nothing to do.

    Raises AudioFileError for a file that is missing, a folder or not readable; AudioError for what
    is not audio, NaN or infinite samples, rates outside 1 kHz..1 MHz, a pipe without end.
    """
    if isinstance(source, tuple):
        name = "samples"
        samples, source_rate = _from_array(source)
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        samples, source_rate = _from_path(name, longest)
    elif hasattr(source, "read"):
        name = _stream_name(source)
        samples, source_rate = _from_stream(source, name, longest)
    else:
        raise AudioError(
            "expected a path, a binary file object or a tuple (samples, rate), "
            f"found {type(source).__name__}"
        )
    _check_finite(samples, source_rate, name)
    return _resampled(samples, source_rate, rate)


def _from_path(path: str, longest: float | None) -> tuple[np.ndarray, int]:
    try:
        file = open(path, "rb")
    except IsADirectoryError:
        raise AudioFileError(f"{path}: expected an audio file, found a folder") from None
    except FileNotFoundError:
        raise AudioFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise AudioFileError(f"{path}: cannot be opened: {error}") from error
    with file:
        return _from_stream(file, path, longest)


def _from_stream(
    stream: BinaryIO, name: str, longest: float | None
) -> tuple[np.ndarray, int]:
    import soundfile

    class Sequential(soundfile.SoundFile):
        """soundfile seeks after each read, which makes MP3 and Ogg decoders start anew, audibly."""

        def seekable(self) -> bool:
            return False

    quiet = _Quiet(_rewindable(stream, name))
    try:
        file = Sequential(quiet)
    except soundfile.SoundFileError as error:
        quiet.raise_failure(name)
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(
            f"{name}: expected audio (WAV, FLAC, OGG, Opus, MP3, ...), "
            f"found what libsndfile cannot read: {reason}"
        ) from error
    with file:
        _check_rate(file.samplerate, name)
        samples = _mixed_down(file, name, longest)
        quiet.raise_failure(name)
        return samples, file.samplerate


class _Quiet:
    """A file whose errors libsndfile, which calls it from C, takes for the end.

    A damaged file has it seek before the start; a disk may fail. failure: the first error of a
    read.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the start, or more than an offset can be
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.failure = self.failure or error
            return b""

    def write(self, data: bytes) -> int:
        """Never called; soundfile wants it."""
        raise io.UnsupportedOperation("write")

    def raise_failure(self, name: str) -> None:
        """Raise AudioFileError when a read has failed."""
        if self.failure is not None:
            raise AudioFileError(f"{name}: cannot be read: {self.failure}") from self.failure


def _rewindable(stream: BinaryIO, name: str) -> BinaryIO:
    """A file whose first byte is the audio's first byte: `stream` itself, or what it still holds.

    libsndfile seeks, and counts from the start of the file.
    """
    try:
        seekable = getattr(stream, "seekable", None)
        if isinstance(stream, io.TextIOBase) or not (seekable and seekable()) or stream.tell():
            stream = io.BytesIO(_read_whole(stream, name))
        first = stream.read(1)
        stream.seek(0)
    except AudioError:
        raise
    except TypeError as error:
        raise AudioError(f"{name}: expected a binary file object, found {error}") from None
    except (OSError, ValueError) as error:  # ValueError: closed
        raise AudioFileError(f"{name}: cannot be read: {error}") from error
    if not first:
        raise AudioError(f"{name}: expected audio, found an empty file (0 bytes)")
    return stream


def _read_whole(stream: BinaryIO, name: str) -> bytes:
    data = bytearray()
    while piece := stream.read(_PIECE):
        if not isinstance(piece, (bytes, bytearray)):
            raise TypeError(f"one in text mode: it reads {type(piece).__name__}")
        data += piece
        if len(data) > MAX_STREAM_BYTES:
            raise AudioError(f"{name}: expected a stream of at most {MAX_STREAM_BYTES} bytes, "
                             "found more")
    return bytes(data)


def _mixed_down(file, name: str, longest: float | None) -> np.ndarray:
    """All frames of an open SoundFile, channels averaged, read block by block."""
    import soundfile

    frames = max(1, _BLOCK_SAMPLES // file.channels)
    most = None if longest is None else longest * file.samplerate
    blocks, done = [], 0
    while True:
        try:
            block = file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"{name}: damaged or cut short: expected {file.frames} samples, decoding failed "
                f"after {done} ({done / file.samplerate:.2f} s): {error}"
            ) from error
        if not len(block):
            break
        blocks.append(_mean(block))
        done += len(block)
        if most is not None and done > most:
            raise TooLongError(f"{name}: expected at most {longest:.2f} s of audio, found more")
    if not blocks and file.frames > 0:
        raise AudioError(f"{name}: cut short: expected {file.frames} samples, found none")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _from_array(source: tuple) -> tuple[np.ndarray, int]:
    if len(source) != 2:
        raise AudioError(f"expected a tuple (samples, rate), found one of {len(source)} entries")
    samples, rate = source
    if isinstance(samples, Real) and np.ndim(rate):
        raise AudioError("expected (samples, rate), found (rate, samples): swap them")
    _check_rate(rate, "samples")
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
    return _mean(_as_float(samples)), rate


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


def _mean(samples: np.ndarray) -> np.ndarray:
    """(N,) of samples (N,) or (N, channels)."""
    if samples.ndim == 1:
        return np.ascontiguousarray(samples)
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        return samples.mean(axis=1, dtype=np.float32)


def _check_rate(rate: object, name: str) -> None:
    is_number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not (is_number and MIN_RATE <= rate <= MAX_RATE and rate == int(rate)):
        raise AudioError(
            f"{name}: expected a whole sample rate in {MIN_RATE}..{MAX_RATE} Hz, found {rate!r}"
        )


def _check_finite(samples: np.ndarray, rate: int, name: str) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(finite.argmin())
        raise AudioError(
            f"{name}: expected finite samples, found {int((~finite).sum())} NaN or infinite ones "
            f"of {len(samples)}, the first at {first / rate:.3f} s"
        )


def _resampled(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Polyphase resampling, ceil(N * to / from) samples. Exact for rates of which one, in lowest
    terms, is at most 65536; beyond that the nearest such ratio, off by less than 1 in 65536."""
    if from_rate == to_rate or not len(samples):
        return samples
    from scipy.signal import resample_poly

    ratio = Fraction(to_rate, int(from_rate)).limit_denominator(_MAX_DENOMINATOR)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32, copy=False)


def _stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "audio stream"
