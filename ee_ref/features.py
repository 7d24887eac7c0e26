"""The old name of `ee_ref.frontend.plain`, which works until version 0.2."""

from __future__ import annotations

import warnings

from .frontend import plain


def __getattr__(name: str):
    if name not in ("extract", "checked_samples"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"ee_ref.features.{name}: use ee_ref.frontend.plain.{name}",
                  DeprecationWarning, stacklevel=2)
    return getattr(plain, name)
