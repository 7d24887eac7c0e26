"""A whole layer on the C kernels, in both modes: its weights are a mapping and a struct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..families import SCALE_SUFFIX, Kind, spelled
from ..families.conformer import LAYER
from ..ops import FULL, LayerPast, View
from ..ops._view import reach_ahead
from . import _kernel
from ._arrays import check, padded, padded_int8, pointer
from ._lib import ffi


def conformer_layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5,
    view: View = FULL, past: LayerPast | None = None,
) -> tuple[np.ndarray, LayerPast]:
    """See `ee_ref.ops.conformer_layer`."""
    return _run("conformer_layer", "f32", x, weights, heads, eps, view, past)


def conformer_layer_qs8(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5,
    view: View = FULL, past: LayerPast | None = None,
) -> tuple[np.ndarray, LayerPast]:
    """See `ee_ref.ops.conformer_layer_qs8`."""
    return _run("conformer_layer_qs8", "qs8", x, weights, heads, eps, view, past)


def _run(
    op: str, mode: str, x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float,
    view: View, past: LayerPast | None,
) -> tuple[np.ndarray, LayerPast]:
    sizes = _sizes(x, weights, heads, np.int8 if mode == "qs8" else np.float32)
    dim, kernel = sizes["D"], sizes["K"]
    pointers, alive = _weights(mode, weights, dim, sizes["H"], kernel)
    view = _view(view, kernel)
    kept = _Past(past, view, dim, kernel)
    out = np.empty_like(x)
    sizes |= {"view": ffi.new("ee_view *", view), "eps": eps}
    run = _kernel.kernel(op, _kernel.LAYER, sizes)
    run(pointer(out), pointer(x), pointers, kept.pointers, sizes["view"],
        *_kernel.words(_kernel.LAYER, sizes, {}))
    del alive  # until here
    return out, kept.rows()


def _view(view: View, kernel: int) -> View:
    """The view with everything said, as it should be."""
    ahead = reach_ahead(view.ahead, kernel)
    if min(view.chunk, view.left) < 0 or not 0 <= ahead < kernel:
        raise ArgumentError(f"view: expected chunk and left of at least 0 and ahead in "
                            f"0..{kernel - 1}, found {view}")
    return View(view.chunk, view.left, ahead)


class _Past:
    """Memory for what a layer keeps, with a copy of what it has kept."""

    def __init__(self, past: LayerPast | None, view: View, dim: int, kernel: int):
        behind = kernel - 1 - reach_ahead(view.ahead, kernel)
        counts = (view.left, behind) if view.chunk else (0, 0)
        self.pointers = ffi.new("ee_layer_past *")
        self._arrays = []
        for field, count, columns in zip(LayerPast._fields, counts, (2 * dim, dim)):
            array = np.empty((count, columns), np.float32)
            if past is not None:
                rows = getattr(past, field)
                check(f"past.{field}", rows, None, columns)
                kept = min(len(rows), count)
                array[:kept] = rows[len(rows) - kept :]
                setattr(self.pointers, f"{field}_rows", kept)
            self._arrays.append(array)
            setattr(self.pointers, field, pointer(array))

    def rows(self) -> LayerPast:
        """What is kept now."""
        counts = (self.pointers.kv_rows, self.pointers.gated_rows)
        return LayerPast(*(array[:count] for array, count in zip(self._arrays, counts)))


def _sizes(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, matrices: type
) -> dict[str, Any]:
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
