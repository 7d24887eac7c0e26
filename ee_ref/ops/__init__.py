"""The specification of every op, in NumPy: one file an op, as short as the formula.

Arrays are float32, time-major and of one utterance: x is (T, D), T frames of D values. The C
kernels behind `ee_ref.native` have the same names and signatures and are judged against these
functions (docs/numerics.md). Ops trust their arguments; the adapters of `ee_ref.native` check
theirs.

Every module of this folder that does not start with an underscore is an op of the same name, whose
`LINE` says what it takes and gives (`_lines.py`).
`View` says what a frame of a layer sees (`FULL`: everything), `LayerPast` what it keeps.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._names import renamed
from ._view import FULL as FULL
from ._view import LayerPast as LayerPast
from ._view import View as View

__all__ = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
)


def __getattr__(name: str) -> Callable[..., Any]:
    """An op, loaded when it is first used: C runs without any."""
    op = name if name in __all__ else renamed(__name__, name)
    found = getattr(importlib.import_module(f"{__name__}.{op}"), op)
    globals()[op] = found
    return found


class _Ops(ModuleType):
    """Keeps an import of the module of an op from putting it where its function belongs."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Ops
