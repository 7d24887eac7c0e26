from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from weights_io.layout import layer_shapes

from ..errors import ArgumentError, ShapeError
from ._arrays import check, padded, pointer, scratch
from ._lib import ffi, lib, ops, team


def conformer_layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], heads: int, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.conformer_layer`."""
    rows, dim = check("x", x, None, None)
    for suffix in ("ff1.up.weight", "conv.depthwise.weight"):
        if suffix not in weights:
            raise ArgumentError(f"weights: expected {suffix}, found none of that name")
    ff, _ = check("ff1.up.weight", weights["ff1.up.weight"], None, dim)
    kernel, _ = check("conv.depthwise.weight", weights["conv.depthwise.weight"], None, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"conv.depthwise.weight: expected an odd number of taps, found {kernel}")
    if heads < 1 or dim % heads:
        raise ArgumentError(f"heads: expected a divisor of {dim}, found {heads}")

    pointers = ffi.new("ee_conformer_weights_f32 *")
    alive = []
    for suffix, shape in layer_shapes(SimpleNamespace(dim=dim, ff=ff, kernel=kernel)).items():
        if suffix not in weights:
            raise ArgumentError(f"weights: expected {suffix}, found none of that name")
        check(suffix, weights[suffix], *shape)
        alive.append(pointer(padded(weights[suffix])))
        setattr(pointers, suffix.replace(".", "_"), alive[-1])

    out = np.empty_like(x)
    work = scratch(lib.ee_conformer_layer_f32_scratch(rows, dim, heads, ff, kernel, team()))
    lib.ee_conformer_layer_f32_c(pointer(out), pointer(x), pointers, rows, dim, heads, ff, kernel,
                                 eps, pointer(work), ops(), team())
    return out
