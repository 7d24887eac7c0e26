"""Changes of mel energies that stand for other speakers, rooms, microphones and noises.

`warp` takes and returns log energies; everything else works on energies (power), where sounds add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter

from ee_ref.frontend import plain
from recipe import FRAMES_PER_SECOND, MODEL, PAD_FRAMES, Augment

LOG_FLOOR = np.float32(np.log(MODEL.log_floor))
_MEL_TOP = 2595.0 * np.log10(1.0 + MODEL.sample_rate / 2 / 700.0)
_MELS = _MEL_TOP * np.arange(1, MODEL.mels + 1) / (MODEL.mels + 1)
_CENTRES = 700.0 * (10.0 ** (_MELS / 2595.0) - 1.0)  # Hz
_AXIS = np.linspace(0.0, 1.0, MODEL.mels)
_WHITE_SECONDS = 120

Background = Callable[[int], tuple[np.ndarray, bool]]
"""frames -> mel energies (frames, mels), and whether they are speech."""


def _white_noise() -> np.ndarray:
    """Mel energies of white noise, each mel scaled to mean 1: a colour is a multiplication."""
    samples = np.random.default_rng(0).standard_normal(_WHITE_SECONDS * MODEL.sample_rate)
    energies = np.exp(plain.extract(samples, replace(MODEL, pad=0)))
    return energies / energies.mean(axis=0)


_WHITE = _white_noise()


def decibels(value: float | np.ndarray) -> np.ndarray:
    """The power ratio of so many decibels."""
    return np.float32(10.0 ** (value / 10.0))


def _interpolate(x: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    position = np.clip(position, 0, x.shape[axis] - 1)
    low = np.minimum(position.astype(int), x.shape[axis] - 2)
    share = (position - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    below = x.take(low, axis)
    return below + share * (x.take(low + 1, axis) - below)


def warp(energies: np.ndarray, time: float, frequency: float) -> np.ndarray:
    """Log energies (T, mels) played `time` times as long, all frequencies times `frequency`."""
    if frequency != 1.0:
        mel = 2595.0 * np.log10(1.0 + _CENTRES / frequency / 700.0)
        energies = _interpolate(energies, mel / _MEL_TOP * (MODEL.mels + 1) - 1.0, 1)
    if time != 1.0:
        energies = _interpolate(energies, np.arange(max(2, round(len(energies) * time))) / time, 0)
    return energies


def colour(rng: np.random.Generator, tilt: float, ripple: float) -> np.ndarray:
    """A smooth random gain per mel (mels,), as a power ratio."""
    curve = tilt * rng.uniform(-1, 1) * (_AXIS - 0.5)
    for cycles in (1, 2, 3):
        height, phase = ripple / cycles * rng.uniform(-1, 1), rng.uniform(0, np.pi)
        curve = curve + height * np.cos(np.pi * cycles * _AXIS + phase)
    return decibels(curve)


def reverberate(
    power: np.ndarray, rng: np.random.Generator, changes: Augment
) -> np.ndarray:
    """Adds a tail that decays exponentially from every frame."""
    decay = 10.0 ** (-6.0 / FRAMES_PER_SECOND / rng.uniform(*changes.reverb_time))
    tail = lfilter([0.0, 1.0 - decay], [1.0, -decay], power, axis=0).astype(np.float32)
    return power + decibels(rng.uniform(*changes.reverb_level)) * tail


def add_noise(
    power: np.ndarray, rng: np.random.Generator, changes: Augment, background: Background
) -> np.ndarray:
    """Lays coloured noise or `background(frames)` under the whole of a sample."""
    frames = len(power)
    if rng.random() < 0.5:
        start = rng.integers(len(_WHITE) - frames)
        noise, speech = _WHITE[start:start + frames] * colour(rng, 40.0, 6.0), False
    else:
        noise, speech = background(frames)
        noise = noise * colour(rng, changes.tilt, changes.ripple)
    loudest = power.sum(axis=1).max()
    if loudest == 0.0:  # a sample of silence may be nothing but this noise
        loudest = decibels(rng.uniform(-10, 40))
    noise_loudest = max(1e-9, noise.sum(axis=1).max() if speech else noise.sum(axis=1).mean())
    level = decibels(rng.uniform(*(changes.babble_level if speech else changes.noise_level)))
    return power + noise * (level * loudest / noise_loudest)


def mask(
    energies: np.ndarray, rng: np.random.Generator, changes: Augment, value: np.ndarray
) -> None:
    """Hides bands and stretches of log energies (T, mels), in place."""
    for _ in range(changes.frequency_masks):
        width = rng.integers(changes.frequency_mask + 1)
        start = rng.integers(energies.shape[1] - width + 1)
        energies[:, start:start + width] = value[start:start + width]
    for _ in range(rng.poisson(len(energies) / changes.time_mask_every)):
        width = rng.integers(changes.time_mask + 1)
        start = rng.integers(len(energies) - width + 1)
        energies[start:start + width] = value
    return energies


def finish(
    power: np.ndarray, rng: np.random.Generator, changes: Augment, background: Background
) -> np.ndarray:
    """Energies (T, mels) of a filled sample -> augmented log energies (T + 2 PAD_FRAMES, mels)."""
    if rng.random() < changes.reverb:
        power = reverberate(power, rng, changes)
    if rng.random() < changes.noise:
        power = add_noise(power, rng, changes, background)
    gain = decibels(rng.uniform(*changes.gain)) * colour(rng, changes.tilt, changes.ripple)
    if rng.random() < changes.low_pass:
        edge = rng.uniform(*changes.low_pass_edge)
        gain = gain * decibels(-np.clip((_AXIS - edge) * 600.0, 0.0, rng.uniform(20.0, 60.0)))
    energies = np.log(power * gain + MODEL.log_floor, dtype=np.float32)
    mask(energies, rng, changes, energies.mean(axis=0))
    # Zero samples around the recording. A frame centred on the edge still sees half of it.
    energies[[0, -1]] = np.maximum(energies[[0, -1]] - np.log(2.0), LOG_FLOOR)
    return np.pad(energies, ((PAD_FRAMES, PAD_FRAMES), (0, 0)), constant_values=LOG_FLOOR)
