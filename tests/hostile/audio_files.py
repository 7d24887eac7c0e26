"""Audio files that are wrong, by what is wrong with them, and a few that only look it.

Made byte by byte, so that they are the same whatever libsndfile is there.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile

RATE = 16000
PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE

SAMPLES = [round(8000 * math.sin(n / 5)) for n in range(200)]
DATA = struct.pack(f"<{len(SAMPLES)}h", *SAMPLES)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk, with the size it claims; contents of odd length are padded."""
    size = len(content) if size is None else size
    return name + struct.pack("<I", size) + content + bytes(len(content) % 2)


def format_chunk(
    code: int = PCM, channels: int = 1, rate: int = RATE, bits: int = 16,
    align: int | None = None, extra: bytes = b"", bytes_a_second: int | None = None,
) -> bytes:
    """A chunk `fmt `."""
    align = channels * bits // 8 & 0xFFFF if align is None else align
    second = rate * align & 0xFFFFFFFF if bytes_a_second is None else bytes_a_second
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, second, align, bits) + extra)


def wav(*chunks: bytes, riff: bytes = b"RIFF", kind: bytes = b"WAVE", size: int | None = None
        ) -> bytes:
    """A WAV file of these chunks."""
    content = kind + b"".join(chunks)
    return riff + struct.pack("<I", len(content) if size is None else size) + content


def pcm(data: bytes = DATA, **fields: int) -> bytes:
    """A WAV file of these samples, with these fields of its format."""
    return wav(format_chunk(**fields), chunk(b"data", data))


def _floats(*values: float, code: str = "f") -> bytes:
    bits = struct.calcsize(code) * 8
    return pcm(struct.pack(f"<{len(values)}{code}", *values), code=FLOAT, bits=bits)


def _extensible(guid: bytes) -> bytes:
    return wav(format_chunk(EXTENSIBLE, extra=struct.pack("<HHI", 22, 16, 0) + guid),
               chunk(b"data", DATA))


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.wav"), pcm())
    return out.getvalue()


def _flac(rate: int = RATE, channels: int = 1, bits: int = 16, samples: int = 200,
          block: int = 4096) -> bytes:
    """The header of a FLAC file without frames."""
    fields = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | samples
    info = struct.pack(">HH", block, block) + bytes(6) + fields.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + struct.pack(">I", 0x80000022) + info


def _ogg(content: bytes, segments: bytes) -> bytes:
    """A page of an Ogg file, its checksum left zero."""
    return (b"OggS\0\2" + bytes(8) + struct.pack("<III", 1, 0, 0) + bytes([len(segments)])
            + segments + content)


_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
_GOOD = pcm()
_AIFF = b"FORM" + struct.pack(">I", 46) + b"AIFF" + b"COMM" + struct.pack(
    ">IhIh", 18, 1, 200, 16) + bytes.fromhex("400cfa00000000000000")

HEARD: dict[str, bytes] = {
    # What these hold can be told, so it is transcribed.
    "good.wav": _GOOD,
    "empty-data.wav": pcm(b""),
    "one-sample.wav": pcm(b"\1\0"),
    "half-a-sample.wav": pcm(DATA[:-1]),
    "24-bits.wav": pcm(bytes(300), bits=24),
    "32-bits.wav": pcm(bytes(400), bits=32),
    "64-bit-floats.wav": _floats(*[0.25] * 50, code="d"),
    "8-bits.wav": pcm(bytes(range(200)), bits=8),
    "u-law.wav": pcm(bytes(range(200)), code=ULAW, bits=8),
    "a-law.wav": pcm(bytes(range(200)), code=ALAW, bits=8),
    "extensible.wav": _extensible(_PCM_GUID),
    "loud-floats.wav": _floats(*[3e3] * 50),
    "riff-size-zero.wav": wav(format_chunk(), chunk(b"data", DATA), size=0),
    "riff-size-huge.wav": wav(format_chunk(), chunk(b"data", DATA), size=0xFFFFFFFF),
    "riff-size-small.wav": wav(format_chunk(), chunk(b"data", DATA), size=20),
    "data-size-huge.wav": wav(format_chunk(), chunk(b"data", DATA, 0xFFFFFFFF)),
    "data-size-2-gib.wav": wav(format_chunk(), chunk(b"data", DATA, 0x7FFFFFFE)),
    "cut-in-the-samples.wav": _GOOD[:144],
    "junk-before.wav": wav(chunk(b"JUNK", bytes(99)), format_chunk(), chunk(b"data", DATA)),
    "junk-after.wav": wav(format_chunk(), chunk(b"data", DATA), chunk(b"junk", bytes(99))),
    "wrong-byte-rate.wav": pcm(bytes_a_second=1),
}

