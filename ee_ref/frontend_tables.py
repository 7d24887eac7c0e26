"""The old name of `ee_ref.frontend.tables`, which works until version 0.2."""

from __future__ import annotations

import warnings

from .frontend import tables


def __getattr__(name: str):
    if name == "is_supported":
        found, instead = lambda config: not tables.unsupported(config), "unsupported"
    elif name in ("FrontendTables", "frontend_tables"):
        found, instead = getattr(tables, name), name
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"ee_ref.frontend_tables.{name}: use ee_ref.frontend.tables.{instead}",
                  DeprecationWarning, stacklevel=2)
    return found
