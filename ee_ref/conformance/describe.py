"""The table of the ops in docs/conformance.md, made from the vectors themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..ops._lines import lines
from .vector import Vector


def op_table(cases: Iterable[Vector]) -> str:
    """One line an op: tier, number of cases, inputs, parameters, outputs, bounds. Markdown.

    A tensor is its name and the shape that the line of the op gives, or else dtype and number of
    axes. "?" marks what some of the cases lack.
    """
    by_op: dict[tuple[str, str], list[Vector]] = {}
    for case in cases:
        by_op.setdefault((case.tier, case.op), []).append(case)
    lines = ["| tier | op | cases | inputs | parameters | outputs | bounds |",
             "|---|---|---|---|---|---|---|"]
    for (tier, op), group in by_op.items():
        shapes = _shapes(op)
        cells = (tier, f"`{op}`", len(group), _tensors([case.inputs for case in group], shapes),
                 _parameters(group), _tensors([case.expected for case in group], shapes),
                 _bounds(group))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _shapes(op: str) -> dict[str, str]:
    """Tensor -> its shape in letters, of an op that has a line."""
    line = lines().get(op)
    arguments = (*line.inputs, *line.outputs) if line else ()
    return {argument.name: argument.spelled for argument in arguments if argument.shape}


def _tensors(groups: list[Mapping[str, np.ndarray]], shapes: Mapping[str, str]) -> str:
    names = dict.fromkeys(_family(name) for group in groups for name in group)
    return ", ".join(_tensor(name, groups, shapes.get(name)) for name in names)


def _family(name: str) -> str:
    """log_probs_3 -> log_probs_N"""
    stem, _, number = name.rpartition("_")
    return f"{stem}_N" if number.isdigit() else name


def _tensor(name: str, groups: list[Mapping[str, np.ndarray]], shape: str | None) -> str:
    missing = any(name not in map(_family, group) for group in groups)
    if shape is None:
        found = [array for group in groups for key, array in group.items() if _family(key) == name]
        dtypes = sorted({array.dtype.name for array in found})
        axes = sorted({array.ndim for array in found})
        shape = f"{'/'.join(dtypes)} {'/'.join(map(str, axes))}"
    return f"`{name}`{'?' if missing else ''} {shape}"


def _parameters(group: list[Vector]) -> str:
    names = dict.fromkeys(name for case in group for name in case.parameters)
    kinds = {int: "int32", float: "float32"}
    found = []
    for name in names:
        kind = kinds[type(next(c.parameters[name] for c in group if name in c.parameters))]
        missing = any(name not in case.parameters for case in group)
        found.append(f"`{name}`{'?' if missing else ''} {kind}")
    return ", ".join(found)


def _bounds(group: list[Vector]) -> str:
    limits: dict[str, set[float]] = {}
    for case in group:
        for bound in case.bounds.values():
            limits.setdefault(bound.kind, set()).add(bound.limit)
    words = []
    for kind, found in limits.items():
        low, high = min(found), max(found)
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        words.append("exact" if kind == "exact" else
                     f"{span} ULP" if kind == "ulp" else f"at least {span} dB")
    return ", ".join(words)
