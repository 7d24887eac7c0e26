"""A whole layer on the C kernels, in both modes: its weights are a mapping and a struct."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..families import SCALE_SUFFIX, Kind, spelled
from ..families.conformer import LAYER
from . import _kernel
from ._arrays import check, padded, padded_int8, pointer
from ._lib import ffi


def conformer_layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.conformer_layer`."""
    return _run("conformer_layer", "f32", x, weights, heads, eps)


def conformer_layer_qs8(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.conformer_layer_qs8`."""
    return _run("conformer_layer_qs8", "qs8", x, weights, heads, eps)


def _run(
    op: str, mode: str, x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float
) -> np.ndarray:
    sizes = _sizes(x, weights, heads, np.int8 if mode == "qs8" else np.float32)
    pointers, alive = _weights(mode, weights, sizes["D"], sizes["H"], sizes["K"])
    out = np.empty_like(x)
    run = _kernel.kernel(op, _kernel.LAYER, sizes)
    run(pointer(out), pointer(x), pointers, *_kernel.words(_kernel.LAYER, sizes | {"eps": eps}, {}))
    del alive  # until here
    return out


def _sizes(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, matrices: type
) -> dict[str, int]:
    """The sizes of a layer that is checked; matrices: the dtype of weight matrices."""
    rows, dim = check("x", x, None, None)
    ff, _ = check("ff1.up.weight", _weight(weights, "ff1.up.weight"), None, dim, dtype=matrices)
    depthwise = _weight(weights, "conv.depthwise.weight")
    kernel, _ = check("conv.depthwise.weight", depthwise, None, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"conv.depthwise.weight: expected an odd number of taps, found {kernel}")
    if heads < 1 or dim % heads:
        raise ArgumentError(f"heads: expected a divisor of {dim}, found {heads}")
    return {"T": rows, "D": dim, "H": ff, "K": kernel, "heads": heads}


def _weights(mode: str, weights: Mapping[str, np.ndarray], dim: int, ff: int, kernel: int):
    """The struct of a layer's weights, checked and padded, and what keeps their memory alive."""
    pointers = ffi.new(f"ee_conformer_weights_{mode} *")
    alive = []

    def put(name: str, array: np.ndarray) -> None:
        alive.append(pointer(array))
        setattr(pointers, name.replace(".", "_"), alive[-1])

    for suffix, letters, kind in LAYER:
        shape = spelled(letters, {"D": dim, "F": ff, "K": kernel})
        weight = _weight(weights, suffix)
        if mode == "qs8" and kind is Kind.MATRIX:
            check(suffix, weight, *shape, dtype=np.int8)
            scale = _weight(weights, suffix + SCALE_SUFFIX)
            check(suffix + SCALE_SUFFIX, scale, shape[0])
            put(suffix, padded_int8(weight))
            put(suffix + SCALE_SUFFIX, scale)
        else:
            check(suffix, weight, *shape)
            put(suffix, padded(weight))
    return pointers, alive


def _weight(weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in weights:
        raise ArgumentError(f"weights: expected {name}, found none of that name")
    return weights[name]
