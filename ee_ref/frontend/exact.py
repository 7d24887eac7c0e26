"""Mel features operation by operation, as docs/numerics.md writes them: the bytes that C computes.

`plain` is the definition of the features; here is the one order of float32 operations that all
targets share. Arrays have one column a frame, and a block of frames goes through each step at once.
"""

from __future__ import annotations

import numpy as np

from ..config import Config
from ..ops._exact import log
from ._shared import check_energies, checked_samples, framed, normalise
from .tables import LEAST_FLOOR, FrontendTables, frontend_tables

# Frames transformed at a time: their spectra stay in the cache.
_BLOCK_FRAMES = 64

_QUARTER = np.float32(0.25)
_TO_GRID = np.float32(0.0234375)


def extract(
    samples: np.ndarray, config: Config, mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """(T, mels) float32 of samples (N,): floats, or int16, which stand for samples / 32768.

    mean, scale: (mels,), used by "logmel" only; None stands for zeros and ones.
    Raises ArgumentError as `frontend_tables` does, AudioError and ShapeError as `plain.extract`.
    """
    if isinstance(samples, np.ndarray) and samples.dtype == np.int16:
        samples = samples.astype(np.float32) * np.float32(1 / 32768)
    samples = checked_samples(samples)
    tables = frontend_tables(config)
    if not len(samples):
        return np.zeros((0, config.mels), np.float32)
    frames = framed(samples, config)
    floor = np.float32(config.log_floor) if config.frontend == "logmel" else LEAST_FLOOR
    features = np.empty((len(frames), config.mels), np.float32)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        for start in range(0, len(frames), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            spectrum = _transform(_windowed(frames[block], config, tables), tables)
            features[block] = _mel(_power(spectrum, tables), tables, floor).T
    check_energies(features, samples)
    if config.frontend == "mel":
        return features - floor
    with np.errstate(under="ignore"):
        return normalise(log(features), config, mean, scale)


def _windowed(frames: np.ndarray, config: Config, tables: FrontendTables) -> np.ndarray:
    """v: (n_fft, B) of frames (B, win_length), rounded to multiples of 2^-30."""
    v = np.zeros((config.n_fft, len(frames)), np.float32)
    v[: config.win_length] = (frames.T * tables.window[:, None] + _TO_GRID) - _TO_GRID
    return v


def _transform(v: np.ndarray, tables: FrontendTables) -> np.ndarray:
    """The FFT of z[m] = v[2m] + i v[2m+1]. (H, B) complex64"""
    z = _complex(v[::2], v[1::2])
    n = len(z)
    while n >= 4:
        a, b, c, d = z.reshape(4, n // 4, -1)
        e, f, g, h = a + c, a - c, b + d, _complex(b.imag - d.imag, d.real - b.real)
        z = np.stack([e + g, f + h, e - g, f - h], axis=1)
        i = np.outer(np.arange(1, n // 4), np.arange(1, 4)) * (len(v) // n)
        z[1:, 1:] = _turned(z[1:, 1:], i, tables)
        n //= 4
    if n == 2:
        a, b = z.reshape(2, -1)
        z = np.stack([a + b, a - b])
    return z.reshape(len(v) // 2, -1)


def _power(z: np.ndarray, tables: FrontendTables) -> np.ndarray:
    """Power of the bins 0..H of the real signal. (H + 1, B)"""
    half = len(z)
    power = np.empty((half + 1, z.shape[1]), np.float32)
    power[0], power[half] = np.square(z[0].real + z[0].imag), np.square(z[0].real - z[0].imag)
    k = np.arange(1, half // 2 + 1)
    a, b = z[k], z[half - k].conj()
    u = _turned(a - b, k, tables)
    e, t = a + b, _complex(u.imag, -u.real)
    for bins, x in (half - k, e - t), (k, e + t):
        power[bins] = (np.square(x.real) + np.square(x.imag)) * _QUARTER
    return power


def _turned(z: np.ndarray, i: np.ndarray, tables: FrontendTables) -> np.ndarray:
    """z (..., B) turned by -2 pi i/n_fft, i (...)."""
    c, s = tables.sines[i + len(tables.sines) // 4, None], tables.sines[i, None]
    return _complex(c * z.real + s * z.imag, c * z.imag - s * z.real)


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """complex64 of two parts. NumPy adds such numbers part by part, as the page does; a product of
    them has no order that it promises."""
    z = np.empty(real.shape, np.complex64)
    z.real, z.imag = real, imaginary
    return z


def _mel(power: np.ndarray, tables: FrontendTables, floor: np.float32) -> np.ndarray:
    """floor + energies, (mels, B): the bins of a filter are added one after another, of all filters
    at once."""
    first, count = (table.astype(np.intp) for table in (tables.mel_first, tables.mel_count))
    start = np.cumsum(count) - count
    energies = np.full((len(count), power.shape[1]), floor)
    for j in range(count.max()):
        mels = np.flatnonzero(count > j)
        energies[mels] += power[first[mels] + j] * tables.mel_weights[start[mels] + j, None]
    return energies
