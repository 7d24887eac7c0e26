"""Checks that several modules share, each with one wording."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from .errors import ArgumentError, AudioError


def check_finite(
    samples: np.ndarray, name: str, rate: int | None = None, before: int = 0
) -> None:
    """Raise AudioError for NaN or infinity among samples (N,), saying where the first one is.

    name: what to call them in the message; rate: in Hz, where it is known; before: how many came
    before these.
    """
    bad = ~np.isfinite(samples)
    if bad.any():
        first = before + int(bad.argmax())
        at = f"sample {first}" if rate is None else f"{first / rate:.3f} s"
        raise AudioError(f"{name}: expected finite samples, found {int(bad.sum())} NaN or infinite "
                         f"ones of {len(samples)}, the first at {at}")


def check_count(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ArgumentError unless `value` is an integer in low..high."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        expected = f"at least {low}" if high is None else f"in {low}..{high}"
        raise ArgumentError(f"{name}: expected an integer {expected}, found {value!r}")


def check_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> None:
    """Raise ArgumentError unless `value` is a finite number in low..high."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        expected = ("a finite number" if low == -math.inf else
                    f"a finite number >= {low:g}" if high == math.inf else
                    f"a number in [{low:g}, {high:g}]")
        raise ArgumentError(f"{name}: expected {expected}, found {value!r}")
