from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from weights_io.layout import SCALE_SUFFIX, TensorSpec, layer_shapes

from ..errors import ArgumentError, ShapeError
from ._arrays import check, padded, padded_int8, pointer, scratch_qs8
from ._lib import ffi, lib, ops_qs8, team


def conformer_layer_qs8(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.conformer_layer_qs8`."""
    rows, dim = check("x", x, None, None)
    ff, _ = check("ff1.up.weight", _weight(weights, "ff1.up.weight"), None, dim, dtype=np.int8)
    depthwise = _weight(weights, "conv.depthwise.weight")
    kernel, _ = check("conv.depthwise.weight", depthwise, None, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"conv.depthwise.weight: expected an odd number of taps, found {kernel}")
    if heads < 1 or dim % heads:
        raise ArgumentError(f"heads: expected a divisor of {dim}, found {heads}")

    pointers = ffi.new("ee_conformer_weights_qs8 *")
    alive = []

    def put(name: str, array: np.ndarray) -> None:
        alive.append(pointer(array))
        setattr(pointers, name.replace(".", "_"), alive[-1])

    for suffix, shape in layer_shapes(SimpleNamespace(dim=dim, ff=ff, kernel=kernel)).items():
        weight = _weight(weights, suffix)
        if TensorSpec(suffix, shape, exit=1).is_quantizable:
            check(suffix, weight, *shape, dtype=np.int8)
            scale = _weight(weights, suffix + SCALE_SUFFIX)
            check(suffix + SCALE_SUFFIX, scale, shape[0])
            put(suffix, padded_int8(weight))
            put(suffix + SCALE_SUFFIX, scale)
        else:
            check(suffix, weight, *shape)
            put(suffix, padded(weight))

    out = np.empty_like(x)
    work = scratch_qs8(lib.ee_conformer_layer_qs8_scratch(rows, dim, heads, ff, kernel, team()))
    lib.ee_conformer_layer_qs8_c(pointer(out), pointer(x), pointers, rows, dim, heads, ff, kernel,
                                 eps, work, ops_qs8(), team())
    return out


def _weight(weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in weights:
        raise ArgumentError(f"weights: expected {name}, found none of that name")
    return weights[name]
