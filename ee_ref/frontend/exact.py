"""Mel features operation by operation, as docs/numerics.md writes them: the bytes that C computes.

`plain` is the definition of the features; here is the one order of float32 operations that all
targets share. Arrays have one column a frame, and a block of frames goes through each step at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..config import Config
from ..ops._exact import log
from ._checks import check_energies, checked_samples, normalise
from .tables import FrontendTables, frontend_tables

# Frames transformed at a time: their spectra stay in the cache.
_BLOCK_FRAMES = 64

_QUARTER = np.float32(0.25)


class ExactFrontEnd:
    """See `ee_ref.frontend.FrontEnd`. Raises ArgumentError as `frontend_tables` does."""

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]):
        frontend_tables(config)
        self.config = config
        self._mean, self._scale = tensors.get("frontend.mean"), tensors.get("frontend.scale")

    def features(self, samples: np.ndarray) -> np.ndarray:
        """See `FrontEnd.features`."""
        return _features(checked_samples(samples), self.config, self._mean, self._scale)


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
    return _features(checked_samples(samples), config, mean, scale)


def _features(
    samples: np.ndarray, config: Config, mean: np.ndarray | None, scale: np.ndarray | None
) -> np.ndarray:
    tables = frontend_tables(config)
    if not len(samples):
        return np.zeros((0, config.mels), np.float32)
    framed = _framed(samples, config)
    features = np.empty((len(framed), config.mels), np.float32)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        for start in range(0, len(framed), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            spectrum = _transform(_windowed(framed[block], config, tables), tables)
            features[block] = _mel(_power(spectrum, tables), tables).T
        if config.frontend == "logmel":
            features += np.float32(config.log_floor)
    check_energies(features, samples)
    if config.frontend == "mel":
        return features
    with np.errstate(under="ignore"):
        return normalise(log(features), config, mean, scale)


def _framed(samples: np.ndarray, config: Config) -> np.ndarray:
    """(T, win_length), the frames of the reflected signal; a view."""
    frames = 1 + (len(samples) + 2 * config.pad) // config.hop_length
    signal = np.pad(samples, config.pad)
    signal = np.pad(signal, (0, max(0, config.n_fft // 2 + 1 - len(signal))))
    before = config.n_fft // 2 - (config.n_fft - config.win_length) // 2
    signal = np.pad(signal, (before, config.win_length - before), mode="reflect")
    framed = np.lib.stride_tricks.sliding_window_view(signal, config.win_length)
    return framed[:: config.hop_length][:frames]


def _windowed(framed: np.ndarray, config: Config, tables: FrontendTables) -> np.ndarray:
    """v: (n_fft, B) of frames (B, win_length)."""
    v = np.zeros((config.n_fft, len(framed)), np.float32)
    np.multiply(framed.T, tables.window[:, None], out=v[: config.win_length])
    return v


def _angle(tables: FrontendTables, i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of 2 pi i/n_fft, i <= n_fft/2, as columns, from the first quarter of the
    sine."""
    quarter = len(tables.sines) - 1
    cosine = np.where(i <= quarter, tables.sines[np.abs(quarter - i)],
                      -tables.sines[np.abs(i - quarter)])
    sine = tables.sines[np.where(i <= quarter, i, 2 * quarter - i)]
    return cosine[:, None], sine[:, None]


def _transform(v: np.ndarray, tables: FrontendTables) -> tuple[np.ndarray, np.ndarray]:
    """The FFT of z[n] = v[2n] + i v[2n+1]: real and imaginary parts, (H, B) each."""
    half = len(v) // 2
    bits = half.bit_length() - 1
    order = [int(f"{n:0{bits}b}"[::-1], 2) for n in range(half)]
    real, imaginary = (np.ascontiguousarray(part[order]) for part in (v[::2], v[1::2]))
    size = 2
    while size <= half:
        c, s = _angle(tables, np.arange(size // 2) * (2 * half // size))
        shape = (half // size, 2, size // 2, v.shape[1])
        (ar, br), (ai, bi) = (part.reshape(shape).swapaxes(0, 1) for part in (real, imaginary))
        tr, ti = c * br + s * bi, c * bi - s * br
        np.subtract(ar, tr, out=br)
        np.subtract(ai, ti, out=bi)
        ar += tr
        ai += ti
        size *= 2
    return real, imaginary


def _power(z: tuple[np.ndarray, np.ndarray], tables: FrontendTables) -> np.ndarray:
    """Power of the bins 0..H of the real signal. (H + 1, B)"""
    real, imaginary = z
    half = len(real)
    power = np.empty((half + 1, real.shape[1]), np.float32)
    k = np.arange(1, half // 2 + 1)
    c, s = _angle(tables, k)
    ar, ai, br, bi = real[k], imaginary[k], real[half - k], imaginary[half - k]
    er, ei, dr, di = ar + br, ai - bi, ar - br, ai + bi
    tr, ti = c * di - s * dr, c * dr + s * di
    power[half - k] = ((er - tr) * (er - tr) + (ei + ti) * (ei + ti)) * _QUARTER
    power[k] = ((er + tr) * (er + tr) + (ei - ti) * (ei - ti)) * _QUARTER
    total, difference = real[0] + imaginary[0], real[0] - imaginary[0]
    power[0], power[half] = total * total, difference * difference
    return power


def _mel(power: np.ndarray, tables: FrontendTables) -> np.ndarray:
    """Energies (mels, B): the bins of a filter are added one after another, of all filters at
    once."""
    first, count = (table.astype(np.intp) for table in (tables.mel_first, tables.mel_count))
    start = np.cumsum(count) - count
    energies = np.zeros((len(count), power.shape[1]), np.float32)
    for j in range(count.max()):
        mels = np.flatnonzero(count > j)
        energies[mels] += power[first[mels] + j] * tables.mel_weights[start[mels] + j, None]
    return energies
