"""Arrays at the border to C: checked on the way in, laid out as the kernels read them."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._lib import ffi, lib

ROW_ALIGNMENT = 16
"""The alignment of int8 rows and of int8 mode's scratch memory, in bytes (ee_kernels_qs8.h)."""


def check(
    name: str, array: np.ndarray | None, *shape: int | None, dtype: type = np.float32
) -> tuple[int, ...]:
    """Return array.shape; ShapeError unless array is C-contiguous of this dtype and shape.

    None stands for any size of at least 1, on the first axis for any size at all.
    """
    if not isinstance(array, np.ndarray):
        raise ShapeError(f"{name}: expected a NumPy array, found {type(array).__name__}")
    if array.dtype != dtype:
        raise ShapeError(f"{name}: expected dtype {np.dtype(dtype)}, found {array.dtype}")
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
    """The `float *` or `int8_t *` of an array (NULL for None); it keeps the array alive."""
    if array is None:
        return ffi.NULL
    return ffi.from_buffer("int8_t[]" if array.dtype == np.int8 else "float[]", array)


def address(array: np.ndarray) -> int:
    """Where the array begins: `array.ctypes.data`, which takes five times as long."""
    return array.__array_interface__["data"][0]


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


def int8_rows(rows: int, columns: int) -> np.ndarray:
    """Uninitialised (rows, stride) int8 as the kernels of int8 mode want it: aligned, padded."""
    stride = lib.ee_row_stride_qs8(columns)
    return aligned(rows * stride, ROW_ALIGNMENT).view(np.int8).reshape(rows, stride)


def padded_int8(array: np.ndarray) -> np.ndarray:
    """A copy of (rows, columns) int8 in `int8_rows`, zeros behind each row."""
    result = int8_rows(*array.shape)
    result[:, : array.shape[1]] = array
    result[:, array.shape[1] :] = 0
    return result


def scratch_qs8(size: int):
    """Scratch memory of a composite kernel of int8 mode, as C takes it."""
    return ffi.from_buffer(aligned(size, ROW_ALIGNMENT))
