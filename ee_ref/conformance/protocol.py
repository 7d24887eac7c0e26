"""Frames and their bodies, as docs/conformance-protocol.md lays them out.

    magic type sequence length header-CRC | payload | payload-CRC

`Decoder` takes bytes as they arrive and yields whole frames. It skips bytes that belong to no
frame, so a byte that is lost, added or changed costs only the frame that it was in.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from ..errors import EeError, shown

MAGIC = b"EECF"
PROTOCOL = 1
"""The version of the layout of frames and bodies."""
ALIGNMENT = 64
"""The data of a tensor begins at a multiple of this from the start of the payload."""
MAX_PAYLOAD = 1 << 28
MAX_AXES = 4
CHECKS = 16
"""Times that a byte is read for the checksum of a payload, on average and at most."""
DTYPES: dict[str, np.dtype] = {
    "f": np.dtype("<f4"), "b": np.dtype("i1"), "h": np.dtype("<i2"), "i": np.dtype("<i4")}
CODES = {dtype: code for code, dtype in DTYPES.items()}

_HEADER = struct.Struct("<4sBBHI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size


class Type(IntEnum):
    """What a frame is: from the host below 0x80, from the port above."""

    HELLO = 0x01
    MODEL = 0x02
    CASE = 0x03
    BYE = 0x04
    PORT = 0x81
    RESULT = 0x82
    UNSUPPORTED = 0x83
    ERROR = 0x84
    END = 0x85


class ProtocolError(EeError, ValueError):
    """A frame or a body that is not what the protocol says."""


@dataclass(frozen=True)
class Frame:
    """One frame. sequence: the port answers with that of the question, 0..65535."""

    type: int
    sequence: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """Its bytes."""
        head = _HEADER.pack(MAGIC, self.type, 0, self.sequence, len(self.payload))
        return b"".join((head, _CRC.pack(zlib.crc32(head)), self.payload,
                         _CRC.pack(zlib.crc32(self.payload))))


class Decoder:
    """Frames out of a stream of bytes.

    No payload longer than MAX_PAYLOAD is accepted. noise: bytes that belonged to no frame, the last
    4096 of them. damaged: payloads whose checksum did not fit.
    """

    def __init__(self) -> None:
        self.noise = bytearray()
        self.damaged = 0
        self._buffer = bytearray()
        self._credit = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes, and yield the frames that they complete."""
        self._buffer += data
        self._credit += CHECKS * len(data)
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        while True:
            self._skip_to_magic()
            if len(self._buffer) < HEADER_BYTES:
                return None
            head = bytes(self._buffer[: _HEADER.size])
            _, type_, _, sequence, length = _HEADER.unpack(head)
            (crc,) = _CRC.unpack_from(self._buffer, _HEADER.size)
            if crc != zlib.crc32(head) or length > MAX_PAYLOAD:
                self._drop(1)
                continue
            end = HEADER_BYTES + length
            if len(self._buffer) < end + _CRC.size:
                return None
            payload = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
            (crc,) = _CRC.unpack_from(self._buffer, end)
            self._credit -= length
            if crc != zlib.crc32(payload):
                # A byte is missing or wrong: the next frame may begin inside this one. But frames
                # within damaged frames, a thousand deep, are no accident: then all of it goes.
                self.damaged += 1
                self._drop(1 if self._credit >= 0 else end + _CRC.size)
                continue
            del self._buffer[: end + _CRC.size]
            return Frame(type_, sequence, payload)

    def _skip_to_magic(self) -> None:
        at = self._buffer.find(MAGIC)
        if at < 0:
            at = len(self._buffer)
            for tail in range(min(len(MAGIC) - 1, at), 0, -1):
                if self._buffer.endswith(MAGIC[:tail]):
                    at -= tail
                    break
        self._drop(at)

    def _drop(self, count: int) -> None:
        self.noise = (self.noise + self._buffer[:count])[-4096:]
        del self._buffer[:count]


