"""The ops of `ee_ref.ops` on the C kernels: the same names and signatures, and the same results: to
rounding in float32 mode, to the byte in int8 mode (`*_qs8`).

Every adapter checks its arrays, calls the kernel and returns what it wrote. Arrays are C-contiguous
and of the dtypes and shapes that `ee_ref.ops` gives; anything else is a ShapeError. Where the C
library was not built, this package can be imported and each use raises NativeUnavailable.

Every module of this folder that does not start with an underscore is an op of the same name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from ..errors import NativeUnavailable

__all__ = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
)

try:
    # After every import, so that no import puts a module where its function belongs.
    _functions = {
        name: getattr(importlib.import_module(f"{__name__}.{name}"), name) for name in __all__
    }
except NativeUnavailable as _error:
    _unavailable = _error

    def __getattr__(name: str) -> Callable[..., Any]:
        if name in __all__:
            raise NativeUnavailable(str(_unavailable)) from _unavailable
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
else:
    globals().update(_functions)
