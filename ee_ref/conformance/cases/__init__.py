"""The cases of every op: one module an op, each with `CASES`, a list of `Case`.

The golden values (tests/golden/gen_ops.py, gen_int8.py), the tests of the implementations
(tests/test_ops.py, test_ops_qs8.py), the contract test (tests/test_contract.py) and the vectors of
the conformance suite (`ee_ref.conformance.suite`) all read these tables.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ...ops._lines import lines
from ...ops._names import stem_and_mode
from ...ops.quantize_qs8 import quantize_qs8 as quantized
from ..draw import Case

BIT_EXACT = "int8 mode is bit-exact"


def op_names(dtype: str = "f32") -> list[str]:
    """The ops of models of a `dtype`, "f32" or "qs8", that have cases."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__)
                  if stem_and_mode(module.name)[1] == dtype)


def cases_of(op: str) -> list[Case]:
    """The cases of one op."""
    return importlib.import_module(f"{__name__}.{op}").CASES


def outputs(op: str, result: Any) -> tuple[np.ndarray, ...]:
    """What a call of an op gave, as its line has it: without what a layer keeps."""
    found = result if isinstance(result, tuple) else (result,)
    return found[: len(lines()[op].outputs)]


def exact(cases: list[Case], *matrices: str) -> list[Case]:
    """The same calls in int8 mode: `matrices` quantised, and no tolerance.

    matrices: the names of weights that the int8 op takes as int8, each followed by `<name>_scale`.
    """
    return [replace(case, arguments=partial(_quantized, case.arguments, matrices), tolerance=0.0,
                    reason=BIT_EXACT) for case in cases]


def _quantized(make: Callable[[], dict], matrices: tuple[str, ...]) -> dict[str, Any]:
    arguments = {}
    for name, value in make().items():
        arguments[name] = value
        if name in matrices:
            arguments[name], arguments[f"{name}_scale"] = quantized(value)
    return arguments
