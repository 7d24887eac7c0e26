"""What front ends share: what is asked of samples, the frames, the normalisation."""

from __future__ import annotations

import numpy as np

from ..checks import check_finite
from ..config import Config
from ..errors import AudioError, ShapeError


def checked_samples(samples: np.ndarray) -> np.ndarray:
    """`samples` as a float32 vector of finite numbers, or AudioError."""
    samples = float_samples(samples)
    check_finite(samples, "samples")
    return samples


def float_samples(samples: np.ndarray) -> np.ndarray:
    """`samples` as a float32 vector, or AudioError."""
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise AudioError(
            f"expected mono samples of shape (N,), found shape {samples.shape}: "
            "ee_ref.audio.read((samples, rate), rate) mixes channels down"
        )
    if samples.dtype.kind != "f" and len(samples):
        raise AudioError(
            f"expected floating-point samples in [-1, 1], found dtype {samples.dtype}: "
            "ee_ref.audio.read((samples, rate), rate) scales integers"
        )
    if samples.dtype == np.float32:
        return samples
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)


def framed(samples: np.ndarray, config: Config) -> np.ndarray:
    """(T, win_length), the frames of the signal with reflected edges; a view.

    torch.stft centres the window among n_fft points. Where it lies in them changes only the phase,
    so a frame is the win_length samples under it. Reflection wants more than n_fft // 2 samples:
    shorter audio is first extended with zeros.
    """
    frames = 1 + (len(samples) + 2 * config.pad) // config.hop_length
    signal = np.pad(samples, config.pad)
    signal = np.pad(signal, (0, max(0, config.n_fft // 2 + 1 - len(signal))))
    before = config.n_fft // 2 - (config.n_fft - config.win_length) // 2
    signal = np.pad(signal, (before, config.win_length - before), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(signal, config.win_length)
    return views[:: config.hop_length][:frames]


def check_energies(energies: np.ndarray, samples: np.ndarray) -> None:
    """Raise AudioError when the energies of these samples are beyond float32."""
    if not np.isfinite(energies).all():
        raise AudioError(
            "the power of the samples overflows float32: expected samples of about [-1, 1], "
            f"found a peak of {np.abs(samples).max():.3g}"
        )


def normalise(
    log_energies: np.ndarray, config: Config, mean: np.ndarray | None, scale: np.ndarray | None
) -> np.ndarray:
    """(y - mean) * scale of log_energies y (T, mels), in place; None stands for zeros and ones.

    Raises ShapeError for a mean or scale that is not (mels,).
    """
    if mean is not None:
        log_energies -= _per_mel("mean", mean, config)
    if scale is not None:
        log_energies *= _per_mel("scale", scale, config)
    return log_energies


def _per_mel(name: str, values: np.ndarray, config: Config) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if values.shape != (config.mels,):
        raise ShapeError(
            f"features: expected {name} of shape ({config.mels},), found {values.shape}"
        )
    return values
