"""Changes that a checksum, a length or a syntax would hide the rest of: they are made to fit."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from random import Random

from ee_ref import flash_image
from ee_ref.model_file import ALIGNMENT, OPERATING_POINTS
from weights_io import gguf
from weights_io.gguf import Field, ValueType

from .checkpoints import zip_file
from .model_files import rebuild
from .mutate import INTEGERS, json_text, some_bytes, some_json, values

# ---- Model files ----

_HEADER_CRC = b"ee.header_crc32" + struct.pack("<I", ValueType.UINT32)


def model_crc(rng: Random, data: bytes) -> bytes:
    """Bytes changed; the checksums of tensors and header are right as far as they are found."""
    data = some_bytes(rng, data)
    try:
        header = gguf.parse(data, ALIGNMENT)
        crcs = []
        for tensor in header.tensors:
            start = header.data_start + tensor.offset
            crcs.append(zlib.crc32(data[start : start + tensor.nbytes]))
        right = Field(ValueType.ARRAY, crcs, ValueType.UINT32)
        return rebuild(data, lambda fields, _tensors: fields.update({"ee.tensor_crc32": right}))
    except (gguf.ModelFileError, struct.error, UnicodeEncodeError, OverflowError):
        at = data.find(_HEADER_CRC) + len(_HEADER_CRC)
        return data[:at] + struct.pack("<I", zlib.crc32(data)) + data[at + 4 :]


def model_fields(rng: Random, data: bytes) -> bytes:
    """Fields and tensors of the header changed, its checksum right."""

    def change(fields: dict, tensors: list) -> None:
        for _ in range(1 << rng.randrange(3)):
            if rng.random() < 0.25 and tensors:
                _change_tensor(rng, tensors)
            else:
                _change_field(rng, fields)

    try:
        return rebuild(data, change)
    except (gguf.ModelFileError, struct.error, UnicodeEncodeError, OverflowError, TypeError):
        return model_crc(rng, data)


def _change_field(rng: Random, fields: dict) -> None:
    key = rng.choice(sorted(fields))
    field = fields[key]
    match rng.randrange(5):
        case 0:
            del fields[key]
        case 1:
            type_ = rng.choice(sorted(set(ValueType) - {ValueType.ARRAY}))
            text = some_bytes(rng, b"text").decode("latin-1")
            value = {ValueType.STRING: text, ValueType.BOOL: True}.get(type_, rng.randrange(128))
            fields[rng.choice((key, "ee.x", "x", ""))] = Field(type_, value)
        case 2 if isinstance(field.value, list) and field.value:
            at = rng.randrange(len(field.value))
            field.value[at] = _other(rng, field.value[at])
        case 3 if isinstance(field.value, list):
            field.value[:] = field.value * rng.randrange(3)
        case _ if not isinstance(field.value, list):
            fields[key] = field._replace(value=_other(rng, field.value))


def _other(rng: Random, value: object) -> object:
    if isinstance(value, str):
        return some_bytes(rng, value.encode()).decode("latin-1")[:300]
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e-45, 3e38))
    return rng.choice((rng.choice(INTEGERS), rng.randrange(9))) & 0x7FFFFFFF


def _change_tensor(rng: Random, tensors: list) -> None:
    at = rng.randrange(len(tensors))
    tensor = tensors[at]
    tensors[at] = rng.choice((
        tensor._replace(name=some_bytes(rng, tensor.name.encode()).decode("latin-1")[:30]),
        tensor._replace(shape=tuple(rng.choice(INTEGERS) for _ in range(rng.randrange(1, 5)))),
        tensor._replace(offset=rng.choice(INTEGERS)),
        tensor._replace(type=rng.choice(tuple(gguf.TensorType))),
    ))


def model_points(rng: Random, data: bytes) -> bytes:
    """Operating points that are not those of a calibrated model."""
    policies = [
        {"kind": "threshold", "score": "entropy", "threshold": [0.5, None]},
        {"kind": "fixed", "exit": 1},
        {"kind": "within", "policy": {"kind": "patience", "count": 1}, "floor": 1, "ceiling": 2},
        {"kind": "first_of", "policies": [{"kind": "deadline", "milliseconds": 3},
                                          {"kind": "deadline", "seconds": 0.03}]},
        {"kind": "learned", "weights": [[0.5] * 4], "bias": [1.0], "threshold": 0.5},
        {"kind": rng.choice(("entropy", "posterior", "budget")), "threshold": values(rng)},
    ]
    points = some_json(rng, {"balanced": {"policy": rng.choice(policies)}})
    try:
        text = json_text(points).decode()[: gguf.MAX_STRING]
        return rebuild(data, lambda fields, _tensors: fields.update(
            {OPERATING_POINTS: Field(ValueType.STRING, text)}))
    except (gguf.ModelFileError, ValueError, RecursionError):
        return data


# ---- Flash images ----


def image_crcs(rng: Random, data: bytes) -> bytes:
    """Bytes changed behind the header, checksums right."""
    if len(data) <= flash_image.HEADER_BYTES:
        return some_bytes(rng, data)
    head, rest = data[: flash_image.HEADER_BYTES], data[flash_image.HEADER_BYTES :]
    changed = some_bytes(rng, rest)
    if rng.random() < 0.75:  # of the same length
        changed = changed[: len(rest)].ljust(len(rest), b"\0")
    return with_image_crcs(head + changed)


def image_fields(rng: Random, data: bytes) -> bytes:
    """Numbers of the header changed, checksums right."""
    head = bytearray(data[: flash_image.HEADER_BYTES].ljust(flash_image.HEADER_BYTES, b"\0"))
    for _ in range(1 << rng.randrange(3)):
        at = 4 * rng.randrange(rng.choice((31, 130, flash_image.HEADER_BYTES // 4)))
        (old,) = struct.unpack_from("<I", head, at)
        value = rng.choice((rng.choice(INTEGERS), old + 1, old - 1, old * 2, old + 64, old - 64))
        struct.pack_into("<I", head, at, value % (1 << 32))
    return with_image_crcs(bytes(head) + data[flash_image.HEADER_BYTES :])


def with_image_crcs(data: bytes) -> bytes:
    """A flash image whose checksums are right."""
    return flash_image.resealed(data)


# ---- Language models ----


def last_crc(rng: Random, data: bytes) -> bytes:
    """Bytes changed in a packed language model, the checksum at its end right."""
    changed = some_bytes(rng, data[:-4])
    return changed + struct.pack("<I", zlib.crc32(changed))


# ---- Phrases in an image ----


def packed_numbers(rng: Random, data: bytes) -> bytes:
    """Counts, and numbers of tables, changed in a section that keeps its size."""
    changed = bytearray(data.ljust(120, b"\0"))
    for _ in range(1 << rng.randrange(3)):
        if rng.random() < 0.3:
            struct.pack_into("<I", changed, 4 * rng.randrange(26), rng.choice(INTEGERS) % (1 << 32))
        else:
            at = rng.randrange(len(changed) - 2)
            number = rng.randrange(rng.choice((4, 256, 1 << 16)))
            changed[at : at + 2] = number.to_bytes(2, "little")
    return bytes(changed)


# ---- Checkpoints ----


def _unzipped(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except Exception:
        return {}


def _zipped(entries: dict[str, bytes]) -> bytes:
    storages = {name.removeprefix("data/"): content for name, content in entries.items()
                if name.startswith("data/")}
    return zip_file(entries.get("data.pkl", b""), storages,
                    byteorder=entries.get("byteorder", b"little"))


def zip_pickle(rng: Random, data: bytes) -> bytes:
    """The pickle changed in a zip that is whole."""
    entries = _unzipped(data)
    if "data.pkl" not in entries:
        return some_bytes(rng, data)
    return _zipped({**entries, "data.pkl": some_bytes(rng, entries["data.pkl"])})


def zip_entries(rng: Random, data: bytes) -> bytes:
    """An entry of the zip changed, renamed or left out."""
    entries = _unzipped(data)
    if not entries:
        return some_bytes(rng, data)
    name = rng.choice(sorted(entries))
    content = entries.pop(name)
    if rng.random() < 0.9:
        entries[rng.choice((name, name, "data/x", "constants.pkl"))] = some_bytes(rng, content)
    return _zipped(entries)


def safetensors_header(rng: Random, data: bytes) -> bytes:
    """The JSON header changed, its length right."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return some_bytes(rng, data)
    text = json_text(some_json(rng, header))
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


