"""Flash images: a model and its front end as firmware reads them in place (FORMAT.md).

A fixed header, constants (tensor table, front-end tables, labels), then the tensors of the stem, of
exit 1, of exit 2, ... The bytes of an image up to the end of exit k are the image of k exits.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from weights_io.files import read_limited, write_atomic
from weights_io.gguf import align

from . import families
from .config import DTYPES, MAX_EXITS, Config
from .errors import ArgumentError, ModelFileError, shown_limit
from .families import TensorSpec
from .families.conformer import Config as ConformerConfig
from .frontend.tables import FrontendTables, frontend_tables, unsupported
from .model_file import ModelFile, nearest_float32

MAGIC = 0x4D494545
"""The bytes "EEIM"."""
IMAGE_ABI = 1
ALIGNMENT = 64
HEADER_BYTES = 1024
MAX_BYTES = 0x7FFFFFFF

_SPANS = ("tensors", "window", "sines", "mel_first", "mel_count", "mel_weights", "mean", "scale",
          "label_ends", "label_text")


class _Header(NamedTuple):
    """The header, field by field; FORMAT.md says what they mean."""

    magic: int
    abi: int
    header_crc32: int
    header_bytes: int
    model_crc32: int
    dtype: int
    exits: int
    dim: int
    heads: int
    ff: int
    kernel: int
    vocab: int
    mels: int
    stem_kernel: int
    stem_stride: int
    max_frames: int
    blank: int
    sample_rate: int
    n_fft: int
    win_length: int
    hop_length: int
    pad: int
    log_floor: float
    norm_eps: float
    spans: tuple[tuple[int, int], ...]  # (offset, bytes), in the order of _SPANS
    base_bytes: int
    base_crc32: int
    layers_per_exit: tuple[int, ...]
    exit_bytes: tuple[int, ...]
    exit_crc32: tuple[int, ...]

    def pack(self) -> bytes:
        arrays = [[*values, *[0] * (MAX_EXITS - len(values))]
                  for values in (self.layers_per_exit, self.exit_bytes, self.exit_crc32)]
        numbers = [*self[:24], *itertools.chain(*self.spans), self.base_bytes, self.base_crc32,
                   *itertools.chain(*arrays)]
        return _STRUCT.pack(*numbers).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> _Header:
        numbers = _STRUCT.unpack_from(data)
        spans = numbers[24 : 24 + 2 * len(_SPANS)]
        base = numbers[24 + 2 * len(_SPANS) :]
        arrays = [base[2 + i * MAX_EXITS : 2 + (i + 1) * MAX_EXITS] for i in range(3)]
        return cls(*numbers[:24], tuple(zip(spans[::2], spans[1::2])), *base[:2], *arrays)

    def trimmed(self) -> _Header:
        """Itself, with nothing beyond the last exit."""
        return self._replace(
            layers_per_exit=self.layers_per_exit[: self.exits],
            exit_bytes=self.exit_bytes[: self.exits], exit_crc32=self.exit_crc32[: self.exits])


_STRUCT = struct.Struct(f"<22I2f{2 * len(_SPANS) + 2 + 3 * MAX_EXITS}I")
_HEADER_CRC_OFFSET = 8


@dataclass(frozen=True)
class FlashImage:
    """A checked flash image.

    config: that of the model it was made from, with the exits and positions that the image holds.
    labels: what each label adds to a text: nothing for the blank and special ones, a space where a
    word begins. tensors: name -> read-only array of the logical shape, `frontend.*` included.
    tables: of the front end. exit_sizes: bytes of the image up to each exit. size: bytes of the
    image. model_checksum: header checksum of the model file it was made from.
    """

    config: Config
    labels: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    tables: FrontendTables
    exit_sizes: tuple[int, ...]
    size: int
    model_checksum: int


def build(file: ModelFile, exits: int | None = None, seconds: float | None = None) -> bytes:
    """The flash image of a model file: of its first `exits` exits, all by default.

    seconds: the longest audio it is for; the position table ends there. None keeps all of it.
    Raises ArgumentError for exits or seconds that the model lacks, a front end that the C library
    cannot do, or an image of 2 GiB and more.
    """
    exits = file.config.exits if exits is None else exits
    if not 1 <= exits <= file.config.exits:
        raise ArgumentError(f"exits: expected 1..{file.config.exits}, found {exits}")
    config = limited(file.config, seconds)
    image = _build(config, file)
    # All exits are laid out, whatever is asked for: an image of fewer is the first bytes of it.
    return image[: _Header.unpack(image).exit_bytes[exits - 1]]


def write(path: str | os.PathLike, image: bytes, *, overwrite: bool = False) -> None:
    """Write an image that `build` gave, complete or not at all. Raises FileError."""
    write_atomic(path, [image], overwrite)


def read(path: str | os.PathLike) -> FlashImage:
    """Read an image and check all of it. Raises FileError or ModelFileError."""
    try:
        return parse(read_limited(path, MAX_BYTES))
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


def limited(config: Config, seconds: float | None) -> Config:
    """The configuration with positions for `seconds` of audio; itself for None.

    Raises ArgumentError when that is no encoder frame at all, or more than the model has.
    """
    if seconds is None:
        return config
    frames = 0
    if 0 < seconds <= config.max_seconds:
        mel_frames = 1 + (int(seconds * config.sample_rate) + 2 * config.pad) // config.hop_length
        frames = config.encoder_frames(mel_frames)
    if frames < 1:
        raise ArgumentError(
            f"seconds: expected at least one encoder frame ({config.frame_seconds:g} s and a "
            f"window) and at most {shown_limit(config.max_seconds)} s, found {seconds}")
    return dataclasses.replace(config, max_frames=min(frames, config.max_frames))


def exit_sizes(config: Config, tokens: Sequence[str], special: frozenset[int]) -> tuple[int, ...]:
    """Bytes of an image up to each exit. Raises ArgumentError for a front end C cannot do."""
    constants = _constants(config, labels_of(tokens, special, config.blank), {})
    return _plan(config, constants).exit_bytes


def tensor_count(config: Config) -> int:
    """Tensors of an image: those of the model but for the front end's."""
    frontend = 2 if config.frontend == "logmel" else 0
    return families.tensor_count(config) - frontend


