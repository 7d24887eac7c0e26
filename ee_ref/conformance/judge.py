"""The host judges: how far what a port computed is from what the suite expects.

Three measures (docs/conformance.md): bytes that are equal, units in the last place of a row's
largest value, and a signal-to-noise ratio in dB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import shown
from ..quantize import signal_to_noise

EXACT, ULP, DB = "exact", "ulp", "db"
KINDS = (EXACT, ULP, DB)
TEXTS = ("text", "status")
"""Tensors that are texts: int8 vectors of UTF-8."""
ULPS = 2.0**23
"""Units in the last place of a row: 2**-23 of the largest magnitude expected in it."""


@dataclass(frozen=True)
class Bound:
    """How far a tensor may be away.

    kind: "exact" (limit 0), "ulp" (at most `limit` units of the row) or "db" (at least `limit`).
    reason: why it is not tighter.
    """

    kind: str
    limit: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """What is wrong with one tensor, in words, and by numbers where both can be compared.

    index: the first value beyond the bound. ulp, db: of the whole tensor.
    """

    tensor: str
    message: str
    index: tuple[int, ...] | None = None
    expected: str | None = None
    found: str | None = None
    ulp: float | None = None
    db: float | None = None


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, each row's as a fraction of the largest magnitude expected in that row.

    Infinities must be equal; where they are not, or a NaN turns up, or a row that should be all
    zeros is not, the error is infinite.
    """
    return float(_errors(actual, expected).max(initial=0))


def _errors(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    exact = expected.astype(np.float64)
    finite = np.abs(np.where(np.isfinite(exact), exact, 0))
    scale = finite.max(axis=-1, keepdims=True, initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(actual == expected, 0, np.abs(actual - exact) / scale)
    return np.nan_to_num(relative, nan=np.inf, posinf=np.inf)


def judge(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], bounds: Mapping[str, Bound]
) -> list[Difference]:
    """What is wrong with the tensors of a result: nothing when the list is empty.

    Names, dtypes and shapes must be those expected; then the bound of each tensor decides.
    """
    differences = [Difference(name, "missing from the result")
                   for name in expected if name not in found]
    differences += [Difference(name, "not expected") for name in found if name not in expected]
    for name, wanted in expected.items():
        if name in found:
            difference = compare(name, found[name], wanted, bounds[name])
            differences += [difference] if difference else []
    return differences


def compare(
    name: str, found: np.ndarray, expected: np.ndarray, bound: Bound
) -> Difference | None:
    """What is wrong with one tensor, or None."""
    if name in TEXTS and _is_text(found) and _is_text(expected):
        return _compare_texts(name, found.tobytes(), expected.tobytes())
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return Difference(
            name, f"expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}")
    ulp, db = distances(found, expected)
    if bound.kind == EXACT:
        wrong = _bits(found) != _bits(expected)
        text = "values differ by their bytes"
    elif bound.kind == ULP:
        wrong = _errors(found, expected) * ULPS > bound.limit
        text = f"values are beyond {bound.limit:g} ULP of their row: {ulp:.3g}"
    else:
        too_noisy = not db >= bound.limit
        wrong = too_noisy & (_bits(found) != _bits(expected))
        text = f"values make the signal-to-noise ratio {db:.1f} dB, below {bound.limit:g} dB"
    if not wrong.any():
        return None
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return Difference(
        name, f"{int(wrong.sum())} of {wrong.size} {text}", index, _text(expected[index]),
        _text(found[index]), ulp, db)


def _is_text(array: np.ndarray) -> bool:
    return array.dtype == np.int8 and array.ndim == 1


def _compare_texts(name: str, found: bytes, expected: bytes) -> Difference | None:
    if found == expected:
        return None
    wanted, said = (text.decode("utf-8", "backslashreplace") for text in (expected, found))
    return Difference(name, f"expected '{shown(wanted)}', found '{shown(said)}'")


def distances(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(largest error in ULP of the row, signal-to-noise ratio in dB) of arrays of one shape."""
    ulp = error(found, expected) * ULPS
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return ulp, -math.inf
    if not math.isfinite(ulp) and not np.array_equal(found[~finite], expected[~finite]):
        return ulp, -math.inf
    with np.errstate(over="ignore"):
        return ulp, signal_to_noise(
            expected[finite].astype(np.float64), found[finite].astype(np.float64))


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def _text(value: np.generic) -> str:
    if value.dtype.kind == "f":
        return f"{float(value)!r} ({float(value).hex()})"
    return str(int(value))
