"""The ops of a model by their names in float32, whatever its arithmetic, and their matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..config import Config
from ..ops._names import SUFFIXES
from ._table import SCALE_SUFFIX


def op(ops: ModuleType, name: str, dtype: str) -> Callable[..., Any]:
    """The op of this name for models of a dtype."""
    names = [name] if dtype == "f32" else [name + suffix for suffix in SUFFIXES]
    (found,) = (name for name in names if name in ops.__all__)
    return getattr(ops, found)


def matrix(weights: Mapping[str, np.ndarray], prefix: str = "") -> list[np.ndarray]:
    """Weight, its scale in an int8 model, and bias."""
    names = (f"{prefix}weight", f"{prefix}weight{SCALE_SUFFIX}", f"{prefix}bias")
    return [weights[name] for name in names if name in weights]


def rows(weights: Mapping[str, np.ndarray], name: str, which: slice | list[int]) -> np.ndarray:
    """Rows of a table or matrix as float32."""
    found, scale = weights[name][which], weights.get(name + SCALE_SUFFIX)
    return found if scale is None else found.astype(np.float32) * scale[which][:, None]


class Ops:
    """The ops of a model's arithmetic, by their names in float32."""

    def __init__(self, config: Config, ops: ModuleType) -> None:
        self._ops, self._dtype = ops, config.dtype

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return op(self._ops, name, self._dtype)

    def linear(self, x: np.ndarray, *affine: np.ndarray) -> np.ndarray:
        """affine: weight, its scale in an int8 model, which takes x in one digit, and bias."""
        if self._dtype == "f32":
            return self._ops.linear(x, *affine)
        return self._ops.linear_qs8(*self._ops.quantize_qs8(x), *affine)

    def linear_digits(self, x: np.ndarray, *affine: np.ndarray) -> np.ndarray:
        """`linear`, in an int8 model with x in two digits."""
        if self._dtype == "f32":
            return self._ops.linear(x, *affine)
        return self._ops.linear_digits_qs8(x, *affine)
