"""Goldens of the front end: real torchaudio Spectrogram + MelScale on short deterministic clips.

Double precision, window and filters included, rounded to float32 once, as in gen_ops.py: float32
FFTs and filters round differently from one instruction set to another, and the logarithm of a small
energy magnifies that. Needs torch and torchaudio. `generate()` is collected by tests/golden/make.py into features.npz.
"""

from __future__ import annotations

import numpy as np
import torch
import torchaudio

# name: (n_fft, win_length, hop_length, mels, sample_rate)
FRONTENDS = {
    "mel": (1024, 320, 160, 80, 16000),
    "logmel": (512, 400, 160, 80, 16000),
    "odd": (400, 399, 100, 40, 11025),
}
LENGTHS = (1, 2, 159, 160, 161, 256, 257, 512, 513, 514, 1600, 6000)
FULL_LENGTH = 6000
LOG_FLOOR = 1e-6
MELS_FULL = 80


def _clip() -> np.ndarray:
    """A chirp through all frequencies that swells and fades, with a click and noise, as int16."""
    rng = np.random.default_rng(20230918)
    t = np.arange(FULL_LENGTH) / 16000
    chirp = np.sin(2 * np.pi * (60 * t + 10000 * t**2)) * np.exp(-((t - 0.15) ** 2) / 0.01)
    noise = rng.standard_normal(FULL_LENGTH) * np.where(t > 0.3, 3e-4, 1e-2)
    clip = 0.6 * chirp + noise
    clip[1000] = 0.9
    return np.round(np.clip(clip, -1, 1) * 32767).astype(np.int16)


def _features(samples: np.ndarray, frontend: str) -> np.ndarray:
    """(T, mels) float64 energies.

    torch.stft reflects only clips longer than n_fft // 2: shorter ones are extended with zeros, and
    the frames of the clip itself are kept.
    """
    n_fft, win_length, hop_length, mels, rate = FRONTENDS[frontend]
    frames = 1 + len(samples) // hop_length
    short = max(0, n_fft // 2 + 1 - len(samples))
    waveform = torch.from_numpy(np.pad(samples, (0, short)))[None]
    spectrogram = torchaudio.transforms.Spectrogram(
        n_fft=n_fft, win_length=win_length, hop_length=hop_length
    )
    mel_scale = torchaudio.transforms.MelScale(n_mels=mels, sample_rate=rate, n_stft=n_fft // 2 + 1)
    return mel_scale(spectrogram(waveform))[0].T.numpy()[:frames]


def generate() -> dict[str, np.ndarray]:
    """clip (6000,) int16; mel.N, logmel.N, odd.N: features (T, mels) of clip[:N] / 32768;
    logmel.mean, logmel.scale: the normalisation in logmel.N."""
    clip = _clip()
    samples = clip / 32768
    rng = np.random.default_rng(7)
    mean = rng.normal(-5, 2, MELS_FULL).astype(np.float32)
    scale = rng.uniform(0.2, 0.6, MELS_FULL).astype(np.float32)
    arrays = {"clip": clip, "logmel.mean": mean, "logmel.scale": scale}
    single = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of the window and the filters
    try:
        arrays |= _all_features(samples, mean, scale)
    finally:
        torch.set_default_dtype(single)
    return arrays


def _all_features(
    samples: np.ndarray, mean: np.ndarray, scale: np.ndarray
) -> dict[str, np.ndarray]:
    arrays = {}
    for frontend in FRONTENDS:
        for length in LENGTHS:
            features = _features(samples[:length], frontend)
            if frontend == "logmel":
                features = (np.log(features + LOG_FLOOR) - mean) * scale
            arrays[f"{frontend}.{length}"] = np.ascontiguousarray(features, np.float32)
    return arrays
