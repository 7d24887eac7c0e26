"""The float32 arithmetic of int8 mode, operation by operation as docs/numerics.md writes it.

Arrays of one or more axes go in and out as float32. Constants are float32 and never Python floats,
which some versions of NumPy would widen a result to float64 for; those of formulas are arrays
without axes, which NumPy takes more quickly than scalars.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def constant(hexadecimal: str) -> np.ndarray:
    """A float32 from a C99 hexadecimal float, as an array without axes."""
    value = np.array(float.fromhex(hexadecimal), np.float32)
    value.setflags(write=False)
    return value


ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TOP = np.float32(127 * 128)
"""The largest integer that two digits of int8 hold: 128 high + low."""

_SMALLEST = np.float32(2.0**-50)

_LANES = 8
_ROUNDER = constant("0x1.8p+23")
_EXACT_COLUMNS = 1024
_LOG2_E = constant("0x1.715476p+0")
_LN2_HIGH, _LN2_LOW = constant("0x1.63p-1"), constant("-0x1.bd0106p-13")
_EXP_LOW, _EXP_HIGH = constant("-0x57"), constant("0x58")
_EXP = tuple(map(constant, (
    "0x1.a0d2cep-13", "0x1.6e879cp-10", "0x1.11121p-7", "0x1.555382p-5", "0x1.555554p-3", "0x1p-1",
)))
_LOG = tuple(map(constant, (
    "0x1.204376p-4", "-0x1.d7a37p-4", "0x1.de4a34p-4", "-0x1.fcba9ep-4", "0x1.23d37ep-3",
    "-0x1.555cap-3", "0x1.999d58p-3", "-0x1.fffff8p-3", "0x1.555554p-2",
)))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)


def round_even(x: np.ndarray) -> np.ndarray:
    """The nearest integer, ties to even; |x| <= 2**22. Zeros are +0."""
    return (x + _ROUNDER) - _ROUNDER


def row_sum(x: np.ndarray) -> np.ndarray:
    """SUM over the last axis: value i goes to lane i mod 8, then lanes 4, 2 and 1 apart are added.

    (..., n) -> (...)
    """
    lanes = np.zeros((*x.shape[:-1], _LANES), np.float32)
    for i in range(0, x.shape[-1], _LANES):
        group = x[..., i : i + _LANES]
        lanes[..., : group.shape[-1]] += group
    for apart in (4, 2, 1):
        lanes = lanes[..., :apart] + lanes[..., apart : 2 * apart]
    return lanes[..., 0]


def row_max(x: np.ndarray) -> np.ndarray:
    """MAX over the last axis, zeros made +0. (..., n) -> (..., 1)"""
    return x.max(axis=-1, keepdims=True) + ZERO


def exp(x: np.ndarray) -> np.ndarray:
    """e to the x, with x clamped to [-87, 88]; relative error below 8.2e-8."""
    x = np.minimum(np.maximum(x, _EXP_LOW), _EXP_HIGH)
    n = round_even(x * _LOG2_E)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    y = (horner(_EXP, r) * (r * r) + r) + ONE
    return y * ((n.astype(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive, normal x; relative error below 8.2e-8."""
    bits = x.view(np.int32) - _SQRT_HALF_BITS
    e = (bits >> np.int32(23)).astype(np.float32)
    m = ((bits & np.int32(0x7FFFFF)) + _SQRT_HALF_BITS).view(np.float32) - ONE
    z = m * m
    y = (horner(_LOG, m) * m) * z
    y = y + e * _LN2_LOW
    y = y - HALF * z
    return (m + y) + e * _LN2_HIGH


def horner(coefficients: tuple[np.ndarray, ...], x: np.ndarray) -> np.ndarray:
    """The polynomial with these coefficients, that of the highest power first."""
    y: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        y = y * x + coefficient
    return y


def flush(x: np.ndarray) -> np.ndarray:
    """FLUSH: x, or +0 where its magnitude is below 2**-50, so that no product is subnormal."""
    return np.where(np.abs(x) < _SMALLEST, ZERO, x)


def integer_product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Dot products of the last axes, in int32. (..., T, n), (..., outs, n) int8 -> (..., T, outs)

    Float32 matrix products of 1024 columns at a time, which are exact in whatever order and with or
    without fusing: every partial sum is an integer of at most 1024 * 127 * 127 < 2**24.
    """
    total = np.zeros((*x.shape[:-1], weight.shape[-2]), np.int32)
    for i in range(0, x.shape[-1], _EXACT_COLUMNS):
        a, b = x[..., i : i + _EXACT_COLUMNS], weight[..., i : i + _EXACT_COLUMNS]
        part = a.astype(np.float32) @ np.swapaxes(b, -1, -2).astype(np.float32)
        total += part.astype(np.int32)
    return total


def digits_product(high: np.ndarray, low: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Dot products of rows of two digits, 128 high + low, each digit's exact and rounded once.

    (..., T, n) twice, (..., outs, n) int8 -> (..., T, outs) float32
    """
    high, low = (integer_product(digit, weight).astype(np.float32) for digit in (high, low))
    return high * np.float32(128) + low