def labels_of(tokens: Sequence[str], special: frozenset[int], blank: int) -> tuple[str, ...]:
    """What each label adds to a text (`ee_ref.tokens.Tokens.text`); a space begins a word."""
    return tuple(
        "" if id == blank or id in special else re.sub(r"[▁\s]", " ", token)
        for id, token in enumerate(tokens)
    )


# ---- Writing ----


class _Plan(NamedTuple):
    """Where everything lies: spans of _SPANS, offset of each tensor, ends of base and exits."""

    spans: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    base_bytes: int
    exit_bytes: tuple[int, ...]


def _stored_specs(config: Config) -> list[TensorSpec]:
    """The tensors that ee_model_open takes: those of the front end are spans of their own."""
    return [spec for spec in families.tensors(config) if not spec.name.startswith("frontend.")]


def _stored_dtype(spec: TensorSpec) -> np.dtype:
    return np.dtype(spec.dtype).newbyteorder("<")


def _stored_bytes(spec: TensorSpec) -> int:
    return math.prod(spec.stored_shape) * _stored_dtype(spec).itemsize


def _stored(tensor: np.ndarray, spec: TensorSpec) -> bytes:
    """A tensor as the image holds it, rows padded as in a model file; of positions, those kept."""
    stored = np.zeros(spec.stored_shape, _stored_dtype(spec))
    stored[..., : spec.shape[-1]] = tensor[tuple(slice(size) for size in spec.shape)]
    return stored.tobytes()


def _constants(
    config: Config, labels: Sequence[str], tensors: Mapping[str, np.ndarray]
) -> dict[str, bytes]:
    """The data of every span but the tensor table, which is zeros of its size."""
    tables = frontend_tables(config)
    text = [label.encode() for label in labels]
    ends = list(itertools.accumulate(map(len, text)))
    logmel = config.frontend == "logmel"
    zeros = np.zeros(config.mels, np.float32)
    return {
        "tensors": bytes(8 * len(_stored_specs(config))),
        **{name: table.astype(table.dtype.newbyteorder("<")).tobytes()
           for name, table in tables._asdict().items()},
        "mean": tensors.get("frontend.mean", zeros).astype("<f4").tobytes() if logmel else b"",
        "scale": tensors.get("frontend.scale", zeros).astype("<f4").tobytes() if logmel else b"",
        "label_ends": np.array(ends, "<u4").tobytes(),
        "label_text": b"".join(text),
    }


def _plan(config: Config, constants: Mapping[str, bytes]) -> _Plan:
    end = HEADER_BYTES
    spans = []
    for name in _SPANS:
        spans.append((end, len(constants[name])))
        end = align(end + len(constants[name]), ALIGNMENT)
    offsets, ends = [], [0] * (config.exits + 1)
    for spec in _stored_specs(config):
        offsets.append(end)
        end = ends[spec.exit] = align(end + _stored_bytes(spec), ALIGNMENT)
    if end > MAX_BYTES:
        raise ArgumentError(f"flash image: expected at most {MAX_BYTES} bytes, found {end}")
    return _Plan(tuple(spans), tuple(offsets), ends[0], tuple(ends[1:]))


