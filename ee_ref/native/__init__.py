"""The ops of `ee_ref.ops` on the C kernels, with the same names, signatures and results, up to
rounding in float32 mode and to the byte in int8 mode (`*_qs8`).

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

__all__ = list(ops.__all__)

try:
    from . import _conformer_layer, _kernel
except NativeUnavailable as _error:
    _unavailable = _error

    def __getattr__(name: str) -> Callable[..., Any]:
        if name in __all__:
            raise NativeUnavailable(str(_unavailable)) from _unavailable
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
else:
    globals().update({op: _kernel.adapter(op) for op in __all__
                      if not op.startswith("conformer_layer")})
    conformer_layer = _conformer_layer.conformer_layer
    conformer_layer_qs8 = _conformer_layer.conformer_layer_qs8
