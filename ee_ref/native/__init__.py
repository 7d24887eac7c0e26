"""The ops of `ee_ref.ops` on the C kernels, with the same names, signatures and results, up to
rounding in float32 mode and to the byte in int8 mode (`*_qs8`, `*_exact`).

Every adapter checks its arrays, calls the kernel and returns what it wrote. Arrays are C-contiguous
and of the dtypes and shapes that `ee_ref.ops` gives, x of two axes; anything else is a ShapeError.
Where the C library was not built, this package can be imported, and each use raises
NativeUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import NativeUnavailable
from ..ops._names import renamed

__all__ = list(ops.__all__)

_adapters: dict[str, Callable[..., Any]] = {}
_unavailable: NativeUnavailable | None = None

try:
    from . import _conformer_layer, _kernel
except NativeUnavailable as _error:
    _unavailable = _error
else:
    _adapters = {op: _kernel.adapter(op) for op in __all__ if not op.startswith("conformer_layer")}
    _adapters["conformer_layer"] = _conformer_layer.conformer_layer
    _adapters["conformer_layer_qs8"] = _conformer_layer.conformer_layer_qs8
    globals().update(_adapters)


def __getattr__(name: str) -> Callable[..., Any]:
    op = name if name in __all__ else renamed(__name__, name)
    if _unavailable is not None:
        raise NativeUnavailable(str(_unavailable)) from _unavailable
    return _adapters[op]
