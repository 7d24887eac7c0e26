"""Arrays at the border to C: checked on the way in, laid out as the kernels read them."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._lib import ffi, lib


def check(name: str, array: np.ndarray, *shape: int | None) -> tuple[int, ...]:
    """Return array.shape; ShapeError unless array is C-contiguous float32 of this shape.

    None stands for any size of at least 1, on the first axis for any size at all.
    """
    if not isinstance(array, np.ndarray):
        raise ShapeError(f"{name}: expected a NumPy array, found {type(array).__name__}")
    if array.dtype != np.float32:
        raise ShapeError(f"{name}: expected dtype float32, found {array.dtype}")
    fits = len(shape) == array.ndim and all(
        size == expected if expected is not None else size > 0 or axis == 0
        for axis, (size, expected) in enumerate(zip(array.shape, shape))
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(f"{name}: expected shape ({wanted}), found {array.shape}")
    if not array.flags.c_contiguous:
        raise ShapeError(f"{name}: expected C-contiguous rows, found strides {array.strides}")
    return array.shape


def pointer(array: np.ndarray | None):
    """The `float *` of an array (NULL for None). It keeps the array alive while it lives."""
    return ffi.NULL if array is None else ffi.from_buffer("float[]", array)


def padded(weight: np.ndarray) -> np.ndarray:
    """The weight with rows of ee_row_stride(n) floats, as composites read it: itself if it has."""
    size = weight.shape[-1]
    stride = lib.ee_row_stride(size)
    if stride == size:
        return weight
    result = np.zeros((*weight.shape[:-1], stride), np.float32)
    result[..., :size] = weight
    return result


def aligned(size: int, alignment: int) -> np.ndarray:
    """Uninitialised memory: (size,) bytes that begin at a multiple of `alignment`."""
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size]


def scratch(floats: int) -> np.ndarray:
    """Scratch memory of a composite kernel."""
    return np.empty(floats, np.float32)
