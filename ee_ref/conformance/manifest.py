"""The suite as files: a manifest, raw little-endian arrays, flash images of the models.

    DIR/manifest.json           what there is, with the SHA-256 of every other file
    DIR/manifest.schema.json    what a manifest looks like
    DIR/<tier>/<op>.bin         arrays, one after another at multiples of 64 bytes
    DIR/models/<name>.eeim      flash images (weights_io/FORMAT.md)

The same bytes on every machine: see suite.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from weights_io.files import as_file_error, read_limited, refuse_existing, write_atomic
from weights_io.text import parse_json, read_text

from ..errors import ArgumentError, EeError, FileError, shown
from . import protocol
from .judge import Bound
from .schema import SchemaError, check
from .suite import TIERS, VERSION, Suite
from .vector import Vector

FORMAT = "ee-conformance"
MANIFEST = "manifest.json"
SCHEMA = "manifest.schema.json"
ALIGNMENT = 64
MAX_FILE_BYTES = 1 << 28
MAX_FLOAT = float(np.finfo(np.float32).max)
_PARAMETERS = {int: "int32", float: "float32"}


class ManifestError(EeError, ValueError):
    """A folder of vectors that is not whole, or not what its manifest says."""


@dataclass(frozen=True)
class Model:
    """A model as a port gets it. sha256: of the image, in hexadecimal; dtype: "f32" or "qs8"."""

    name: str
    image: bytes
    sha256: str
    dtype: str


@dataclass(frozen=True)
class Vectors:
    """A suite that is ready to be run, computed or read."""

    version: int
    cases: tuple[Vector, ...]
    models: Mapping[str, Model]


def computed(suite: Suite) -> Vectors:
    """The suite of this package, without files."""
    models = {
        name: Model(name, model.image, _sha256(model.image), model.config.dtype)
        for name, model in suite.models.items()
    }
    return Vectors(VERSION, suite.vectors, models)


def files(vectors: Vectors) -> dict[str, bytes]:
    """Path -> content of every file of the exported suite, the manifest last."""
    arrays: dict[str, bytearray] = {}
    cases = [_described(case, arrays) for case in vectors.cases]
    content = {path: bytes(data) for path, data in arrays.items()}
    for model in vectors.models.values():
        content[_model_path(model.name)] = model.image
    content[SCHEMA] = schema_text().encode()
    manifest = {
        "format": FORMAT, "version": vectors.version, "protocol": protocol.PROTOCOL,
        "tiers": list(TIERS),
        "files": [{"path": path, "bytes": len(data), "sha256": _sha256(data)}
                  for path, data in content.items() if path != SCHEMA],
        "models": [{"name": model.name, "file": _model_path(model.name), "dtype": model.dtype}
                   for model in vectors.models.values()],
        "cases": cases,
    }
    lines = json.dumps(manifest, indent=1, ensure_ascii=True, allow_nan=False)
    content[MANIFEST] = (lines + "\n").encode()
    return content


def _described(case: Vector, arrays: dict[str, bytearray]) -> dict[str, Any]:
    path = f"{case.tier}/{case.op}.bin"
    data = arrays.setdefault(path, bytearray())

    def tensors(given: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        for name, array in given.items():
            data.extend(bytes(-len(data) % ALIGNMENT))
            yield {"name": name, "dtype": array.dtype.name, "shape": list(array.shape),
                   "file": path, "offset": len(data)}
            data.extend(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())

    return {
        "name": case.name, "tier": case.tier, "op": case.op, "model": case.model,
        "parameters": [{"name": name, "type": _PARAMETERS[type(value)], "value": value}
                       for name, value in case.parameters.items()],
        "inputs": list(tensors(case.inputs)),
        "expected": [{**tensor, "bound": vars(case.bounds[tensor["name"]])}
                     for tensor in tensors(case.expected)],
    }


def export(
    content: Mapping[str, bytes], folder: str | os.PathLike[str], force: bool = False
) -> None:
    """Write the files into a new folder, which appears complete or not at all.

    force: replace a folder that holds vectors. Raises FileError when something else is there, or
    when it cannot be written.
    """
    target = Path(folder)
    refuse_existing_folder(target, force)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    try:
        try:
            for path, data in content.items():
                (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                (temporary / path).write_bytes(data)
            if os.path.lexists(target):
                os.replace(target, old)
            os.replace(temporary, target)
        finally:
            # However it came here, as by a signal between the two moves: one of both is in place.
            if old.exists() and not os.path.lexists(target):
                os.replace(old, target)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise as_file_error(folder, error) from error


def refuse_existing_folder(folder: str | os.PathLike[str], force: bool) -> None:
    """Raise FileError unless nothing is at `folder`, or with `force` a folder of vectors."""
    if not os.path.lexists(folder):
        if not Path(folder).absolute().parent.is_dir():
            raise FileError(f"{folder}: its folder does not exist")
        return
    if not force:
        raise FileError(f"{folder}: exists already; --force replaces a folder of vectors")
    if os.path.islink(folder) or not (Path(folder) / MANIFEST).is_file():
        raise FileError(f"{folder}: expected a folder of vectors to replace, found something else")


def archive(
    content: Mapping[str, bytes], path: str | os.PathLike[str], force: bool = False
) -> None:
    """Write the files as one .tar.xz, without names or times of who made it.

    What is in it is the same everywhere; how tightly it is packed is liblzma's affair.
    """
    if not str(path).endswith(".tar.xz"):
        raise ArgumentError(f"--archive: expected a name that ends in .tar.xz, found {path}")
    refuse_existing(path, force)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(content.items()):
            entry = tarfile.TarInfo(f"ee-conformance-{VERSION}/{name}")
            entry.size = len(data)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(data))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    write_atomic(path, [lzma.compress(packed.getvalue(), lzma.FORMAT_XZ, filters=filters)], force)


def read(folder: str | os.PathLike[str]) -> Vectors:
    """Read exported vectors, checking all of them: schema, sizes, SHA-256, places.

    Raises FileError, SchemaError or ManifestError.
    """
    root = Path(folder)
    manifest = _parsed(root / MANIFEST)
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise ManifestError(f"{root}: expected vectors of version {VERSION}, found {version!r:.20}")
    check(manifest, json.loads(schema_text()))
    if manifest["protocol"] != protocol.PROTOCOL:
        raise ManifestError(
            f"{root}: expected protocol {protocol.PROTOCOL}, "
            f"found {manifest['protocol']!r:.20}")
    # Before anything is read, so that nothing is read twice.
    for what, key in (("file", "path"), ("model", "name"), ("case", "name")):
        if len({entry[key] for entry in manifest[f"{what}s"]}) != len(manifest[f"{what}s"]):
            raise ManifestError(f"{root}: a {what} is there twice")
    content = {entry["path"]: _checked_file(root, entry) for entry in manifest["files"]}
    hashes = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    models = {}
    for entry in manifest["models"]:
        image = _content(content, entry["file"], entry["name"])
        models[entry["name"]] = Model(entry["name"], image, hashes[entry["file"]], entry["dtype"])
    cases = tuple(_case(entry, content, models) for entry in manifest["cases"])
    return Vectors(manifest["version"], cases, models)


def _parsed(path: Path) -> Any:
    text = read_text(path, MAX_FILE_BYTES, ManifestError)
    try:
        return parse_json(text)
    except ValueError as error:  # also a number of too many digits
        raise ManifestError(f"{path}: not JSON: {shown(error)}") from error


def _checked_file(root: Path, entry: Mapping[str, Any]) -> bytes:
    data = read_limited(root / entry["path"], MAX_FILE_BYTES)
    if len(data) != entry["bytes"]:
        raise ManifestError(
            f"{root / entry['path']}: expected {entry['bytes']} bytes, found {len(data)}")
    if _sha256(data) != entry["sha256"]:
        raise ManifestError(
            f"{root / entry['path']}: expected SHA-256 {entry['sha256']}, found {_sha256(data)}")
    return data


def _content(content: Mapping[str, bytes], path: str, what: str) -> bytes:
    if path not in content:
        raise ManifestError(f"{shown(what)}: {shown(path)} is not among the files of the manifest")
    return content[path]


def _case(entry: Mapping[str, Any], content: Mapping[str, bytes], models: Mapping[str, Model]
          ) -> Vector:
    name = entry["name"]
    if entry["model"] and entry["model"] not in models:
        raise ManifestError(
            f"{shown(name)}: expected a model of the manifest, found {entry['model']!r:.80}")
    if not name.startswith(f"{entry['tier']}/{entry['op']}/"):
        raise ManifestError(f"{shown(name)}: expected a name of tier {entry['tier']}, "
                            f"op {shown(entry['op'])}")

    def tensors(described: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        return {tensor["name"]: _tensor(tensor, content, name) for tensor in described}

    return Vector(
        name, entry["tier"], entry["op"], tensors(entry["inputs"]), tensors(entry["expected"]),
        {tensor["name"]: _bound(tensor, name) for tensor in entry["expected"]},
        {p["name"]: _parameter(p, name) for p in entry["parameters"]}, entry["model"])


def _bound(tensor: Mapping[str, Any], case: str) -> Bound:
    bound = tensor["bound"]
    if not -MAX_FLOAT <= bound["limit"] <= MAX_FLOAT:
        raise ManifestError(f"{shown(case)}: tensor {shown(tensor['name'])}: expected a finite "
                            f"limit, found {bound['limit']!r:.40}")
    return Bound(**bound)


def _parameter(parameter: Mapping[str, Any], case: str) -> int | float:
    value = parameter["value"]
    if parameter["type"] == "int32":
        if isinstance(value, int) and -(1 << 31) <= value < 1 << 31:
            return value
    elif -MAX_FLOAT <= value <= MAX_FLOAT:
        return float(value)
    raise ManifestError(f"{shown(case)}: parameter {shown(parameter['name'])}: expected "
                        f"{parameter['type']}, found {value!r:.40}")


def _tensor(tensor: Mapping[str, Any], content: Mapping[str, bytes], case: str) -> np.ndarray:
    data = _content(content, tensor["file"], case)
    dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
    shape, offset = tensor["shape"], tensor["offset"]
    if not (protocol.is_shape(shape, dtype)
            and offset + math.prod(shape) * dtype.itemsize <= len(data)):
        raise ManifestError(
            f"{shown(case)}: tensor {shown(tensor['name'])} {shape!r:.60} at {offset!r:.20} does "
            f"not lie in {tensor['file']} of {len(data)} bytes")
    flat = np.frombuffer(data, dtype, math.prod(shape), offset)
    return flat.reshape(shape)


def schema_text() -> str:
    """The JSON schema of a manifest."""
    return (resources.files(__package__) / SCHEMA).read_text(encoding="utf-8")


def _model_path(name: str) -> str:
    return f"models/{name}.eeim"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


__all__ = ["FORMAT", "ManifestError", "Model", "SchemaError", "Vectors", "archive", "computed",
           "export", "files", "read", "refuse_existing_folder", "schema_text"]
