"""What every op takes and gives: the `LINE` of its module.

    array (shape) [int8], scalar, ... -> array (shape) [int8], ... [; rule, ...]

A letter is a size, the same wherever it stands in a line; `3D` is three times D, `KC` is K times C.
Arrays are float32 unless they say int8; one with a `?` may be None, and then has no rows. Scalars
have no shape: `eps` is a float, the others are integers. Rules: `K odd`, `heads divides D`, `stride
positive`, `chunk natural` (0 or more), `ahead below K` (None is K // 2), `D is W times H`, `N spans
T`, the distances of T frames, 2 T - 1, `I taps of D groups`, a multiple of D / groups, `N of T
without before after`, which is what is left, and `N frames of F K stride`, the outputs of a
convolution without padding.

The adapters of `ee_ref.native`, the outputs of the conformance cases and the contract test follow
these lines. `weights` of a layer is a mapping of its tensors by name
(ee_ref/families/conformer.py); its `view` and `past` are those of `_view.py`, and what it keeps
comes after y. A port is sent the tensors of `weights`, the scalars of `view`, and
past.kv? (P 2D), past.gated? (Q D).
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import NamedTuple

from . import __all__ as OPS


class Argument(NamedTuple):
    """An array, or with `shape` None a scalar (or the weights of a layer).

    shape: one factor list an axis, ("T",), ("3", "D"), ("K", "C").
    """

    name: str
    shape: tuple[tuple[str, ...], ...] | None
    is_int8: bool = False
    is_optional: bool = False

    @property
    def words(self) -> list[str]:
        """The letters of an array; of a scalar its name."""
        if self.shape is None:
            return [self.name]
        return [factor for axis in self.shape for factor in axis if factor.isalpha()]

    @property
    def spelled(self) -> str:
        """The shape of an array as in a line, with int8 behind it: "(O KC) int8"."""
        axes = " ".join(map("".join, self.shape or ()))
        return f"({axes}){' int8' if self.is_int8 else ''}"


class Line(NamedTuple):
    """The line of an op. rules: their words, ("K", "odd")."""

    op: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    rules: tuple[tuple[str, ...], ...]


@cache
def lines() -> dict[str, Line]:
    """Every line by the name of its op."""
    return {op: _line(op, text_of(op)) for op in OPS}


def text_of(op: str) -> str:
    """The line of an op as its module spells it."""
    return importlib.import_module(f"{__package__}.{op}").LINE


def _line(op: str, text: str) -> Line:
    arguments, _, rules = text.partition("; ")
    inputs, outputs = arguments.split(" -> ")
    return Line(op, _arguments(inputs), _arguments(outputs),
                tuple(tuple(rule.split()) for rule in rules.split(", ") if rule))


def _arguments(text: str) -> tuple[Argument, ...]:
    return tuple(map(_argument, text.split(", ")))


def _argument(text: str) -> Argument:
    found = re.fullmatch(r"(\w+)(\?)?(?: \(([^)]*)\))?( int8)?", text)
    if found is None:
        raise ValueError(f"expected a name and a shape, found {text!r}")
    name, optional, shape, int8 = found.groups()
    axes = None if shape is None else tuple(tuple(axis) for axis in shape.split())
    return Argument(name, axes, bool(int8), bool(optional))