REFUSED: dict[str, bytes] = {
    # These end in one line on stderr.
    "nothing.wav": b"",
    "one-byte.wav": b"R",
    **{f"cut-at-{size}.wav": _GOOD[:size] for size in (4, 8, 12, 16, 20, 22, 24, 28, 32, 34)},
    "zero-channels.wav": pcm(channels=0),
    "channels-65535.wav": pcm(channels=65535),
    "channels-1025.wav": pcm(channels=1025),
    "rate-0.wav": pcm(rate=0),
    "rate-1.wav": pcm(rate=1),
    "rate-999.wav": pcm(rate=999),
    "rate-2-31.wav": pcm(rate=1 << 31),
    "rate-2-32-less-1.wav": pcm(rate=0xFFFFFFFF),
    "float-nan.wav": _floats(0.0, math.nan),
    "float-infinite.wav": _floats(0.0, -math.inf),
    "double-beyond-float.wav": _floats(0.0, 1e300, code="d"),
    "no-format.wav": wav(chunk(b"data", DATA)),
    "data-before-format.wav": wav(chunk(b"data", DATA), format_chunk()),
    "no-data.wav": wav(format_chunk()),
    "format-too-short.wav": wav(chunk(b"fmt ", b"\1\0\1\0"), chunk(b"data", DATA)),
    "format-size-huge.wav": wav(chunk(b"fmt ", format_chunk()[8:], 0xFFFFFFF0),
                                chunk(b"data", DATA)),
    "64-bit-integers.wav": pcm(bytes(400), bits=64),
    "bits-0.wav": pcm(bits=0),
    "bits-13-of-format-9999.wav": pcm(code=9999, bits=13),
    "unknown-extensible.wav": _extensible(b"\xee" * 16),
    "no-wave.wav": wav(format_chunk(), chunk(b"data", DATA), kind=b"WAVX"),
    "ds64-huge.wav": wav(
        chunk(b"ds64", struct.pack("<QQQI", 1 << 63, 1 << 63, 1 << 63, 0)), riff=b"RF64",
        size=0xFFFFFFFF),
    "aiff-without-sound.aiff": _AIFF,
    "flac-without-frames.flac": _flac(),
    "flac-of-hours.flac": _flac(samples=(1 << 36) - 1),
    "flac-rate-0.flac": _flac(rate=0),
    "flac-noise.flac": _flac() + bytes(range(256)) * 2,
    "flac-magic-alone.flac": b"fLaC",
    "ogg-magic-alone.ogg": b"OggS",
    "ogg-of-nothing.ogg": _ogg(b"", b""),
    "ogg-vorbis-cut.ogg": _ogg(b"\1vorbis" + bytes(4) + b"\1" + struct.pack("<I", RATE), b"\x1e"),
    "ogg-opus-cut.opus": _ogg(b"OpusHead\1\1" + bytes(9), b"\x13"),
    "ogg-255-segments.ogg": _ogg(b"x" * 100, b"\xff" * 255),
    "mp3-header-alone.mp3": b"\xff\xfb\x90\x00",
    "mp3-id3-huge.mp3": b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    "text.wav": b"These are not the samples you are looking for.\n",
    "zip.wav": _zip(),
    "zeros.wav": bytes(500),
    "raw.raw": DATA,
    "html.mp3": b"<!DOCTYPE html><title>404 Not Found</title>",
    "model.wav": b"GGUF\3\0\0\0" + bytes(100),
}

UNSURE: dict[str, bytes] = {
    # Either is right: it depends on the version of libsndfile.
    "odd-block-align.wav": pcm(align=3),
    "block-align-0.wav": pcm(align=0),
    "block-align-65535.wav": pcm(align=65535),
    "channels-1024.wav": pcm(channels=1024),
    "data-size-odd.wav": wav(format_chunk(), chunk(b"data", DATA, 399)),
    "two-formats.wav": wav(format_chunk(), format_chunk(channels=2), chunk(b"data", DATA)),
    "two-data.wav": wav(format_chunk(), chunk(b"data", DATA), chunk(b"data", DATA)),
    "big-endian.wav": wav(format_chunk(), chunk(b"data", DATA), riff=b"RIFX"),
    "junk-size-huge.wav": wav(chunk(b"JUNK", bytes(9), 0xFFFFFFF0), format_chunk(),
                              chunk(b"data", DATA)),
    "list-nested.wav": wav(format_chunk(), chunk(b"LIST", b"INFO" * 50), chunk(b"data", DATA)),
    "mp3-frames-of-zeros.mp3": (b"\xff\xfb\x90\x00" + bytes(413)) * 2,
    "au-offset-huge.au": struct.pack(">4sIIIII", b".snd", 0xFFFFFFFF, 400, 3, RATE, 1) + DATA,
    "caf-sizes-huge.caf": b"caff\0\1\0\0desc" + struct.pack(">q", 1 << 62) + bytes(32),
    "w64-cut.w64": b"riff\x2e\x91\xcf\x11" + bytes(32),
    "voc-cut.voc": b"Creative Voice File\x1a\x1a\0\n\1\x29\x11" + bytes(20),
}

AUDIO_FILES = {**HEARD, **REFUSED, **UNSURE}
