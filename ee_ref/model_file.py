"""Model files: the profile of GGUF v3 that FORMAT.md describes, read and written.

A file is a header (configuration, tokens, tensor table, checksums) and the tensors in canonical
order (`ee_ref.families`), so a file cut after head k is a model of k exits.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from weights_io import gguf
from weights_io.files import as_file_error, open_regular, write_atomic
from weights_io.gguf import Field, TensorInfo, TensorType, ValueType, align
from weights_io.text import parse_json

from . import families
from .config import Config
from .errors import ArgumentError, EeWarning, ModelFileError, shown
from .families import FAMILIES, Kind, TensorSpec

VERSIONS = (1, 2, 3)
"""Format versions that are read: float32 models, int8 ones, and all. The last one is written."""
ALIGNMENT = 64

NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # token types; the last two are special

_STORED_AS = {TensorType.F32: "<f4", TensorType.I8: "i1"}

OPERATING_POINTS = "exits.operating_points"
"""Optional: policies by name, as JSON (FORMAT.md). No key of `ee.`: readers may ignore it."""

_CRC_TENSORS = "ee.tensor_crc32"
_CRC_HEADER = "ee.header_crc32"

# The metadata type of a Config field follows from its Python type.
_FIELD_TYPES = {
    "int": (ValueType.UINT32, None),
    "float": (ValueType.FLOAT32, None),
    "str": (ValueType.STRING, None),
    "tuple[int, ...]": (ValueType.ARRAY, ValueType.UINT32),
}
_ARCHITECTURE, _VERSION = "general.architecture", "ee.format_version"
_REQUIRED = {
    _ARCHITECTURE: (ValueType.STRING, None),
    "general.alignment": (ValueType.UINT32, None),
    _VERSION: (ValueType.UINT32, None),
    "tokenizer.ggml.model": (ValueType.STRING, None),
    "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING),
    "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32),
    _CRC_TENSORS: (ValueType.ARRAY, ValueType.UINT32),
    _CRC_HEADER: (ValueType.UINT32, None),
}


@dataclass(frozen=True)
class ModelFile:
    """A checked, mapped model file.

    tensors: name -> read-only array of the logical shape, float32 or int8 (`families.tensors`), a
    view of the mapped file (rows are padded in the file, so strides can exceed the shape); the
    arrays keep the mapping alive.
    checksums: name -> CRC-32 of the tensor's bytes in the file. header_checksum covers these too.
    special: ids of tokens that never appear in text. metadata: every field of the header, as plain
    Python values. size: bytes of the file. exit_sizes: bytes of the file up to each exit.
    """

    config: Config
    tokens: tuple[str, ...]
    special: frozenset[int]
    tensors: Mapping[str, np.ndarray]
    checksums: dict[str, int]
    header_checksum: int
    size: int
    exit_sizes: tuple[int, ...]
    metadata: dict[str, Any]
    path: str


def read(
    path: str | os.PathLike[str], crc32: Callable[[Any], int] = zlib.crc32
) -> ModelFile:
    """Map a model file and check all of it: header, configuration, table, sizes, checksums.

    A file that ends exactly after head k (and its padding) is a model of k exits; an EeWarning
    says so. `crc32` maps a buffer to its zlib CRC-32 (the native library has a faster one).
    Raises FileError when the file cannot be opened and ModelFileError, naming what was expected
    and what was found, for everything else. The file must not be changed in place while in use.
    """
    data = _map(path)
    try:
        return _read(data, os.fspath(path), crc32)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


def _map(path: str | os.PathLike[str]) -> memoryview:
    file, size = open_regular(path)
    with file:
        if size == 0:
            raise ModelFileError(f"{path}: expected a model file, found an empty file")
        try:
            if file.read(len(gguf.MAGIC)) != gguf.MAGIC or not hasattr(mmap, "MAP_POPULATE"):
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            # All of the file is about to be read for the checksums: map its pages in one go.
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            return memoryview(mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ))
        except (OSError, ValueError, OverflowError) as error:
            raise as_file_error(path, error) from error


def _read(data: memoryview, path: str, crc32: Callable[[Any], int]) -> ModelFile:
    header = gguf.parse(data, ALIGNMENT)
    _check_fields(header.fields)
    value = {key: field.value for key, field in header.fields.items()}
    _check_header_crc(data, header, value[_CRC_HEADER])
    config = _config(value)
    tokens, special = _tokens(value, config)
    # Compared before the table is built: a few bytes of configuration can claim 100,000 tensors.
    count = families.tensor_count(config)
    for what, items in (("tensors", header.tensors), (_CRC_TENSORS, value[_CRC_TENSORS])):
        if len(items) != count:
            raise ModelFileError(f"{what}: expected {count}, found {len(items)}")
    specs = families.tensors(config)
    _check_table(header.tensors, specs)
    sizes = _exit_sizes(header, specs, config.exits)
    exits = _exits_present(sizes, len(data))
    tensors, checksums = {}, {}
    for spec, info, expected in zip(specs, header.tensors, value[_CRC_TENSORS], strict=True):
        if spec.exit > exits:
            break
        start = header.data_start + info.offset
        tensors[spec.name] = _tensor(data, start, info, spec, expected, crc32)
        checksums[spec.name] = expected
    if exits < config.exits:
        warnings.warn(
            f"{path} ends after exit {exits} of {config.exits}: used as a model of {exits} "
            f"exit{'s' * (exits > 1)}", EeWarning, stacklevel=3)
        config = config.first_exits(exits)
    return ModelFile(
        config=config, tokens=tokens, special=special, tensors=MappingProxyType(tensors),
        checksums=checksums, header_checksum=value[_CRC_HEADER], size=len(data),
        exit_sizes=sizes[:exits], metadata=value, path=path,
    )


def _check_fields(fields: Mapping[str, Field]) -> None:
    """Check that this is a file of this profile and version, with all of its fields."""
    family = FAMILIES[_known(fields, _ARCHITECTURE, FAMILIES)].Config
    version = _known(fields, _VERSION, (known for known in VERSIONS if known >= family.since))
    required = _required(family, version)
    for key, (type_, item_type) in required.items():
        expected = _type_name(type_, item_type)
        if key not in fields:
            raise ModelFileError(f"{key}: expected a value of type {expected}, found nothing")
        found = _type_name(fields[key].type, fields[key].item_type)
        if found != expected:
            raise ModelFileError(f"{key}: expected a value of type {expected}, found {found}")
    for key in fields:
        if key.startswith("ee.") and key not in required:
            raise ModelFileError(
                f"{shown(key, 80)}: expected no such field in format version {version}, found one")
    for key, value in (("general.alignment", ALIGNMENT), ("tokenizer.ggml.model", "ee")):
        _known(fields, key, (value,))
    if version == 2:
        _known(fields, "ee.dtype", ("qs8",))


def _known(fields: Mapping[str, Field], key: str, known: Iterable[Any]) -> Any:
    """The value of a field, or ModelFileError when it is none of those known."""
    found = fields[key].value if key in fields else None
    if found not in (choices := list(known)):
        expected = repr(choices[0]) if len(choices) == 1 else f"one of {choices}"
        raise ModelFileError(f"{key}: expected {expected}, found "
                             + ("nothing" if found is None else repr(found)[:80]))
    return found


def _required(config: type[Config], version: int
              ) -> dict[str, tuple[ValueType, ValueType | None]]:
    """Key -> type and item type of the fields of a file of this family and version."""
    own = {f"ee.{field.name}": _FIELD_TYPES[str(field.type)]
           for field in dataclasses.fields(config) if field.metadata.get("since", 1) <= version}
    return {**_REQUIRED, **own}


def _type_name(type_: ValueType, item_type: ValueType | None) -> str:
    return type_.name if item_type is None else f"ARRAY of {item_type.name}"


def _check_header_crc(data: memoryview, header: gguf.Header, expected: int) -> None:
    position = header.positions[_CRC_HEADER]
    found = zlib.crc32(bytes(data[:position]) + bytes(4))
    found = zlib.crc32(data[position + 4 : header.data_start], found)
    if found != expected:
        raise ModelFileError(
            f"the header is damaged: expected checksum {expected:08x}, found {found:08x}")


def nearest_float32(number: float) -> float:
    """The shortest decimal of the float32 nearest to `number`: 1e-06, not 9.999999974752427e-07.

    What a configuration holds for a number that the file stores as float32.
    """
    with np.errstate(over="ignore"):
        return float(str(np.float32(number)))


def _config(value: Mapping[str, Any]) -> Config:
    family = FAMILIES[value[_ARCHITECTURE]].Config
    found = {}
    for field in dataclasses.fields(family):
        if f"ee.{field.name}" not in value:
            continue  # of a later version: its default
        item = value[f"ee.{field.name}"]
        if isinstance(item, list):
            item = tuple(item)
        elif isinstance(item, float):
            item = nearest_float32(item)
        found[field.name] = item
    try:
        return family(**found).validate()
    except ArgumentError as error:
        raise ModelFileError(str(error)) from None


def _tokens(value: Mapping[str, Any], config: Config) -> tuple[tuple[str, ...], frozenset[int]]:
    tokens, types = value["tokenizer.ggml.tokens"], value["tokenizer.ggml.token_type"]
    for key, items in (("tokens", tokens), ("token_type", types)):
        if len(items) != config.vocab:
            raise ModelFileError(
                f"tokenizer.ggml.{key}: expected {config.vocab} items, found {len(items)}")
    for token, type_ in enumerate(types):
        if type_ not in (NORMAL, UNKNOWN, CONTROL):
            raise ModelFileError(
                f"tokenizer.ggml.token_type: expected 1, 2 or 3 for token {token}, found {type_}")
    return tuple(tokens), frozenset(i for i, type_ in enumerate(types) if type_ != NORMAL)


def _check_table(tensors: Sequence[TensorInfo], specs: Sequence[TensorSpec]) -> None:
    """Check that the table lists exactly the tensors of the configuration, one after another."""
    offset = 0
    for info, spec in zip(tensors, specs, strict=True):
        if info.name != spec.name:
            raise ModelFileError(f"expected tensor {spec.name!r}, found {info.name!r}")
        expected = (spec.stored_shape, spec.type, offset)
        for what, want, have in zip(("shape", "type", "offset"), expected, info[1:], strict=True):
            if want != have:
                raise ModelFileError(f"tensor {info.name!r}: expected {what} {want}, found {have}")
        offset += align(info.nbytes, ALIGNMENT)


def _exit_sizes(
    header: gguf.Header, specs: Sequence[TensorSpec], exits: int
) -> tuple[int, ...]:
    """Bytes of the file up to the end of each exit."""
    ends = [header.data_start] * (exits + 1)
    for info, spec in zip(header.tensors, specs, strict=True):
        ends[spec.exit] = header.data_start + info.offset + align(info.nbytes, ALIGNMENT)
    return tuple(ends[1:])


def _exits_present(sizes: Sequence[int], size: int) -> int:
    """How many exits a file of `size` bytes holds."""
    if size not in sizes:
        cuts = ", ".join(str(end) for end in sizes[:-1])
        raise ModelFileError(
            f"expected {sizes[-1]} bytes"
            + (f" (or a file cut after an exit: {cuts})" if cuts else "") + f", found {size}")
    return sizes.index(size) + 1


def _tensor(data: memoryview, start: int, info: TensorInfo, spec: TensorSpec, expected: int,
            crc32: Callable[[Any], int]) -> np.ndarray:
    """The checked view of one tensor, of its logical shape."""
    end = start + info.nbytes
    found = crc32(data[start:end])
    if found != expected:
        raise ModelFileError(
            f"tensor {spec.name!r} is damaged: expected checksum {expected:08x}, found {found:08x}")
    if any(data[end : align(end, ALIGNMENT)]):
        raise ModelFileError(f"expected zeros after tensor {spec.name!r} at offset {end}")
    stored = np.frombuffer(data[start:end], _STORED_AS[spec.type]).reshape(info.shape)
    columns = spec.shape[-1]
    padding = stored[..., columns:]
    if padding.size and padding.view(f"u{stored.itemsize}").any():
        raise ModelFileError(f"tensor {spec.name!r}: expected zeros after {columns} columns")
    if spec.type == TensorType.I8 and stored.min() < -127:
        raise ModelFileError(f"tensor {spec.name!r}: expected int8 in -127..127, found -128")
    return stored[..., :columns]


def operating_points(file: ModelFile) -> dict[str, Any]:
    """Name -> what `ee-ref calibrate` stored under it: `policy` and how it was found; may be empty.

    Raises ModelFileError when the field is there and is not what FORMAT.md says.
    """
    text = file.metadata.get(OPERATING_POINTS, "{}")
    try:
        points = parse_json(text)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{file.path}: {OPERATING_POINTS}: expected JSON, {error}") from None
    if not isinstance(points, dict) or not all(isinstance(p, dict) for p in points.values()):
        raise ModelFileError(f"{file.path}: {OPERATING_POINTS}: expected an object of objects, "
                             f"found {text[:60]!r}")
    return points


def store_operating_points(
    source: ModelFile,
    path: str | os.PathLike[str],
    points: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write `source` again with these operating points; nothing else of it changes.

    The path may be that of `source`: it is replaced in one step, and `source` stays usable. Raises
    ArgumentError for a file that was cut after an exit (its header describes the whole model), and
    the errors of `write`.
    """
    if source.config.exits < source.metadata["ee.exits"]:
        raise ArgumentError(f"{source.path} ends after exit {source.config.exits} of "
                            f"{source.metadata['ee.exits']}: expected a whole model file")
    write(path, source.config, source.tokens, source.special, source.tensors,
          name=source.metadata.get("general.name", ""), points=points, overwrite=overwrite)


