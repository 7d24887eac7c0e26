"""The GGUF v3 container: metadata fields and tensor descriptions, read and written.

This module knows the container and its limits; what the fields and tensors mean is the business of
model_file.py. Nothing is read past the end of the buffer, no size in the file is trusted before it
has been compared with the bytes that are there, and all arithmetic is on Python's unbounded
integers.

Source: the GGUF specification (gguf.md in the documents of ggml).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ee_ref.errors import ModelFileError

MAGIC = b"GGUF"
VERSION = 3

MAX_HEADER = 32 << 20  # bytes
MAX_FIELDS = 1024
MAX_TENSORS = 1 << 17
MAX_ITEMS = 1 << 17  # of an array
MAX_STRING = (1 << 16) - 1  # bytes
MAX_NAME = 64  # bytes of a tensor name
MAX_DIMS = 4


class ValueType(IntEnum):
    """Types of metadata values."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


class TensorType(IntEnum):
    """Types of tensors that the profile admits, with their numbers in ggml."""

    F32 = 0
    F16 = 1
    I8 = 24
    I32 = 26


ITEM_BYTES = {TensorType.F32: 4, TensorType.F16: 2, TensorType.I8: 1, TensorType.I32: 4}

_CODES = {
    ValueType.UINT8: "B", ValueType.INT8: "b", ValueType.UINT16: "H", ValueType.INT16: "h",
    ValueType.UINT32: "I", ValueType.INT32: "i", ValueType.FLOAT32: "f", ValueType.BOOL: "?",
    ValueType.UINT64: "Q", ValueType.INT64: "q", ValueType.FLOAT64: "d",
}  # fmt: skip


class Field(NamedTuple):
    """A metadata value. `value` of an ARRAY is a list, and `item_type` the type of its items."""

    type: ValueType
    value: Any
    item_type: ValueType | None = None


class TensorInfo(NamedTuple):
    """What the header says of a tensor. shape is row-major (the file has it innermost first);
    offset counts from the start of the tensor data."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.type]


class Header(NamedTuple):
    """A parsed header. positions: file offset of every field's value; data_start: file offset of
    the tensor data, a multiple of the alignment."""

    fields: dict[str, Field]
    positions: dict[str, int]
    tensors: list[TensorInfo]
    data_start: int


def align(offset: int, alignment: int) -> int:
    """`offset` rounded up to a multiple of `alignment`."""
    return -(-offset // alignment) * alignment


class _Cursor:
    """Reads values one after another from a buffer, never past its end."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.position = 0

    def need(self, count: int, what: str) -> None:
        left = len(self.buffer) - self.position
        if count > left:
            raise ModelFileError(
                f"the file ends inside {what}: expected {count} more bytes at offset "
                f"{self.position}, found {left}"
            )
        if self.position + count > MAX_HEADER:
            raise ModelFileError(
                f"{what} at offset {self.position}: expected a header of at most {MAX_HEADER} "
                f"bytes, found one of at least {self.position + count}"
            )

    def unpack(self, layout: str, what: str) -> tuple:
        size = struct.calcsize(layout)
        self.need(size, what)
        values = struct.unpack_from(layout, self.buffer, self.position)
        self.position += size
        return values

    def integer(self, code: str, what: str) -> int:
        return self.unpack(f"<{code}", what)[0]

    def string(self, limit: int, what: str) -> str:
        length = self.integer("Q", what)
        if length > limit:
            raise ModelFileError(f"{what}: expected at most {limit} bytes of text, found {length}")
        self.need(length, what)
        data = bytes(self.buffer[self.position : self.position + length])
        self.position += length
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise ModelFileError(f"{what}: expected UTF-8 text, found {data[:40]!r}") from None

    def value_type(self, what: str) -> ValueType:
        number = self.integer("I", what)
        try:
            return ValueType(number)
        except ValueError:
            raise ModelFileError(
                f"{what}: expected a value type in 0..12, found {number}"
            ) from None

    def values(self, type_: ValueType, count: int, what: str) -> list:
        if type_ == ValueType.STRING:
            return [self.string(MAX_STRING, what) for _ in range(count)]
        if type_ == ValueType.ARRAY:
            raise ModelFileError(f"{what}: arrays of arrays are not part of the profile")
        if type_ == ValueType.BOOL:
            flags = self.unpack(f"<{count}B", what)
            if any(flag > 1 for flag in flags):
                raise ModelFileError(f"{what}: expected truth values 0 or 1, found {max(flags)}")
            return [bool(flag) for flag in flags]
        return list(self.unpack(f"<{count}{_CODES[type_]}", what))

    def field(self, key: str) -> Field:
        what = f"field {key!r:.80}"
        type_ = self.value_type(what)
        if type_ != ValueType.ARRAY:
            return Field(type_, self.values(type_, 1, what)[0])
        item_type = self.value_type(what)
        count = self.integer("Q", what)
        if count > MAX_ITEMS:
            raise ModelFileError(f"{what}: expected at most {MAX_ITEMS} items, found {count}")
        return Field(type_, self.values(item_type, count, what), item_type)

    def tensor(self, number: int) -> TensorInfo:
        name = self.string(MAX_NAME, f"the name of tensor {number}")
        what = f"tensor {name!r}"
        dims = self.integer("I", what)
        if not 1 <= dims <= MAX_DIMS:
            raise ModelFileError(f"{what}: expected 1..{MAX_DIMS} dimensions, found {dims}")
        *sizes, type_, offset = self.unpack(f"<{dims}QIQ", what)
        shape = tuple(sizes[::-1])
        try:
            return TensorInfo(name, shape, TensorType(type_), offset)
        except ValueError:
            known = ", ".join(f"{item.name} ({item.value})" for item in TensorType)
            raise ModelFileError(f"{what}: expected type {known}; found {type_}") from None


