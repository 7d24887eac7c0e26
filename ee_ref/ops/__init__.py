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
from collections.abc import Callable
from typing import Any

from ._names import renamed
from ._view import FULL as FULL
from ._view import LayerPast as LayerPast
from ._view import View as View

__all__ = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
)


def __getattr__(name: str) -> Callable[..., Any]:
    return _functions[renamed(__name__, name)]


# After every import, so that no import puts a module where its function belongs.
_functions = {
    name: getattr(importlib.import_module(f"{__name__}.{name}"), name) for name in __all__
}
globals().update(_functions)
