"""The tensors of a model, as data: what a family writes down about them, and what follows from it.

A family lists `Part`s, rows of names and shapes behind a common prefix. Reading and writing files,
converting, quantising, exporting, counting and random models go by the `TensorSpec`s that these
give.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import NamedTuple

import numpy as np

from weights_io.gguf import ITEM_BYTES, TensorType

from ..config import Config
from ..errors import ArgumentError, ShapeError

ROW_BYTES = 16
"""In a model file every row (innermost axis) is padded with zeros to a multiple of this."""

SCALE_SUFFIX = "_scale"
"""Ends the name of the tensor with the scales of an int8 matrix, one a row."""


class Kind(Enum):
    """What a tensor is, and so how an int8 model holds it."""

    VECTOR = "vector"
    MATRIX = "matrix"  # int8 rows with a scale each in a "qs8" model
    TAPS = "taps"  # few numbers, float32 in both: of a depthwise convolution, of distances
    CONSTANT = "constant"  # a vector that no training step changes
    TABLE = "table"  # a matrix that no training step changes, a row an encoder frame
    SCALE = "scale"  # of the rows of an int8 matrix

    __hash__ = object.__hash__  # in C: rows are looked up as often as a hostile file has layers


class Row(NamedTuple):
    """A tensor of a `Part`: its name there, its shape in letters ("3D D"), its kind."""

    name: str
    shape: str
    kind: Kind


class Part(NamedTuple):
    """Tensors that belong together, as those of one layer.

    prefix: of their names. exit: 0 for what lies before the first group, g for group g and head g.
    """

    prefix: str
    exit: int
    rows: tuple[Row, ...]


class TensorSpec(NamedTuple):
    """One tensor of a model.

    shape: logical shape, row-major, without the padding of rows. exit: see `Part`.
    type: F32, or I8 with the scales of its rows in the tensor that follows, `<name>_scale`.
    """

    name: str
    shape: tuple[int, ...]
    exit: int
    kind: Kind = Kind.VECTOR
    type: TensorType = TensorType.F32

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape in a model file, rows padded."""
        return padded_shape(self.shape, ITEM_BYTES[self.type])

    @property
    def dtype(self) -> str:
        """NumPy's name of the type: "float32" or "int8"."""
        return "int8" if self.type == TensorType.I8 else "float32"

    @property
    def is_quantizable(self) -> bool:
        """Whether a "qs8" model holds it in int8."""
        return self.kind in (Kind.MATRIX, Kind.TABLE)

    @property
    def is_parameter(self) -> bool:
        """Whether training changes it, in float32."""
        return self.kind in (Kind.VECTOR, Kind.MATRIX, Kind.TAPS)


Weights = dict[str, dict[str, np.ndarray]]
"""Prefix of a part -> name there -> array."""

_NORMALISATION = (Row("mean", "M", Kind.CONSTANT), Row("scale", "M", Kind.CONSTANT))


def frontend_part(config: Config) -> Part:
    """The tensors of the front end, which come first in every family."""
    return Part("frontend.", 0, _NORMALISATION if config.has_floor else ())


def spelled(shape: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape in letters as numbers: "3D D" is (3 * sizes["D"], sizes["D"])."""
    return tuple(math.prod([sizes[factor] if factor in sizes else int(factor)
                            for factor in factors])
                 for factors in _factors(shape))


@cache
def _factors(shape: str) -> tuple[tuple[str, ...], ...]:
    """Those of each axis of a shape in letters, of which families have few."""
    return tuple(tuple(re.findall(r"\d+|[A-Z]", axis)) for axis in shape.split())


def specs(parts: Iterable[Part], sizes: Mapping[str, int], dtype: str) -> tuple[TensorSpec, ...]:
    """The tensors of these parts, in their order, as a model of this dtype has them."""
    return tuple(spec for part in parts for row in part.rows
                 for spec in _stored(_spec(part, row, sizes), dtype))


def _spec(part: Part, row: Row, sizes: Mapping[str, int]) -> TensorSpec:
    return TensorSpec(part.prefix + row.name, spelled(row.shape, sizes), part.exit, row.kind)


def _stored(spec: TensorSpec, dtype: str) -> Iterator[TensorSpec]:
    """The tensor, or in an int8 model a matrix in int8 and the scales of its rows."""
    if dtype == "f32" or not spec.is_quantizable:
        yield spec
        return
    yield spec._replace(type=TensorType.I8)
    yield TensorSpec(spec.name + SCALE_SUFFIX, spec.shape[:1], spec.exit, Kind.SCALE)


def count(parts: Iterable[Part], dtype: str) -> int:
    """How many tensors `specs` gives, without making them."""
    return sum(_count(part.rows, dtype) for part in parts)


@cache
def _count(rows: tuple[Row, ...], dtype: str) -> int:
    scaled = () if dtype == "f32" else (Kind.MATRIX, Kind.TABLE)
    return sum(1 + (row.kind in scaled) for row in rows)


def by_part(parts: Iterable[Part], arrays: Mapping[str, np.ndarray]) -> Weights:
    """The arrays of these parts, scales included."""
    return {part.prefix: {
        row.name + suffix: arrays[part.prefix + row.name + suffix]
        for row in part.rows for suffix in ("", SCALE_SUFFIX)
        if part.prefix + row.name + suffix in arrays} for part in parts}


def check(specs: Iterable[TensorSpec], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ArgumentError for a missing tensor, ShapeError for one of another shape or dtype."""
    for name, shape, dtype in ((spec.name, spec.shape, spec.dtype) for spec in specs):
        if name not in arrays:
            raise ArgumentError(f"tensor {name}: expected {shape}, found none of that name")
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise ShapeError(
                f"tensor {name}: expected {dtype} {shape}, found {found.dtype} {found.shape}")


def padded_shape(shape: tuple[int, ...], item_bytes: int = 4) -> tuple[int, ...]:
    """`shape` with its rows padded to a multiple of ROW_BYTES, as stored in a model file."""
    per_row = ROW_BYTES // item_bytes
    return (*shape[:-1], -(-shape[-1] // per_row) * per_row)
