"""The samples themselves, for models whose first layers take samples."""

from __future__ import annotations

from math import fsum

import numpy as np

from ._shared import checked_samples

VARIANCE_FLOOR = 1e-7
"""Added to the variance, so that silence stays silence."""


def extract(samples: np.ndarray) -> np.ndarray:
    """(N, 1) float32 of samples (N,), brought to zero mean and unit variance.

    Raises AudioError as `ee_ref.frontend.FrontEnd` does.
    """
    return normalised(checked_samples(samples))[:, None]


def unchanged(samples: np.ndarray) -> np.ndarray:
    """(N, 1) float32: the samples (N,) as they are.

    Raises AudioError as `ee_ref.frontend.FrontEnd` does.
    """
    return checked_samples(samples)[:, None]


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
