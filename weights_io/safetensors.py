"""Checkpoints in the safetensors format: a JSON header, then the numbers.

Layout: header length (u64, little-endian), the header, the data. The header maps names to dtype,
shape and [begin, end) in the data; `__metadata__` maps text to text.
"""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np

from ee_ref.errors import CheckpointError, shown

from .text import parse_json
from .torch_zip import widen_bfloat16

MAX_HEADER = 16 << 20  # bytes

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip


def read(file: BinaryIO, size: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors (read-only; bfloat16 as float32) and metadata of a file of `size` bytes.

    Raises CheckpointError when the tensors do not fill the data exactly, one after another.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise CheckpointError(
            f"safetensors header: expected at most {min(MAX_HEADER, size - 8)} bytes, "
            f"found {length}"
        )
    header = _header(file.read(length))
    data = file.read()
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise CheckpointError("safetensors __metadata__: expected an object")
    parsed = {name: _entry(name, entry, len(data)) for name, entry in header.items()}
    position, state = 0, {}
    for name, (_dtype, _shape, begin, end) in sorted(parsed.items(), key=lambda item: item[1][2:]):
        if begin != position:
            raise CheckpointError(
                f"tensor {name!r:.80}: expected data at {position}, found {begin}")
        position = end
    if position != len(data):
        raise CheckpointError(f"safetensors: expected {position} bytes of data, found {len(data)}")
    for name, (dtype, shape, begin, end) in parsed.items():
        numbers = np.frombuffer(data, _DTYPES[dtype], (end - begin) // _item_bytes(dtype), begin)
        if dtype == "BF16":
            numbers = widen_bfloat16(numbers)
            numbers.flags.writeable = False
        state[name] = numbers.reshape(shape)
    return state, metadata


def _item_bytes(dtype: str) -> int:
    return np.dtype(_DTYPES[dtype]).itemsize


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"safetensors header: expected JSON: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError("safetensors header: expected a JSON object")
    return header


def _entry(name: str, entry: Any, size: int) -> tuple[str, tuple[int, ...], int, int]:
    """(dtype, shape, begin, end) of one tensor, checked against the `size` bytes of data."""

    def are_counts(values: Any, length: int) -> bool:
        return (isinstance(values, list) and len(values) <= length
                and all(type(value) is int and 0 <= value <= size for value in values))

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"tensor {name!r:.80}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError(
            f"tensor {name!r:.80}: expected dtype {', '.join(_DTYPES)}; "
            f"found {shown(dtype, 20) if isinstance(dtype, str) else type(dtype).__name__}")
    if not (are_counts(shape, 8) and are_counts(offsets, 2) and len(offsets) == 2):
        raise CheckpointError(f"tensor {name!r:.80}: expected a shape and two offsets that fit "
                              f"{size} bytes of data")
    expected = math.prod(shape) * _item_bytes(dtype)
    if offsets[1] - offsets[0] != expected:
        raise CheckpointError(f"tensor {name!r:.80}: expected {expected} bytes for shape {shape}, "
                              f"found {offsets[1] - offsets[0]}")
    return dtype, tuple(shape), *offsets