# ---- Frames ----


def frame_crcs(rng: Random, data: bytes) -> bytes:
    """Payloads and headers changed, checksums right."""
    frames, rest = [], data
    while (at := rest.find(b"EECF")) >= 0 and len(rest) >= at + 16:
        length = struct.unpack_from("<I", rest, at + 8)[0]
        frames.append((rest[:at], rest[at : at + 12], rest[at + 16 : at + 16 + length]))
        rest = rest[at + 20 + length :]
    if not frames:
        return some_bytes(rng, data)
    chosen = rng.randrange(len(frames))
    out = b""
    for number, (noise, head, payload) in enumerate(frames):
        if number == chosen:
            payload = some_bytes(rng, payload)
            if rng.random() < 0.2:
                head = head[:4] + some_bytes(rng, head[4:8])[:4].ljust(4, b"\0") + head[8:]
            length = len(payload) if rng.random() < 0.9 else rng.choice(INTEGERS) & 0xFFFFFFFF
            head = head[:8] + struct.pack("<I", length)
        crcs = (struct.pack("<I", zlib.crc32(part)) for part in (head, payload))
        out += noise + head + next(crcs) + payload + next(crcs)
    return out + rest


# ---- Audio ----


def riff_sizes(rng: Random, data: bytes) -> bytes:
    """One chunk of a WAV file changed, its size right."""
    if data[:4] != b"RIFF":
        return some_bytes(rng, data)
    chunks, at = [], 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    if not chunks:
        return some_bytes(rng, data)
    chosen = rng.randrange(len(chunks))
    chunks[chosen] = (chunks[chosen][0], some_bytes(rng, chunks[chosen][1]))
    if rng.random() < 0.2:
        rng.shuffle(chunks)
    body = b"".join(name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
                    for name, content in chunks)
    return data[:4] + struct.pack("<I", 4 + len(body)) + data[8:12] + body