@dataclass(frozen=True)
class Body:
    """What a payload holds: a name, parameters (int, float32 or text) and tensors, by name."""

    name: str = ""
    parameters: Mapping[str, int | float | str] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Its bytes. Raises ProtocolError for what does not fit the format."""
        try:
            parts = bytearray(struct.pack(
                "<HHHH", len(self.name.encode()), len(self.parameters), len(self.tensors), 0))
            parts += self.name.encode()
            for name, value in self.parameters.items():
                parts += _parameter(name, value)
            for name, tensor in self.tensors.items():
                _put_tensor(parts, name, tensor)
        except (struct.error, KeyError, UnicodeEncodeError) as error:
            raise ProtocolError(
                f"{shown(self.name)}: cannot be put in a frame: {shown(error)}") from error
        return bytes(parts)

    @classmethod
    def decode(cls, payload: bytes) -> Body:
        """Read a payload. Raises ProtocolError when it is not whole or says impossible things."""
        reader = _Reader(payload)
        name_bytes, parameters, tensors, zero = reader.unpack("<HHHH")
        if zero:
            raise ProtocolError(f"body: expected 0 in the fourth number, found {zero}")
        name = reader.text(name_bytes)
        found = cls(name, dict(_read_parameter(reader) for _ in range(parameters)),
                    dict(_read_tensor(reader) for _ in range(tensors)))
        if reader.at != len(payload):
            raise ProtocolError(f"body: expected {reader.at} bytes, found {len(payload)}")
        return found


def _parameter(name: str, value: int | float | str) -> bytes:
    if isinstance(value, str):
        kind, data = b"s", value.encode()
    elif isinstance(value, float):
        kind, data = b"f", struct.pack("<f", value)
    else:
        kind, data = b"i", struct.pack("<i", value)
    encoded = name.encode()
    return struct.pack("<BcH", len(encoded), kind, len(data)) + encoded + data


def _put_tensor(parts: bytearray, name: str, tensor: np.ndarray) -> None:
    little = tensor.dtype.newbyteorder("<") if tensor.dtype.itemsize > 1 else tensor.dtype
    encoded = name.encode()
    parts += struct.pack("<BcBB", len(encoded), CODES[little].encode(), tensor.ndim, 0)
    parts += struct.pack(f"<{tensor.ndim}I", *tensor.shape) + encoded
    parts += bytes(-len(parts) % ALIGNMENT)
    parts += np.ascontiguousarray(tensor, little).tobytes()


def is_shape(shape: Sequence[int], dtype: np.dtype) -> bool:
    """Whether a tensor can have this shape, whose axes count even where one of them is 0."""
    return 1 <= len(shape) <= MAX_AXES and (
        math.prod(max(1, size) for size in shape) * dtype.itemsize <= MAX_PAYLOAD)


class _Reader:
    def __init__(self, payload: bytes):
        self.payload, self.at = payload, 0

    def take(self, count: int) -> bytes:
        if count > len(self.payload) - self.at:
            raise ProtocolError(
                f"body: ends at byte {len(self.payload)}, {count} bytes more wanted at {self.at}")
        self.at += count
        return self.payload[self.at - count : self.at]

    def unpack(self, layout: str) -> tuple:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"body: a text is not UTF-8: {error}") from error


def _read_parameter(reader: _Reader) -> tuple[str, int | float | str]:
    name_bytes, kind, value_bytes = reader.unpack("<BcH")
    name = reader.text(name_bytes)
    if kind == b"s":
        return name, reader.text(value_bytes)
    if kind not in (b"i", b"f") or value_bytes != 4:
        raise ProtocolError(
            f"body: parameter {shown(name)}: expected type i, f or s, found {kind!r} of "
            f"{value_bytes} bytes")
    return name, reader.unpack(f"<{kind.decode()}")[0]


def _read_tensor(reader: _Reader) -> tuple[str, np.ndarray]:
    name_bytes, code, axes, _ = reader.unpack("<BcBB")
    dtype = DTYPES.get(code.decode("latin-1"))
    if dtype is None or not 1 <= axes <= MAX_AXES:
        raise ProtocolError(
            f"body: expected a tensor of dtype {'/'.join(DTYPES)} and 1..{MAX_AXES} axes, found "
            f"{code!r} and {axes}")
    shape = reader.unpack(f"<{axes}I")
    name = reader.text(name_bytes)
    reader.take(-reader.at % ALIGNMENT)
    if not is_shape(shape, dtype):
        raise ProtocolError(f"body: tensor {shown(name)}: expected a shape of at most "
                            f"{MAX_PAYLOAD} bytes, found {shape}")
    data = reader.take(math.prod(shape) * dtype.itemsize)
    return name, np.frombuffer(data, dtype).reshape(shape)
