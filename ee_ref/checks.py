"""Checks that more than one stage has to make, since each may be called by itself."""

from __future__ import annotations

import numpy as np

from .errors import AudioError


def check_finite(samples: np.ndarray, name: str, rate: int | None = None) -> None:
    """Raise AudioError for NaN or infinity among samples (N,), saying where the first one is.

    name: of what they are, for the message; rate: in Hz, where it is known.
    """
    bad = ~np.isfinite(samples)
    if bad.any():
        first = int(bad.argmax())
        at = f"sample {first}" if rate is None else f"{first / rate:.3f} s"
        raise AudioError(f"{name}: expected finite samples, found {int(bad.sum())} NaN or infinite "
                         f"ones of {len(samples)}, the first at {at}")