def _tensor_table(plan: _Plan, specs: Sequence[TensorSpec]) -> bytes:
    return b"".join(struct.pack("<2I", offset, _stored_bytes(spec))
                    for offset, spec in zip(plan.offsets, specs, strict=True))


def _build(config: Config, file: ModelFile) -> bytes:
    labels = labels_of(file.tokens, file.special, config.blank)
    constants = _constants(config, labels, file.tensors)
    plan = _plan(config, constants)
    specs = _stored_specs(config)
    constants["tensors"] = _tensor_table(plan, specs)

    image = bytearray(plan.exit_bytes[-1])
    for name, (offset, size) in zip(_SPANS, plan.spans, strict=True):
        image[offset : offset + size] = constants[name]
    for offset, spec in zip(plan.offsets, specs, strict=True):
        stored = _stored(file.tensors[spec.name], spec)
        image[offset : offset + len(stored)] = stored
    starts = (HEADER_BYTES, plan.base_bytes, *plan.exit_bytes)
    crcs = [zlib.crc32(image[start:end]) for start, end in zip(starts, starts[1:])]
    sizes = {name: getattr(config, name) for name in _Header._fields if hasattr(config, name)}
    if config.frontend == "mel":
        sizes["log_floor"] = 0.0
    header = _Header(**{
        **sizes, "magic": MAGIC, "abi": IMAGE_ABI, "header_crc32": 0, "header_bytes": HEADER_BYTES,
        "model_crc32": file.header_checksum, "dtype": DTYPES.index(config.dtype),
        "spans": plan.spans, "base_bytes": plan.base_bytes, "base_crc32": crcs[0],
        "exit_bytes": plan.exit_bytes, "exit_crc32": tuple(crcs[1:]),
    }).pack()
    image[:HEADER_BYTES] = header
    struct.pack_into("<I", image, _HEADER_CRC_OFFSET, zlib.crc32(header))
    return bytes(image)


# ---- Reading ----


def parse(data: bytes) -> FlashImage:
    """Check an image whole and name what is in it. Raises ModelFileError."""
    header = _checked_header(data)
    exits = _exits_held(header, len(data))
    starts = (HEADER_BYTES, header.base_bytes, *header.exit_bytes[:exits])
    crcs = (header.base_crc32, *header.exit_crc32)
    for number, (start, end, expected) in enumerate(zip(starts, starts[1:], crcs)):
        what = f"the part of exit {number}" if number else "the part before exit 1"
        _check_crc(what, zlib.crc32(data[start:end]), expected)

    whole = _config(header)
    spans = dict(zip(_SPANS, header.spans, strict=True))
    for name, size in _table_sizes(whole).items():
        if spans[name][1] != size:
            raise ModelFileError(f"{name}: expected {size} bytes, found {spans[name][1]}")
    if any(offset + size > header.base_bytes for offset, size in spans.values()):
        raise ModelFileError("a table ends beyond the part before exit 1")
    found = {name: data[offset : offset + size] for name, (offset, size) in spans.items()}
    labels = _labels(found["label_ends"], found["label_text"])
    tensors = {}
    if whole.frontend == "logmel":
        for name in ("mean", "scale"):
            tensors[f"frontend.{name}"] = np.frombuffer(found[name], "<f4")

    # Everything but labels and tensors follows from the configuration.
    constants = _constants(whole, labels, tensors)
    try:
        plan = _plan(whole, constants)
    except ArgumentError as error:
        raise ModelFileError(str(error)) from None
    specs = _stored_specs(whole)
    constants["tensors"] = _tensor_table(plan, specs)
    for name, span in zip(_SPANS, plan.spans, strict=True):
        if spans[name] != span or found[name] != constants[name]:
            raise ModelFileError(f"{name}: not the table of this configuration")
    if (header.base_bytes, header.exit_bytes[: whole.exits]) != (plan.base_bytes, plan.exit_bytes):
        raise ModelFileError("sizes of exits that do not fit the configuration")
    for spec, offset in zip(specs, plan.offsets, strict=True):
        if spec.exit <= exits:
            stored = np.frombuffer(
                data, _stored_dtype(spec), math.prod(spec.stored_shape), offset)
            tensors[spec.name] = stored.reshape(spec.stored_shape)[..., : spec.shape[-1]]
    return FlashImage(
        config=whole.first_exits(exits), labels=labels, tensors=MappingProxyType(tensors),
        tables=frontend_tables(whole), exit_sizes=plan.exit_bytes[:exits], size=len(data),
        model_checksum=header.model_crc32)


