"""The samples themselves, for models whose first layers take samples."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum

import numpy as np

from ..config import Config
from ._checks import checked_samples

VARIANCE_FLOOR = 1e-7
"""Added to the variance, so that silence stays silence."""


class WaveformFrontEnd:
    """One row a sample; see `ee_ref.frontend.FrontEnd`. It needs no tensors.

    normalised: whether the recording is brought to zero mean and unit variance.
    """

    def __init__(
        self, config: Config, tensors: Mapping[str, np.ndarray], normalised: bool = True
    ):
        self.config = config
        self.normalised = normalised

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N, 1) float32 of samples (N,)."""
        samples = checked_samples(samples)
        return (normalised(samples) if self.normalised else samples.copy())[:, None]


def normalised(samples: np.ndarray) -> np.ndarray:
    """(x - mean) / sqrt(variance + VARIANCE_FLOOR) of float32 samples x (N,), in float32.

    Computed in float64, one rounding an operation; the sums of mean and variance are exact before
    they are rounded, so the result is the same bytes on every machine.
    """
    if not len(samples):
        return samples.copy()
    x = samples.astype(np.float64)
    x -= fsum(x.tolist()) / len(x)
    variance = fsum(np.square(x).tolist()) / len(x)
    return (x / np.sqrt(variance + VARIANCE_FLOOR)).astype(np.float32)
