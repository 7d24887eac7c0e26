"""Constant tables of the exact front end: window, sines, mel filters (docs/numerics.md).

The same numbers as in `plain`, but computed in decimal arithmetic, whose digits, unlike those of a
C library's cosine, do not depend on the machine: a table made on a PC and one in a flash image are
the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from itertools import accumulate, repeat
from operator import mul
from typing import NamedTuple

import numpy as np

from ..config import MAX_SIZE, Config
from ..errors import ArgumentError

_ARITHMETIC = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=[])
# Energies are summed from here on, so that what is subnormal cannot count.
LEAST_FLOOR = np.float32(2.0**-70)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510")


class FrontendTables(NamedTuple):
    """Tables of one front end, read-only arrays.

    window: (win_length,) float32, periodic Hann. sines: (n_fft,) float32, sin(2 pi i/n_fft) rounded
    to a multiple of 2^-24. mel_first, mel_count: (mels,) uint16, the first bin and the number of
    bins of each filter; mel_weights: float32, the weights of those bins, one filter after another.
    """

    window: np.ndarray
    sines: np.ndarray
    mel_first: np.ndarray
    mel_count: np.ndarray
    mel_weights: np.ndarray


def unsupported(config: Config) -> str:
    """Why the exact front end, in NumPy and C, cannot compute the features; "" where it can.

    Its FFT wants a power of two, its logarithm a floor that is no less than LEAST_FLOOR.
    """
    if config.takes_samples:
        return ""
    if not 4 <= config.n_fft <= MAX_SIZE or config.n_fft & (config.n_fft - 1):
        return f"n_fft: expected a power of two in 4..{MAX_SIZE}, found {config.n_fft}"
    with np.errstate(over="ignore", under="ignore"):
        log_floor = np.float32(config.log_floor)
    if config.has_floor and not LEAST_FLOOR <= log_floor < np.inf:
        return (f"log_floor: expected a float32 of at least {LEAST_FLOOR:.8g} (2^-70), "
                f"found {config.log_floor}")
    return ""


def frontend_tables(config: Config) -> FrontendTables:
    """The tables of a model's front end. Raises ArgumentError with what `unsupported` says."""
    if reason := unsupported(config):
        raise ArgumentError(reason)
    return _tables(config.n_fft, config.win_length, config.mels, config.sample_rate)


@lru_cache(maxsize=8)
def _tables(n_fft: int, win_length: int, mels: int, sample_rate: int) -> FrontendTables:
    with localcontext(_ARITHMETIC):
        # 0.5 - 0.5 cos(2 pi n/length) = sin(pi n/length)^2, the same at n and length - n
        rise = [sine * sine for sine in _sines(win_length // 2 + 1, 2 * win_length)]
        window = [rise[min(n, win_length - n)] for n in range(win_length)]
        rising = [round(sine * 2**24) / Decimal(2**24) for sine in _sines(n_fft // 4 + 1, n_fft)]
        half = rising + rising[-2:0:-1]
        sines = half + [-sine for sine in half]
        filters = _mel_filters(n_fft, mels, sample_rate)
    first, weights = zip(*filters)
    return FrontendTables(
        _constant(window, np.float32), _constant(sines, np.float32),
        _constant(first, np.uint16), _constant([len(row) for row in weights], np.uint16),
        _constant([weight for row in weights for weight in row], np.float32),
    )


def _constant(values, dtype) -> np.ndarray:
    array = np.array([float(value) for value in values]).astype(dtype)
    array.flags.writeable = False
    return array


def _sines(count: int, of: int) -> list[Decimal]:
    """sin(2 pi i/of) for i = 0..count-1, each from the one before by the sum of two angles.

    The series gives the first angle; a step adds an error of about 1e-40.
    """
    x = 2 * _PI / of
    terms = [Decimal(1), x]
    while abs(terms[-1]) > Decimal("1e-40"):
        terms.append(-terms[-2] * x * x / (len(terms) * (len(terms) - 1)))
    cosine, sine = sum(terms[::2]), sum(terms[1::2])
    sines, c, s = [], Decimal(1), Decimal(0)
    for _ in range(count):
        sines.append(s)
        c, s = c * cosine - s * sine, s * cosine + c * sine
    return sines


def _mel_filters(n_fft: int, mels: int, sample_rate: int) -> list[tuple[int, list[Decimal]]]:
    """(first bin, weights) of each triangle of `plain._mel_bank`, without its zeros."""
    top = sample_rate // 2
    # 700 (10^(mel/2595) - 1) at mel = 2595 log10(1 + top/700) k/(mels + 1): powers of one number
    ratio = ((1 + Decimal(top) / 700).ln() / (mels + 1)).exp()
    powers = accumulate(repeat(ratio, mels), mul, initial=Decimal(1))
    points = [*(700 * (power - 1) for power in powers), Decimal(top)]
    bins = [Decimal(top) * k / (n_fft // 2) for k in range(n_fft // 2 + 1)]
    filters = []
    for low, centre, high in zip(points, points[1:], points[2:]):
        inside = range(bisect_right(bins, low), bisect_left(bins, high))
        weights = [min((bins[k] - low) / (centre - low), (high - bins[k]) / (high - centre))
                   for k in inside]
        filters.append((inside[0] if inside else 0, weights))
    return filters
