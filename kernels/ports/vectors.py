"""Golden vectors on a board: makes cases, has the board compute them, compares bytes.

    python kernels/ports/vectors.py BOARD [--isa NAME]

Expected bytes come from the NumPy ops. Prints a line for each op, and every case that differs.
`make vectors-BOARD` calls it. The files are those of common/vectors.c.
"""

from __future__ import annotations

import argparse
import inspect
import os
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PORTS = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.append(str(PORTS.parent.parent))

import numpy as np

from ee_ref import ops
from ee_ref.encoder import ReferenceEncoder
from ee_ref.conformance.cases import cases_of, op_names

MAGIC = b"EEVECTOR"
VERSION = 1
ALIGNMENT = 16
STATUS_OK = 0
GARBAGE = 0x55
"""What lies behind a row of weights: it must not matter."""
FAULTS = ("quantize_qs8", "linear_qs8", "layer_norm_qs8", "silu_qs8", "glu_qs8", "softmax_qs8",
          "log_softmax_qs8", "depthwise_conv_qs8", "stem_conv_qs8")
"""Kernels that the board's program can make wrong by one bit."""
DTYPES = {ord("f"): np.dtype("<f4"), ord("b"): np.dtype("i1"), ord("h"): np.dtype("<i2"),
          ord("i"): np.dtype("<i4")}
