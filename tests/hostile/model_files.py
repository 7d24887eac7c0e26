"""Model files with a header that lies and a checksum that agrees with it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from ee_ref.families import FAMILIES
from ee_ref.model_file import ALIGNMENT
from weights_io import gguf
from weights_io.gguf import Field, TensorInfo, ValueType


def rebuild(
    data: bytes, change: Callable[[dict[str, Field], list[TensorInfo]], None]
) -> bytes:
    """The model file `data` with its header changed by `change`, checksum corrected."""
    header = gguf.parse(data, ALIGNMENT)
    change(header.fields, header.tensors)
    new, positions = gguf.encode(header.fields, header.tensors, ALIGNMENT)
    position = positions.get("ee.header_crc32")
    if position is not None:
        struct.pack_into("<I", new, position, 0)
        struct.pack_into("<I", new, position, zlib.crc32(new))
    return bytes(new) + data[header.data_start :]


def with_field(key: str, value: object) -> Callable:
    """A change that gives a field another value of the same type."""
    def change(fields: dict[str, Field], _tensors: list[TensorInfo]) -> None:
        fields[key] = fields[key]._replace(value=value)
    return change


def with_fields(values: dict[str, object]) -> Callable:
    """A change that gives several fields other values of the same types."""
    def change(fields: dict[str, Field], tensors: list[TensorInfo]) -> None:
        for key, value in values.items():
            with_field(key, value)(fields, tensors)
    return change


def with_new_field(key: str, type_: ValueType, value: object) -> Callable:
    """A change that adds or replaces a field."""
    def change(fields: dict[str, Field], _tensors: list[TensorInfo]) -> None:
        fields[key] = Field(type_, value)
    return change


def without_field(key: str) -> Callable:
    """A change that drops a field."""
    def change(fields: dict[str, Field], _tensors: list[TensorInfo]) -> None:
        del fields[key]
    return change


def with_tensor(number: int, **values: object) -> Callable:
    """A change of what the table says of one tensor."""
    def change(_fields: dict[str, Field], tensors: list[TensorInfo]) -> None:
        tensors[number] = tensors[number]._replace(**values)
    return change


def swapped(_fields: dict[str, Field], tensors: list[TensorInfo]) -> None:
    """The first two tensors in the other order."""
    tensors[0], tensors[1] = tensors[1], tensors[0]


def without_last(_fields: dict[str, Field], tensors: list[TensorInfo]) -> None:
    """The table without its last tensor."""
    del tensors[-1]


LIES: dict[str, tuple[Callable, str]] = {
    # name: (change, what the error says). Sizes are those of tests.support.SMALL.
    "architecture": (with_field("general.architecture", "llama"),
                     re.escape(f"architecture: expected one of {[*FAMILIES]}, found 'llama'")),
    "no architecture": (without_field("general.architecture"), "found nothing"),
    "alignment": (with_field("general.alignment", 32), "general.alignment"),
    "format version": (with_field("ee.format_version", 4),
                       r"ee.format_version: expected one of \[1, 2, 3\], found 4"),
    "version 2 with a chunk": (with_field("ee.format_version", 2), "ee.chunk"),
    "version 1 with a dtype": (with_field("ee.format_version", 1), "ee.dtype"),
    "no chunk": (without_field("ee.chunk"), "ee.chunk"),
    "chunk with a centred convolution": (with_field("ee.chunk", 4), "conv"),
    "left without a chunk": (with_field("ee.left", 4), "left"),
    "convolution": (with_field("ee.conv", "round"), "conv"),
    "positions": (with_field("ee.positions", "relative"), "positions"),
    "table without positions": (with_field("ee.positions", "none"), "max_frames"),
    "no dim": (without_field("ee.dim"), "ee.dim"),
    "dim of another type": (with_new_field("ee.dim", ValueType.UINT64, 20), "ee.dim"),
    "dim of text": (with_new_field("ee.dim", ValueType.STRING, "20"), "ee.dim"),
    "huge dim": (with_field("ee.dim", 0xFFFFFFFC), "dim"),
    "other dim": (with_field("ee.dim", 24), "stem.positions"),
    "huge filter bank": (with_fields({"ee.n_fft": 1 << 16, "ee.mels": 1 << 15}), "mel filters"),
    "zero heads": (with_field("ee.heads", 0), "heads"),
    "heads that do not divide": (with_field("ee.heads", 3), "heads"),
    "even kernel": (with_field("ee.kernel", 4), "kernel"),
    "more exits": (with_field("ee.exits", 4), "layers_per_exit"),
    "many exits": (with_field("ee.exits", 1 << 31), "exits"),
    "many layers": (with_field("ee.layers_per_exit", [1, 0xFFFFFFFF, 1]), "layers_per_exit"),
    "more layers": (with_field("ee.layers_per_exit", [1, 3, 1]), "tensors"),
    "layers elsewhere": (with_field("ee.layers_per_exit", [2, 1, 1]), "expected tensor"),
    "frontend": (with_field("ee.frontend", "mfcc"), "frontend"),
    "frontend with other tensors": (with_field("ee.frontend", "logmel"), "tensors"),
    "nan norm_eps": (with_field("ee.norm_eps", float("nan")), "norm_eps"),
    "infinite log_floor": (with_field("ee.log_floor", float("inf")), "log_floor"),
    "blank": (with_field("ee.blank", 11), "blank"),
    "unknown ee field": (with_new_field("ee.future", ValueType.UINT32, 1), "ee.future"),
    "token model": (with_field("tokenizer.ggml.model", "llama"), "tokenizer.ggml.model"),
    "too few tokens": (with_field("tokenizer.ggml.tokens", ["a"]), "tokenizer.ggml.tokens"),
    "too many types": (with_field("tokenizer.ggml.token_type", [1] * 12), "token_type"),
    "token type": (with_field("tokenizer.ggml.token_type", [1] * 10 + [6]), "token_type"),
    "too few checksums": (with_field("ee.tensor_crc32", [0]), "tensor_crc32"),
    "other checksums": (with_field("ee.tensor_crc32", [0] * 123), "is damaged"),
    "tensor name": (with_tensor(0, name="x"), "stem.positions"),
    "tensor shape": (with_tensor(0, shape=(20, 40)), "shape"),
    "tensor of three dimensions": (with_tensor(0, shape=(1, 40, 20)), "shape"),
    "huge tensor": (with_tensor(0, shape=(1 << 63, 1 << 63)), "shape"),
    "empty tensor": (with_tensor(0, shape=(0, 20)), "shape"),
    "tensor type": (with_tensor(0, type=gguf.TensorType.F16), "type"),
    "unaligned offset": (with_tensor(1, offset=4), "offset"),
    "overlapping offset": (with_tensor(1, offset=0), "offset"),
    "gap": (with_tensor(1, offset=1 << 20), "offset"),
    "offset past everything": (with_tensor(1, offset=(1 << 64) - 64), "offset"),
    "swapped tensors": (swapped, "expected tensor"),
    "missing tensor": (without_last, "tensors"),
}
