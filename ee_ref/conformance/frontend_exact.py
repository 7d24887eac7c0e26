"""The front end of docs/numerics.md operation by operation, in NumPy: the bytes that C computes.

`ee_ref.features` is the definition of the features; here is the one order of float32 operations
that all targets share.
"""

from __future__ import annotations

import numpy as np

from ..config import Config
from ..frontend_tables import FrontendTables, frontend_tables
from ..ops._exact import log

_QUARTER = np.float32(0.25)


def features_exact(
    samples: np.ndarray, config: Config, mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """(T, mels) float32 of samples (N,), int16 or float32. Raises ArgumentError as
    `frontend_tables` does."""
    tables = frontend_tables(config)
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) * np.float32(1 / 32768)
    if not len(samples):
        return np.zeros((0, config.mels), np.float32)
    power = _power(_transform(_framed(samples, config, tables), tables), tables)
    with np.errstate(under="ignore"):
        energies = _mel(power, tables)
        if config.frontend == "mel":
            return energies
        features = log(energies + np.float32(config.log_floor))
        features = features if mean is None else features - mean
        return features if scale is None else features * scale


def _framed(samples: np.ndarray, config: Config, tables: FrontendTables) -> np.ndarray:
    """v: (T, n_fft), windowed frames of the reflected signal."""
    frames = 1 + (len(samples) + 2 * config.pad) // config.hop_length
    signal = np.pad(samples, config.pad)
    signal = np.pad(signal, (0, max(0, config.n_fft // 2 + 1 - len(signal))))
    before = config.n_fft // 2 - (config.n_fft - config.win_length) // 2
    at = np.arange(frames)[:, None] * config.hop_length + np.arange(config.win_length) - before
    at = np.abs(at)
    at = np.where(at >= len(signal), 2 * (len(signal) - 1) - at, at)
    with np.errstate(under="ignore"):
        windowed = signal[at] * tables.window
    return np.pad(windowed, ((0, 0), (0, config.n_fft - config.win_length)))


def _angle(tables: FrontendTables, i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of 2 pi i/n_fft, i <= n_fft/2, from the first quarter of the sine."""
    quarter = len(tables.sines) - 1
    cosine = np.where(i <= quarter, tables.sines[np.abs(quarter - i)],
                      -tables.sines[np.abs(i - quarter)])
    sine = tables.sines[np.where(i <= quarter, i, 2 * quarter - i)]
    return cosine, sine


def _transform(v: np.ndarray, tables: FrontendTables) -> tuple[np.ndarray, np.ndarray]:
    """The FFT of z[n] = v[2n] + i v[2n+1]: real and imaginary parts, (T, H) each."""
    half = v.shape[1] // 2
    bits = half.bit_length() - 1
    order = [int(f"{n:0{bits}b}"[::-1], 2) if bits else 0 for n in range(half)]
    real, imaginary = v[:, ::2][:, order], v[:, 1::2][:, order]
    size = 2
    with np.errstate(under="ignore"):
        while size <= half:
            c, s = _angle(tables, np.arange(size // 2) * (2 * half // size))
            shape = (len(v), half // size, 2, size // 2)
            (ar, br), (ai, bi) = (np.moveaxis(part.reshape(shape), 2, 0)
                                  for part in (real, imaginary))
            tr, ti = c * br + s * bi, c * bi - s * br
            real = np.stack([ar + tr, ar - tr], axis=2).reshape(len(v), half)
            imaginary = np.stack([ai + ti, ai - ti], axis=2).reshape(len(v), half)
            size *= 2
    return real, imaginary


def _power(z: tuple[np.ndarray, np.ndarray], tables: FrontendTables) -> np.ndarray:
    """Power of the bins 0..H of the real signal. (T, H + 1)"""
    real, imaginary = z
    half = real.shape[1]
    power = np.empty((len(real), half + 1), np.float32)
    k = np.arange(1, half // 2 + 1)
    c, s = _angle(tables, k)
    ar, ai, br, bi = real[:, k], imaginary[:, k], real[:, half - k], imaginary[:, half - k]
    with np.errstate(under="ignore"):
        er, ei, dr, di = ar + br, ai - bi, ar - br, ai + bi
        tr, ti = c * di - s * dr, c * dr + s * di
        power[:, half - k] = ((er - tr) * (er - tr) + (ei + ti) * (ei + ti)) * _QUARTER
        power[:, k] = ((er + tr) * (er + tr) + (ei - ti) * (ei - ti)) * _QUARTER
        total, difference = real[:, 0] + imaginary[:, 0], real[:, 0] - imaginary[:, 0]
        power[:, 0], power[:, half] = total * total, difference * difference
    return power


def _mel(power: np.ndarray, tables: FrontendTables) -> np.ndarray:
    """Energies (T, mels), the bins of a filter added one after another."""
    energies = np.zeros((len(power), len(tables.mel_first)), np.float32)
    weights = iter(tables.mel_weights)
    for mel, (first, count) in enumerate(zip(tables.mel_first, tables.mel_count)):
        for k in range(int(first), int(first) + int(count)):
            energies[:, mel] += power[:, k] * next(weights)
    return energies
