"""What the name of an op says: its stem, its mode, and which name it had before."""

from __future__ import annotations

import warnings

SUFFIXES = ("_qs8", "_exact")
"""How the names of int8 mode's ops end: those with int8 among their arrays, and those of floats
alone, whose rounding is fixed."""

OLD_NAMES = {f"{stem}_qs8": f"{stem}_exact"
             for stem in ("depthwise_conv", "glu", "layer_norm", "log_softmax", "silu")}
"""Names that work until version 0.2, in `ee_ref.ops` and `ee_ref.native`."""


def stem_and_mode(op: str) -> tuple[str, str]:
    """"silu_exact" -> ("silu", "qs8"), "silu" -> ("silu", "f32"): the `dtype` of the models that
    use the op, and of its table in C."""
    for suffix in SUFFIXES:
        if op.endswith(suffix):
            return op.removesuffix(suffix), "qs8"
    return op, "f32"


def renamed(package: str, name: str) -> str:
    """Today's name of an op, with a warning; AttributeError for what was never one's name."""
    if name not in OLD_NAMES:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    warnings.warn(f"{package}.{name}: use {package}.{OLD_NAMES[name]}", DeprecationWarning,
                  stacklevel=3)
    return OLD_NAMES[name]
