"""Mono samples to mel energies, as torchaudio's Spectrogram and MelScale define them.

This is the definition in plain float arithmetic: NumPy's FFT and a matrix product, whose last bits
differ from machine to machine. Two kinds, chosen by `config.frontend`:

- "mel" (the published models, paper section 2): power mel energies, no logarithm, no normalisation;
- "logmel": log(energy + config.log_floor), then (y - mean) * scale with one mean and scale a mel.

Both: frames of `win_length` samples every `hop_length`, centred at t * hop_length with reflected
edges, a periodic Hann window, a power spectrum of `n_fft` points, triangular HTK mel filters from 0
to half the sample rate without area normalisation.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..config import Config
from ._shared import check_energies, checked_samples, framed, normalise

# Frames transformed at a time: bounds the memory of the spectra, and they stay in the cache.
_BLOCK_FRAMES = 256


def extract(
    samples: np.ndarray,
    config: Config,
    mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """Mel features (T, mels) float32 of `samples` (N,), floats at `config.sample_rate`.

    T = 1 + (N + 2 * config.pad) // config.hop_length, and 0 for N = 0. Row t is centred on sample
    t * hop_length - pad of the audio given.

    The edges are reflected by n_fft // 2 samples as torch.stft does, which needs more than
    n_fft // 2 of them: shorter audio is first extended with zeros to n_fft // 2 + 1 samples (T does
    not change).

    mean, scale: (mels,), used by "logmel" only; None stands for zeros and ones.

    Raises AudioError for samples that are not a one-dimensional array of finite floats, or so large
    that their power overflows float32; ShapeError for a mean or scale that is not (mels,).
    """
    samples = checked_samples(samples)
    if len(samples) == 0:
        return np.zeros((0, config.mels), np.float32)
    energies = _mel_energies(samples, config)
    check_energies(energies, samples)
    if config.frontend == "mel":
        return energies
    return normalise(np.log(energies + np.float32(config.log_floor)), config, mean, scale)


def _mel_energies(samples: np.ndarray, config: Config) -> np.ndarray:
    """Power mel energies (T, mels) of samples (N,), N >= 1."""
    frames = framed(samples, config)
    window = _hann(config.win_length)
    bank = _mel_bank(config.n_fft, config.mels, config.sample_rate)
    energies = np.empty((len(frames), config.mels), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is found and named by the caller
        for start in range(0, len(frames), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            spectrum = np.fft.rfft(frames[block] * window, config.n_fft)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            energies[block] = power.astype(np.float32, copy=False) @ bank
    return energies


@lru_cache(maxsize=8)
def _hann(length: int) -> np.ndarray:
    """Periodic Hann window (length,): 0.5 - 0.5 cos(2 pi n / length)."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    window = window.astype(np.float32)
    window.flags.writeable = False
    return window


@lru_cache(maxsize=8)
def _mel_bank(n_fft: int, mels: int, sample_rate: int) -> np.ndarray:
    """Triangular filters (n_fft // 2 + 1, mels), as torchaudio's melscale_fbanks (HTK, norm None).

    mel(f) = 2595 log10(1 + f / 700); mels + 2 points equally spaced in mel from 0 to half the rate.
    """
    top = sample_rate // 2
    bins = np.linspace(0, top, n_fft // 2 + 1)
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + top / 700), mels + 2) / 2595) - 1)
    offsets = points - bins[:, None]  # (bins, mels + 2)
    widths = np.diff(points)
    rising = -offsets[:, :-2] / widths[:-1]
    falling = offsets[:, 2:] / widths[1:]
    bank = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    bank.flags.writeable = False
    return bank
