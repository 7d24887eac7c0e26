"""The old name of `ee_ref.model` and `ee_ref.loading`, which works until version 0.2."""

from __future__ import annotations

import warnings

from . import loading, model


def __getattr__(name: str):
    room = loading if name in ("load", "bundled_model", "thread_count", "BACKENDS") else model
    if name.startswith("_") or not hasattr(room, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"ee_ref.pipeline.{name}: use {room.__name__}.{name}", DeprecationWarning,
                  stacklevel=2)
    return getattr(room, name)