def _check_start(cursor: _Cursor) -> tuple[int, int]:
    """Check magic and version; return the counts of tensors and fields."""
    magic = bytes(cursor.buffer[: len(MAGIC)])
    if magic != MAGIC:
        raise ModelFileError(f"not a GGUF file: expected magic {MAGIC!r}, found {magic!r}")
    cursor.position = len(MAGIC)
    version = cursor.integer("I", "the version")
    if version != VERSION:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        found = "a big-endian file" if 0 < swapped < 1 << 16 else f"version {version}"
        raise ModelFileError(f"expected little-endian GGUF version {VERSION}, found {found}")
    tensors, fields = cursor.unpack("<2Q", "the counts")
    for what, found, limit in (("tensors", tensors, MAX_TENSORS), ("fields", fields, MAX_FIELDS)):
        if found > limit:
            raise ModelFileError(f"expected at most {limit} {what}, found {found}")
    return tensors, fields


def parse(buffer: Any, alignment: int) -> Header:
    """Parse the header at the start of `buffer` (bytes, memoryview or mmap: the whole file).

    The tensor data is taken to start at the next multiple of `alignment`. Raises ModelFileError
    when the header is cut, breaks a limit of this module, names a key or a tensor twice, or when
    its last bytes up to the tensor data are not zero. Offsets of tensors are not judged here.
    """
    cursor = _Cursor(buffer)
    tensor_count, field_count = _check_start(cursor)
    fields: dict[str, Field] = {}
    positions = {}
    for number in range(field_count):
        key = cursor.string(MAX_STRING, f"the key of field {number}")
        if key in fields:
            raise ModelFileError(f"field {key!r:.80}: expected once, found twice")
        positions[key] = cursor.position + 4  # after the type
        fields[key] = cursor.field(key)
    tensors = [cursor.tensor(number) for number in range(tensor_count)]
    names = set()
    for tensor in tensors:
        if tensor.name in names:
            raise ModelFileError(f"tensor {tensor.name!r}: expected once, found twice")
        names.add(tensor.name)
    end = cursor.position
    data_start = align(end, alignment)
    cursor.need(data_start - end, "the header")
    if any(buffer[end:data_start]):
        raise ModelFileError(f"expected zeros between header and tensor data at offset {end}")
    return Header(fields, positions, tensors, data_start)


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _values(type_: ValueType, values: Sequence) -> bytes:
    if type_ == ValueType.STRING:
        return b"".join(map(_string, values))
    return struct.pack(f"<{len(values)}{_CODES[type_]}", *values)


def encode(
    fields: Mapping[str, Field], tensors: Sequence[TensorInfo], alignment: int
) -> tuple[bytearray, dict[str, int]]:
    """The header for these fields and tensors, padded with zeros to `alignment`.

    Returns it with the position of every field's value. Raises struct.error for a value that its
    type cannot hold and UnicodeEncodeError for text that is no Unicode.
    """
    header = bytearray(struct.pack("<4sIQQ", MAGIC, VERSION, len(tensors), len(fields)))
    positions = {}
    for key, field in fields.items():
        header += _string(key) + struct.pack("<I", field.type)
        positions[key] = len(header)
        if field.item_type is not None:  # an array
            header += struct.pack("<IQ", field.item_type, len(field.value))
            header += _values(field.item_type, field.value)
        else:
            header += _values(field.type, [field.value])
    for name, shape, type_, offset in tensors:
        header += _string(name)
        header += struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        header += struct.pack("<IQ", type_, offset)
    header.extend(bytes(-len(header) % alignment))
    return header, positions
