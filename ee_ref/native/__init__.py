"""The ops of `ee_ref.ops` on the C kernels, with the same names, signatures and results, up to
rounding in float32 mode and to the byte in int8 mode (`*_qs8`, `*_exact`).

Every adapter checks its arrays, calls the kernel and returns what it wrote. Arrays are C-contiguous
and of the dtypes and shapes that `ee_ref.ops` gives, x of two axes; anything else is a ShapeError.
Where the C library was not built, this package can be imported, and each use raises
NativeUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .. import ops
from ..ops._names import renamed

__all__ = [*ops.__all__]


def __getattr__(name: str) -> Callable[..., Any]:
    op = name if name in __all__ else renamed(__name__, name)
    return _adapters()[op]


@cache
def _adapters() -> dict[str, Callable[..., Any]]:
    """Made when the first is used: a model runs without them."""
    from . import _conformer_layer, _kernel

    layers = {"conformer_layer": _conformer_layer.conformer_layer,
              "conformer_layer_qs8": _conformer_layer.conformer_layer_qs8}
    made = {op: layers.get(op) or _kernel.adapter(op) for op in __all__}
    globals().update(made)
    return made


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