def _check_crc(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise ModelFileError(f"{what} is damaged: expected checksum {expected:08x}, "
                             f"found {found:08x}")


def _checked_header(data: bytes) -> _Header:
    if len(data) < HEADER_BYTES:
        raise ModelFileError(f"expected a header of {HEADER_BYTES} bytes, found {len(data)} bytes")
    header = _Header.unpack(data)
    for what, found, expected in (("magic number", header.magic, MAGIC),
                                  ("ABI version", header.abi, IMAGE_ABI),
                                  ("header size", header.header_bytes, HEADER_BYTES)):
        if found != expected:
            raise ModelFileError(f"{what}: expected {expected:#x}, found {found:#x}")
    cleared = bytearray(data[:HEADER_BYTES])
    struct.pack_into("<I", cleared, _HEADER_CRC_OFFSET, 0)
    _check_crc("the header", zlib.crc32(cleared), header.header_crc32)
    if not 1 <= header.exits <= MAX_EXITS:
        raise ModelFileError(f"exits: expected 1..{MAX_EXITS}, found {header.exits}")
    if header.trimmed().pack() != data[:HEADER_BYTES]:
        raise ModelFileError("expected zeros in the header after the last exit, found others")
    sizes = (HEADER_BYTES, header.base_bytes, *header.exit_bytes[: header.exits])
    if any(a >= b or b % ALIGNMENT for a, b in zip(sizes, sizes[1:])):
        raise ModelFileError(f"sizes of exits: expected increasing multiples of {ALIGNMENT}, found "
                             f"{sizes}")
    return header


def _exits_held(header: _Header, size: int) -> int:
    ends = header.exit_bytes[: header.exits]
    if size not in ends:
        raise ModelFileError(f"expected the end of an exit, {', '.join(map(str, ends))} bytes, "
                             f"found {size}")
    return ends.index(size) + 1


def _config(header: _Header) -> Config:
    if header.dtype >= len(DTYPES):
        raise ModelFileError(f"dtype: expected 0..{len(DTYPES) - 1}, found {header.dtype}")
    values = {field.name: getattr(header, field.name)
              for field in dataclasses.fields(ConformerConfig) if hasattr(header, field.name)}
    values["dtype"] = DTYPES[header.dtype]
    values["layers_per_exit"] = header.layers_per_exit[: header.exits]
    values["frontend"] = "logmel" if header.log_floor else "mel"
    values["norm_eps"] = nearest_float32(header.norm_eps)
    if header.log_floor:
        values["log_floor"] = nearest_float32(header.log_floor)
    else:
        del values["log_floor"]
    try:
        config = ConformerConfig(**values).validate()
    except ArgumentError as error:
        raise ModelFileError(str(error)) from None
    if reason := unsupported(config):
        raise ModelFileError(reason)
    return config


def _table_sizes(config: Config) -> dict[str, int]:
    """Bytes of the tables whose sizes can be told without making them."""
    scales = 4 * config.mels if config.frontend == "logmel" else 0
    return {"tensors": 8 * tensor_count(config), "window": 4 * config.win_length,
            "sines": 4 * config.n_fft, "mel_first": 2 * config.mels,
            "mel_count": 2 * config.mels, "mean": scales, "scale": scales,
            "label_ends": 4 * config.vocab}


def _labels(ends: bytes, text: bytes) -> tuple[str, ...]:
    offsets = [0, *np.frombuffer(ends, "<u4").tolist()]
    if sorted(offsets) != offsets or offsets[-1] != len(text):
        raise ModelFileError(f"label_ends: expected increasing offsets up to {len(text)}")
    try:
        return tuple(text[a:b].decode() for a, b in zip(offsets, offsets[1:]))
    except UnicodeDecodeError as error:
        raise ModelFileError(f"label_text: expected UTF-8: {error}") from None


# ---- Lies, for the conformance suite ----


def header(image: bytes) -> _Header:
    """The fields of an image's header, unchecked."""
    return _Header.unpack(image)


def spans(header: _Header) -> dict[str, tuple[int, int]]:
    """Offset and bytes of each table by its name."""
    return dict(zip(_SPANS, header.spans, strict=True))


def resealed(image: bytes, **fields: Any) -> bytes:
    """An image with other fields in its header and every checksum right again.

    fields: those of the header by their names in FORMAT.md, a table's as (offset, bytes). Checksums
    are of the bytes that `image` has now. So a reader is shown what checksums do not reveal.
    """
    told = header(image)
    tables = {name: fields.pop(name, span) for name, span in spans(told).items()}
    told = told._replace(spans=tuple(tables.values()), header_crc32=0, **fields)
    starts = (HEADER_BYTES, told.base_bytes, *told.exit_bytes)
    crcs = [zlib.crc32(image[start:end]) for start, end in zip(starts, starts[1:])]
    sealed = bytearray(told._replace(base_crc32=crcs[0], exit_crc32=tuple(crcs[1:])).pack())
    struct.pack_into("<I", sealed, _HEADER_CRC_OFFSET, zlib.crc32(sealed))
    return bytes(sealed) + image[HEADER_BYTES:]
