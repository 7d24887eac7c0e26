"""Flash images: a model and its front end as firmware reads them in place (FORMAT.md).

A header with a table of sections, then the sections: tables of the front end, labels, phrases if
there are any, the tensors of the stem, of exit 1, of exit 2, ... The bytes of an image up to the
end of exit k are the image of k exits.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from weights_io.files import read_limited, write_atomic
from weights_io.gguf import align

from . import families
from .config import DTYPES, KINDS, MAX_EXITS, Config
from .errors import ArgumentError, ModelFileError, shown_limit
from .families import TensorSpec
from .families.conformer import CONVS, POSITIONS
from .families.wav2vec2 import CONV_NORMS, NORMS
from .frontend.tables import FrontendTables, frontend_tables, unsupported
from .model_file import ModelFile, nearest_float32

MAGIC = 0x4D494545
"""The bytes "EEIM"."""
IMAGE_ABI = 3
ALIGNMENT = 64
HEADER_BYTES = 2048
MAX_SECTIONS = 104
MAX_BYTES = 0x7FFFFFFF
MAX_SECONDS = 86_400
"""The longest audio that a device is planned for, where the model has no limit: a day."""

ARCHITECTURES = {family.Config.number: name for name, family in families.FAMILIES.items()
                 if family.Config.number}
NAMED = {"dtype": DTYPES, "conv": CONVS, "positions": POSITIONS, "frontend": KINDS,
         "conv_norm": CONV_NORMS, "norm": NORMS}
"""Fields that are a number in an image: that of the name in this list."""


class Kind(IntEnum):
    """Kinds of sections. Readers skip those that they do not know."""

    FRONTEND = 1
    LABELS = 2
    STEM = 3
    EXIT = 4
    FAMILY = 5
    PHRASES = 6


class Section(NamedTuple):
    """A part of an image: where it lies, and its checksum."""

    kind: int
    offset: int
    bytes: int
    crc32: int


class _Header(NamedTuple):
    """The header, field by field; FORMAT.md says what they mean."""

    magic: int
    abi: int
    header_crc32: int
    header_bytes: int
    model_crc32: int
    architecture: int
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
    chunk: int
    left: int
    conv: int
    positions: int
    blank: int
    frontend: int
    sample_rate: int
    n_fft: int
    win_length: int
    hop_length: int
    pad: int
    log_floor: float
    norm_eps: float
    section_count: int
    layers_per_exit: tuple[int, ...]
    sections: tuple[Section, ...]

    def pack(self) -> bytes:
        layers = [*self.layers_per_exit, *[0] * (MAX_EXITS - len(self.layers_per_exit))]
        numbers = [*self[:-2], *layers, *itertools.chain(*self.sections)]
        return struct.pack(f"{_FIELDS}{4 * len(self.sections)}I", *numbers).ljust(
            HEADER_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> _Header:
        fields: tuple[Any, ...] = struct.unpack_from(_FIELDS, data)
        sections = struct.iter_unpack("<4I", data[_SECTIONS_OFFSET:][: 16 * MAX_SECTIONS])
        *numbers, count = fields[:-MAX_EXITS]
        return cls._make([*numbers, count, fields[-MAX_EXITS:],
                          tuple(Section(*found) for found in sections)[:count]])

    def trimmed(self) -> _Header:
        """Itself, with nothing beyond the last exit."""
        return self._replace(layers_per_exit=self.layers_per_exit[: self.exits])

    @property
    def exit_ends(self) -> tuple[int, ...]:
        """Bytes of the image up to the end of each exit."""
        return tuple(section.offset + section.bytes for section in self.sections
                     if section.kind == Kind.EXIT)


_FIELDS = f"<28I2fI{MAX_EXITS}I"
_SECTIONS_OFFSET = struct.calcsize(_FIELDS)
_HEADER_CRC_OFFSET = 8


@dataclass(frozen=True)
class FlashImage:
    """A checked flash image.

    config: that of the model it was made from, with the exits and positions that the image holds.
    labels: what each label adds to a text: nothing for the blank and special ones, a space where a
    word begins. tensors: name -> read-only array of the logical shape, `frontend.*` included.
    tables: of the front end, None for one of samples. exit_sizes: bytes of the image up to each
    exit. size: bytes of the image. model_checksum: header checksum of the model file it was made
    from. phrases: the section of what may be said, for `ee_ref.phrases.packed.parse`, empty without
    one.
    """

    config: Config
    labels: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    tables: FrontendTables | None
    exit_sizes: tuple[int, ...]
    size: int
    model_checksum: int
    phrases: bytes


def build(
    file: ModelFile, exits: int | None = None, seconds: float | None = None, phrases: bytes = b"",
) -> bytes:
    """The flash image of a model file: of its first `exits` exits, all by default.

    seconds: the longest audio it is for; the position table ends there. None keeps all of it.
    phrases: what `ee_ref.phrases.packed.pack` made for this model; empty for an image without.
    Raises ArgumentError for exits or seconds that the model lacks, a front end that the C library
    cannot do, or an image of 2 GiB and more.
    """
    exits = file.config.exits if exits is None else exits
    if not 1 <= exits <= file.config.exits:
        raise ArgumentError(f"exits: expected 1..{file.config.exits}, found {exits}")
    image = _build(limited(file.config, seconds), file, phrases)
    # All exits are laid out, whatever is asked for: an image of fewer is the first bytes of it.
    return image[: header(image).exit_ends[exits - 1]]


def write(path: str | os.PathLike[str], image: bytes, *, overwrite: bool = False) -> None:
    """Write an image that `build` gave, complete or not at all. Raises FileError."""
    write_atomic(path, [image], overwrite)


def read(path: str | os.PathLike[str]) -> FlashImage:
    """Read an image and check all of it. Raises FileError or ModelFileError."""
    try:
        return parse(read_limited(path, MAX_BYTES))
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


def _require_in_c(config: Config) -> None:
    if config.architecture not in ARCHITECTURES.values():
        raise ArgumentError("a flash image: expected a model of "
                            f"{' or '.join(ARCHITECTURES.values())}, found {config.architecture}, "
                            "which runs in NumPy alone")


def limited(config: Config, seconds: float | None) -> Config:
    """The configuration with positions for `seconds` of audio; itself for None.

    Raises ArgumentError when that is no encoder frame at all, more than the model has, or more than
    `MAX_SECONDS`.
    """
    _require_in_c(config)
    if seconds is None:
        return config
    frames, most = 0, min(config.max_seconds, MAX_SECONDS)
    if 0 < seconds <= most:
        frames = config.encoder_frames(config.feature_frames(int(seconds * config.sample_rate)))
    if frames < 1:
        raise ArgumentError(
            f"seconds: expected at least one encoder frame ({config.frame_seconds:g} s and a "
            f"window) and at most {shown_limit(most)} s, found {seconds}")
    return dataclasses.replace(config, max_frames=min(frames, config.max_frames))


def exit_sizes(config: Config, tokens: Sequence[str], special: frozenset[int]) -> tuple[int, ...]:
    """Bytes of an image without phrases up to each exit.

    Raises ArgumentError for a front end C cannot do.
    """
    labels = labels_of(tokens, special, config.blank)
    constants = sum(map(len, _constants(config, labels, {}).values()))
    stem, *exits = _tensor_bytes(config)
    return tuple(itertools.accumulate(exits, initial=HEADER_BYTES + constants + stem))[1:]


def labels_of(tokens: Sequence[str], special: frozenset[int], blank: int) -> tuple[str, ...]:
    """What each label adds to a text (`ee_ref.tokens.Tokens.text`); a space begins a word."""
    return tuple(
        "" if id == blank or id in special else re.sub(r"[▁\s]", " ", token)
        for id, token in enumerate(tokens)
    )


# ---- Writing ----


def _specs(config: Config) -> list[list[TensorSpec]]:
    """The tensors of the stem, of exit 1, ...: those of the front end lie among its tables."""
    parts: list[list[TensorSpec]] = [[] for _ in range(config.exits + 1)]
    for spec in families.tensors(config):
        if not spec.name.startswith("frontend."):
            parts[spec.exit].append(spec)
    return parts


def _stored_dtype(spec: TensorSpec) -> np.dtype:
    return np.dtype(spec.dtype).newbyteorder("<")


def _stored_bytes(spec: TensorSpec) -> int:
    return math.prod(spec.stored_shape) * _stored_dtype(spec).itemsize


def _tensor_bytes(config: Config) -> list[int]:
    """Bytes of the sections of tensors: of the stem, of exit 1, ..."""
    sizes = [sum(align(_stored_bytes(spec), ALIGNMENT) for spec in specs)
             for specs in _specs(config)]
    if HEADER_BYTES + sum(sizes) > MAX_BYTES:
        raise ArgumentError(f"flash image: expected at most {MAX_BYTES} bytes, found more")
    return sizes


def _stored(tensor: np.ndarray, spec: TensorSpec) -> bytes:
    """A tensor as the image holds it, rows padded as in a model file; of positions, those kept."""
    stored = np.zeros(spec.stored_shape, _stored_dtype(spec))
    stored[..., : spec.shape[-1]] = tensor[tuple(slice(size) for size in spec.shape)]
    return stored.tobytes()


def _joined(parts: Iterable[bytes]) -> bytes:
    """Parts one after another, each at a multiple of ALIGNMENT."""
    return b"".join(part.ljust(align(len(part), ALIGNMENT), b"\0") for part in parts)


def _own_bytes(config: Config) -> bytes:
    """What only this family has, as C reads it; what its kin alone has is 0."""
    found: list[bytes] = []
    for name, form in config.own.items():
        value = getattr(config, name, 0)
        numbers = value if isinstance(value, tuple) else (_number(name, value),)
        padded = [*numbers, *[0] * (int(form[:-1] or 1) - len(numbers))]
        found.append(struct.pack(f"<{form}", *padded))
    return b"".join(found)


def _own_values(config: type[Config], own: bytes, exits: int) -> dict[str, Any]:
    """The fields of a configuration from these bytes, which may be of another length: of what is
    one an exit those that are there, of the others zeros for what is missing."""
    values: dict[str, Any] = {}
    reader = io.BytesIO(own)
    for name, form in config.own.items():
        size = struct.calcsize(f"<{form}")
        found = reader.read(size)
        numbers = struct.unpack(f"<{form}", found.ljust(size, b"\0"))
        count = len(numbers)
        if count == MAX_EXITS:
            count = min(exits, len(found) * MAX_EXITS // size)
        values[name] = numbers[:count] if len(numbers) > 1 else _value(name, numbers[0])
    return config.of_own(values)


def _number(name: str, value: Any) -> Any:
    return NAMED[name].index(value) if name in NAMED else value


def _value(name: str, number: int) -> Any:
    names = NAMED.get(name)
    if names is None:
        return number
    if number >= len(names):
        raise ModelFileError(f"{name}: expected 0..{len(names) - 1}, found {number}")
    return names[number]


def _constants(
    config: Config, labels: Sequence[str], tensors: Mapping[str, np.ndarray]
) -> dict[Kind, bytes]:
    """The sections that are no tensors."""
    tables = [np.asarray(table) for table in _tables(config) or ()]
    if config.has_floor:
        zeros = np.zeros(config.mels, np.float32)
        tables += [tensors.get(f"frontend.{name}", zeros) for name in ("mean", "scale")]
    text = [label.encode() for label in labels]
    ends = np.array(list(itertools.accumulate(map(len, text))), "<u4")
    sections = {
        Kind.FAMILY: _joined([_own_bytes(config)]),
        Kind.FRONTEND: _joined(table.astype(table.dtype.newbyteorder("<")).tobytes()
                               for table in tables),
        Kind.LABELS: _joined([ends.tobytes(), b"".join(text)]),
    }
    return {kind: content for kind, content in sections.items() if content}


def _tables(config: Config) -> FrontendTables | None:
    return None if config.takes_samples else frontend_tables(config)


def _build(config: Config, file: ModelFile, phrases: bytes) -> bytes:
    labels = labels_of(file.tokens, file.special, config.blank)
    _tensor_bytes(config)  # not too many
    contents: list[tuple[int, bytes]] = [*_constants(config, labels, file.tensors).items()]
    if phrases:
        contents.append((Kind.PHRASES, phrases))
    for exit_, specs in enumerate(_specs(config)):
        tensors = _joined(_stored(file.tensors[spec.name], spec) for spec in specs)
        contents.append((Kind.EXIT if exit_ else Kind.STEM, tensors))
    return _assembled(_described(config, file.header_checksum), contents)


def _described(config: Config, model_crc32: int) -> _Header:
    """The header of an image, without its sections."""
    values: dict[str, Any] = {
        name: _number(name, getattr(config, name)) if hasattr(config, name) else 0
        for name in _Header._fields}
    if not config.has_floor:
        values["log_floor"] = 0.0
    numbers = {name: number for number, name in ARCHITECTURES.items()}
    values |= {"magic": MAGIC, "abi": IMAGE_ABI, "header_crc32": 0, "header_bytes": HEADER_BYTES,
               "model_crc32": model_crc32, "architecture": numbers[config.architecture],
               "section_count": 0, "sections": ()}
    return _Header(**values)


def _assembled(header: _Header, contents: Sequence[tuple[int, bytes]]) -> bytes:
    """The image of a header and sections (kind, content), in their order."""
    offsets = itertools.accumulate((len(content) for _, content in contents), initial=HEADER_BYTES)
    sections = tuple(
        Section(kind, offset, len(content), zlib.crc32(content))
        for (kind, content), offset in zip(contents, offsets))
    return _sealed(header._replace(section_count=len(sections), sections=sections)) + b"".join(
        content for _, content in contents)


def _sealed(header: _Header) -> bytes:
    """The bytes of a header whose checksum is right."""
    packed = bytearray(header._replace(header_crc32=0).pack())
    struct.pack_into("<I", packed, _HEADER_CRC_OFFSET, zlib.crc32(packed))
    return bytes(packed)


# ---- Reading ----


def parse(data: bytes) -> FlashImage:
    """Check an image whole and name what is in it. Raises ModelFileError."""
    header = _checked_header(data)
    exits = _exits_held(header, len(data))
    found: dict[int, list[Section]] = {}
    for section in header.sections:
        found.setdefault(section.kind, []).append(section)
        content = data[section.offset : section.offset + section.bytes]
        if section.offset < len(data):
            _check_crc(_name(section, len(found[section.kind])), zlib.crc32(content), section.crc32)

    whole = _config(header, _content(data, *found.get(Kind.FAMILY, ())[:1]))
    _check_sizes(found, whole)
    frontend, labels = (_content(data, *found.get(kind, ())[:1])
                        for kind in (Kind.FRONTEND, Kind.LABELS))
    texts = _labels(labels, whole.vocab)
    tensors = {}
    if whole.has_floor:
        step = align(4 * whole.mels, ALIGNMENT)
        for name, at in (("mean", len(frontend) - 2 * step), ("scale", len(frontend) - step)):
            tensors[f"frontend.{name}"] = np.frombuffer(frontend, "<f4", whole.mels, at)
    # What is no tensor and no label follows from the configuration.
    for kind, expected in _constants(whole, texts, tensors).items():
        if len(found.get(kind, ())) != 1 or _content(data, *found[kind]) != expected:
            raise ModelFileError(f"{kind.name.lower()}: not the tables of this configuration")
    for specs, section in zip(_specs(whole)[: exits + 1],
                              [*found[Kind.STEM], *found[Kind.EXIT]], strict=False):
        at = section.offset
        for spec in specs:
            stored = np.frombuffer(data, _stored_dtype(spec), math.prod(spec.stored_shape), at)
            tensors[spec.name] = stored.reshape(spec.stored_shape)[..., : spec.shape[-1]]
            at += align(_stored_bytes(spec), ALIGNMENT)
    return FlashImage(
        config=whole.first_exits(exits), labels=texts, tensors=MappingProxyType(tensors),
        tables=_tables(whole), exit_sizes=header.exit_ends[:exits], size=len(data),
        model_checksum=header.model_crc32, phrases=_content(data, *found.get(Kind.PHRASES, ())))


def _content(data: bytes, *sections: Section) -> bytes:
    return b"".join(data[section.offset : section.offset + section.bytes] for section in sections)


def _name(section: Section, number: int) -> str:
    if section.kind == Kind.EXIT:
        return f"the section of exit {number}"
    known = section.kind in set(Kind)
    return f"the section {Kind(section.kind).name.lower() if known else section.kind}"


def _check_sizes(found: Mapping[int, Sequence[Section]], config: Config) -> None:
    """Check that each section has the size that the configuration implies, where it does."""
    for kind in (Kind.FRONTEND, Kind.LABELS, Kind.STEM):
        count = 0 if kind is Kind.FRONTEND and config.takes_samples else 1
        if len(found.get(kind, ())) != count:
            raise ModelFileError(f"sections: expected {count or 'none'} of kind "
                                 f"{kind.name.lower()}, found {len(found.get(kind, ()))}")
    if len(found.get(Kind.PHRASES, ())) > 1:
        raise ModelFileError("sections: expected one of kind phrases at most, found "
                             f"{len(found[Kind.PHRASES])}")
    try:
        expected = _tensor_bytes(config)
    except ArgumentError as error:
        raise ModelFileError(str(error)) from None
    sizes = [section.bytes for kind in (Kind.STEM, Kind.EXIT) for section in found[kind]]
    if sizes != expected:
        raise ModelFileError(f"sections of tensors: expected {expected} bytes, found {sizes}")


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
        raise ModelFileError("expected zeros in the header after the last exit and section, found "
                             "others")
    _check_sections(header)
    return header


def _check_sections(header: _Header) -> None:
    """Check that sections follow each other, those of exits last, one for each exit."""
    end = HEADER_BYTES
    for number, section in enumerate(header.sections):
        if section.offset != end or section.bytes < 1 or section.bytes % ALIGNMENT:
            raise ModelFileError(
                f"section {number}: expected a multiple of {ALIGNMENT} bytes from {end} on, found "
                f"{section.bytes} from {section.offset} on")
        end += section.bytes
    exits = [section.kind == Kind.EXIT for section in header.sections]
    if sum(exits) != header.exits or exits != sorted(exits):
        raise ModelFileError(f"sections: expected {header.exits} of exits, and these last, found "
                             f"{sum(exits)} of {len(exits)}")


def _exits_held(header: _Header, size: int) -> int:
    if size not in header.exit_ends:
        raise ModelFileError("expected the end of an exit, "
                             f"{', '.join(map(str, header.exit_ends))} bytes, found {size}")
    return header.exit_ends.index(size) + 1


def _config(header: _Header, own: bytes) -> Config:
    """The configuration of a header, and of the section of what only its family has."""
    if header.architecture not in ARCHITECTURES:
        raise ModelFileError(f"architecture: expected one of {list(ARCHITECTURES)}, found "
                             f"{header.architecture}")
    family = families.FAMILIES[ARCHITECTURES[header.architecture]]
    values: dict[str, Any] = {
        field.name: getattr(header, field.name)
        for field in dataclasses.fields(family.Config) if hasattr(header, field.name)}
    for name in NAMED.keys() & values.keys():
        values[name] = _value(name, values[name])
    values["layers_per_exit"] = header.layers_per_exit[: header.exits]
    values["norm_eps"] = nearest_float32(header.norm_eps)
    if values["frontend"] == "logmel":
        values["log_floor"] = nearest_float32(header.log_floor)
    elif values.pop("log_floor") != 0:
        raise ModelFileError(f"log_floor: expected 0 for {values['frontend']}, found "
                             f"{header.log_floor}")
    values |= _own_values(family.Config, own, header.exits)
    try:
        config = family.Config(**values).validate()
    except ArgumentError as error:
        raise ModelFileError(str(error)) from None
    # What is no field is the same for every model of a family, or not read.
    for name in NAMED.keys() & {*_Header._fields} - values.keys():
        expected = getattr(config, name, None)
        if expected is not None and _value(name, getattr(header, name)) != expected:
            raise ModelFileError(f"{name}: expected {_number(name, expected)} for "
                                 f"{config.architecture}, found {getattr(header, name)}")
    if reason := unsupported(config):
        raise ModelFileError(reason)
    return config


def _labels(section: bytes, vocab: int) -> tuple[str, ...]:
    at = align(4 * vocab, ALIGNMENT)
    offsets = [0, *np.frombuffer(section[: 4 * vocab], "<u4").tolist()]
    if len(section) < at or sorted(offsets) != offsets or offsets[-1] > len(section) - at:
        raise ModelFileError(f"labels: expected {vocab} increasing offsets of a text up to "
                             f"{len(section) - at}")
    try:
        return tuple(section[at + a : at + b].decode() for a, b in zip(offsets, offsets[1:]))
    except UnicodeDecodeError as error:
        raise ModelFileError(f"labels: expected UTF-8: {error}") from None


# ---- Lies, for the conformance suite ----


def header(image: bytes) -> _Header:
    """The fields of an image's header, unchecked."""
    return _Header.unpack(image)


def resealed(image: bytes, **fields: Any) -> bytes:
    """An image with other fields in its header and every checksum right again.

    fields: those of the header by their names in FORMAT.md. Checksums are of the bytes that `image`
    has now. So a reader is shown what checksums do not reveal.
    """
    told = header(image)._replace(**fields)
    return _sealed(told._replace(sections=tuple(
        section._replace(crc32=zlib.crc32(_content(image, section)))
        for section in told.sections))) + image[HEADER_BYTES:]


def reassembled(image: bytes, contents: Sequence[tuple[int, bytes]]) -> bytes:
    """An image of other sections (kind, content), with the header of `image`."""
    return _assembled(header(image), contents)


def contents(image: bytes) -> list[tuple[int, bytes]]:
    """The sections (kind, content) of an image, unchecked."""
    return [(section.kind, _content(image, section)) for section in header(image).sections]