def write(
    path: str | os.PathLike[str],
    config: Config,
    tokens: Sequence[str],
    special: Iterable[int],
    tensors: Mapping[str, np.ndarray],
    *,
    name: str = "",
    points: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model file; the same arguments give the same bytes.

    tensors: name -> array of the shape and dtype that `families.tensors(config)` gives. points:
    operating points, plain data for JSON (`operating_points`), left out when empty. The file
    appears complete or not at all. Raises ModelFileError naming a missing, surplus, misshapen or
    non-finite tensor, int8 of -128, a negative scale or a token list that does not fit;
    ArgumentError for an invalid configuration; FileError when the output exists (unless
    `overwrite`) or cannot be written.
    """
    chunks = _serialize(config.validate(), tuple(tokens), frozenset(special), tensors, name,
                        dict(points or {}))
    write_atomic(path, chunks, overwrite)


def _serialize(
    config: Config, tokens: tuple[str, ...], special: frozenset[int],
    tensors: Mapping[str, np.ndarray], name: str, points: dict[str, Any],
) -> Iterator[bytes | memoryview]:
    """The bytes of a model file: the header, then each tensor with its padding."""
    if len(tokens) != config.vocab:
        raise ModelFileError(f"tokens: expected {config.vocab}, found {len(tokens)}")
    if not special <= set(range(config.vocab)):
        raise ModelFileError(f"special tokens: expected ids in 0..{config.vocab - 1}, "
                             f"found {sorted(special - set(range(config.vocab)))}")
    specs = families.tensors(config)
    surplus = sorted(set(tensors) - {spec.name for spec in specs})
    if surplus:
        raise ModelFileError(f"tensor {surplus[0]!r}: not part of this configuration")
    infos, checksums, offset = [], [], 0
    for spec in specs:
        info = TensorInfo(spec.name, spec.stored_shape, spec.type, offset)
        infos.append(info)
        checksums.append(zlib.crc32(_stored(tensors, spec).data))
        offset += align(info.nbytes, ALIGNMENT)
    yield _header(config, tokens, special, name, points, infos, checksums)
    for spec, info in zip(specs, infos, strict=True):
        yield _stored(tensors, spec).data
        yield bytes(-info.nbytes % ALIGNMENT)


def _stored(tensors: Mapping[str, np.ndarray], spec: TensorSpec) -> np.ndarray:
    """A tensor as the file holds it: little-endian, rows padded with zeros. Checks it first."""
    if spec.name not in tensors:
        raise ModelFileError(f"tensor {spec.name!r}: expected shape {spec.shape}, found nothing")
    tensor = tensors[spec.name]
    if tensor.shape != spec.shape or tensor.dtype != spec.dtype:
        raise ModelFileError(f"tensor {spec.name!r}: expected {spec.dtype} {spec.shape}, "
                             f"found {tensor.dtype} {tensor.shape}")
    if not np.isfinite(tensor).all():
        raise ModelFileError(f"tensor {spec.name!r}: expected finite numbers, found inf or nan")
    if spec.type == TensorType.I8 and tensor.min() < -127:
        raise ModelFileError(f"tensor {spec.name!r}: expected int8 in -127..127, found -128")
    if spec.kind is Kind.SCALE and tensor.min() < 0:
        raise ModelFileError(f"tensor {spec.name!r}: expected scales >= 0, found {tensor.min()}")
    stored = np.zeros(spec.stored_shape, _STORED_AS[spec.type])
    stored[..., : spec.shape[-1]] = tensor
    return stored


def _header(
    config: Config, tokens: tuple[str, ...], special: frozenset[int], name: str,
    points: dict[str, Any], infos: Sequence[TensorInfo], checksums: list[int],
) -> bytes:
    value = {f"ee.{field.name}": getattr(config, field.name)
             for field in dataclasses.fields(config)}
    value.update({
        _ARCHITECTURE: config.architecture,
        "general.alignment": ALIGNMENT,
        _VERSION: VERSIONS[-1],
        "tokenizer.ggml.model": "ee",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [
            CONTROL if i in special else NORMAL for i in range(len(tokens))],
        _CRC_TENSORS: checksums,
        _CRC_HEADER: 0,
    })
    fields = {key: Field(type_, value[key], item_type)
              for key, (type_, item_type) in _required(type(config), VERSIONS[-1]).items()}
    fields["general.name"] = Field(ValueType.STRING, name)
    if points:
        text = json.dumps(points, allow_nan=False, separators=(",", ":"))
        fields[OPERATING_POINTS] = Field(ValueType.STRING, text)
    # Readers of GGUF expect the general fields first.
    fields = dict(sorted(fields.items(), key=lambda item: not item[0].startswith("general.")))
    try:
        header, positions = gguf.encode(fields, infos, ALIGNMENT)
        position = positions[_CRC_HEADER]
        struct.pack_into("<I", header, position, zlib.crc32(header))
        # A value that the reader would refuse (text too long, log_floor too small for float32).
        parsed = gguf.parse(header, ALIGNMENT)
        _config({key: field.value for key, field in parsed.fields.items()})
    except (struct.error, OverflowError, UnicodeEncodeError) as error:
        raise ModelFileError(f"metadata that cannot be written: {error}") from None
    return bytes(header)