TYPES = {dtype: type_ for type_, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Vector:
    """A case: an op of the board's program with its arguments, and what has to come back.

    name: for people. expected: the outputs, or () when the status is not 0.
    """

    op: str
    name: str
    arguments: Sequence[np.ndarray | Rows]
    expected: Sequence[np.ndarray] = field(default=())
    status: int = STATUS_OK


# ---- The files ----


def _two_axes(values: Any) -> np.ndarray:
    values = np.atleast_2d(np.asarray(values))
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


@dataclass(frozen=True)
class Rows:
    """A matrix whose rows take multiples of 16 bytes, with a byte `fill` behind each."""

    values: np.ndarray
    fill: int


def _array(values: np.ndarray | Rows) -> bytes:
    fill = None
    if isinstance(values, Rows):
        values, fill = values.values, values.fill
    values = _two_axes(values)
    data = values.tobytes()
    if fill is not None:
        row = values.shape[1] * values.itemsize
        as_bytes = np.frombuffer(data, np.uint8).reshape(values.shape[0], row)
        padded = np.pad(as_bytes, ((0, 0), (0, -row % ALIGNMENT)), constant_values=fill)
        data = padded.tobytes()
    header = struct.pack("<4I", TYPES[values.dtype], len(data), *values.shape)
    return header + data + bytes(-len(data) % ALIGNMENT)


def write(path: str | Path, vectors: Iterable[Vector]) -> None:
    """Write the cases. A vector is written as a matrix of one row, a scalar as one value."""
    parts = []
    for vector in vectors:
        body = b"".join(_array(values) for values in vector.arguments)
        head = struct.pack("<32s4I", vector.op.encode(), len(vector.arguments), len(body), 0, 0)
        parts.append(head + body)
    Path(path).write_bytes(MAGIC + struct.pack("<2I", VERSION, len(parts)) + b"".join(parts))


def read(path: str | Path) -> list[tuple[int, list[np.ndarray]]]:
    """Status and outputs of each case. Raises ValueError when the file is not whole."""
    data = Path(path).read_bytes()
    if data[:8] != MAGIC or len(data) < 16:
        raise ValueError(f"{path}: not a file of golden vectors")
    version, count = struct.unpack_from("<2I", data, 8)
    if version != VERSION:
        raise ValueError(f"{path}: expected version {VERSION}, found {version}")
    results = []
    at = 16
    try:
        for _ in range(count):
            _, arrays, *_ = struct.unpack_from("<32s4I", data, at)
            at += 48
            values = []
            for _ in range(arrays):
                type_, size, rows, columns = struct.unpack_from("<4I", data, at)
                at += 16
                flat = np.frombuffer(data, DTYPES[type_], rows * columns, at)
                values.append(flat.reshape(rows, columns))
                at += size + -size % ALIGNMENT
            results.append((int(values[0][0, 0]), values[1:]))
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: damaged after {len(results)} of {count} results") from error
    return results


# ---- Cases ----


def _flat(name: str, value: Any) -> list[np.ndarray | Rows]:
    """An argument of an op as arrays of a case: a mapping's in its order, a number as one value,
    None as no values."""
    if value is None:
        return [np.zeros((1, 0), np.float32)]
    if isinstance(value, Mapping):
        return [array for key, part in value.items() for array in _flat(key, part)]
    if isinstance(value, np.ndarray) and name.endswith("weight") and value.ndim == 2:
        return [Rows(value, GARBAGE)]
    if isinstance(value, np.ndarray):
        return [Rows(value, 0) if value.dtype == np.int8 else value]
    return [np.array(value, np.int32 if isinstance(value, int) else np.float32)]


def op_vectors(names: Iterable[str] | None = None) -> list[Vector]:
    """Every case of the ops (ee_ref/conformance/cases), by default of all of int8 mode, as NumPy
    computes it."""
    vectors = []
    for op in names or op_names("qs8"):
        function = getattr(ops, op)
        signature = inspect.signature(function)
        for case in cases_of(op):
            bound = signature.bind(**case.arguments())
            bound.apply_defaults()
            arguments = [a for name, value in bound.arguments.items() for a in _flat(name, value)]
            with np.errstate(under="ignore"):
                result = function(**case.arguments())
            outputs = result if isinstance(result, tuple) else (result,)
            vectors.append(Vector(op, f"{op}/{case.name}", arguments, outputs))
    return vectors


def image_vector(name: str, image: bytes, status: int = STATUS_OK, shift: int = 0) -> Vector:
    """Opens a flash image on the board, for the cases after it."""
    data = np.frombuffer(image, np.int8)
    return Vector("image", f"{name}: open", [data, np.int32(shift)], (), status)


def exits_vector(name: str, encoder: ReferenceEncoder, features: np.ndarray) -> Vector:
    """Log-probabilities of every exit of the image opened last, from features."""
    expected = [out.log_probs for out in encoder.exits(features)]
    return Vector("exits", f"{name}: log-probabilities", [features], expected)


# ---- A board ----


class BoardError(Exception):
    """A board ended otherwise than with success. Holds what it printed."""


def execute(board: str, folder: Path, program: str, arguments: Sequence[str],
            settings: Mapping[str, str] = {}) -> str:
    """Build a program of a board where needed, run it in `folder`, and return what it printed.

    settings: variables of kernels/ports/Makefile. Raises BoardError.
    """
    command = ["make", "--no-print-directory", "-s", "-C", str(PORTS), f"BOARD={board}", "execute",
               f"PROGRAM={program}", f"WORK={folder}", f"ARGUMENTS={' '.join(arguments)}",
               *(f"{key}={value}" for key, value in settings.items())]
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise BoardError(f"{board}, {program}: {done.stdout}{done.stderr}")
    return done.stdout


def compute(board: str, vectors: Sequence[Vector], folder: Path, isa: str | None = None,
            fault: str | None = None, settings: Mapping[str, str] = {}
            ) -> list[tuple[int, list[np.ndarray]]]:
    """Have a board compute the cases. fault: a kernel that is to give one wrong bit."""
    write(folder / "cases.bin", vectors)
    arguments = ["cases=cases.bin", "results=results.bin"]
    arguments += [f"isa={isa}"] if isa else []
    arguments += [f"fault={fault}"] if fault else []
    execute(board, folder, "vectors", arguments, settings)
    return read(folder / "results.bin")


def _bytes_of_values(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8).reshape(*array.shape, array.itemsize)


def difference(vector: Vector, status: int, outputs: Sequence[np.ndarray]) -> str | None:
    """What is wrong with a result, in words, or None when every byte is right."""
    if status != vector.status:
        return f"status {status}, expected {vector.status}"
    if len(outputs) != len(vector.expected):
        return f"{len(outputs)} outputs, expected {len(vector.expected)}"
    for number, (found, expected) in enumerate(zip(outputs, vector.expected)):
        expected = _two_axes(expected)
        if found.shape != expected.shape or found.dtype != expected.dtype:
            return (f"output {number}: {found.dtype} {found.shape}, expected {expected.dtype} "
                    f"{expected.shape}")
        wrong = (_bytes_of_values(found) != _bytes_of_values(expected)).any(axis=-1)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            return (f"output {number}: {int(wrong.sum())} of {wrong.size} values differ, the first "
                    f"at {at}: {found[at]!r}, expected {expected[at]!r}")
    return None


def differences(vectors: Sequence[Vector], results: Sequence[tuple[int, list[np.ndarray]]]
                ) -> list[str]:
    """One line for each case whose result is not the expected one."""
    lines = [f"{vector.name}: {problem}" for vector, result in zip(vectors, results)
             if (problem := difference(vector, *result))]
    if len(vectors) != len(results):
        lines.append(f"{len(results)} results of {len(vectors)} cases")
    return lines


# ---- Clips ----


def read_clip(path: str | Path) -> np.ndarray:
    """(N,) int16 samples of a 16-bit WAV file of one channel."""
    with wave.open(str(path)) as clip:
        if clip.getsampwidth() != 2 or clip.getnchannels() != 1:
            raise ValueError(f"{path}: expected 16-bit samples of one channel")
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("board")
    parser.add_argument(
        "--isa", help="kernels to use: c, dsp, mve, neon, dot, i8mm; default: the best")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="variables for make")
    options = parser.parse_args()
    vectors = op_vectors()
    with tempfile.TemporaryDirectory() as folder:
        results = compute(options.board, vectors, Path(folder), options.isa,
                          settings=dict(item.split("=", 1) for item in options.set))
    wrong = differences(vectors, results)
    for op in dict.fromkeys(vector.op for vector in vectors):
        names = [vector.name for vector in vectors if vector.op == op]
        failed = sum(line.partition(": ")[0] in names for line in wrong)
        print(f"{op:28} {len(names):4} cases, {failed} differ")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{options.board}: {len(vectors)} cases, {len(wrong)} differ")
    return bool(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BoardError as error:
        sys.exit(str(error))
