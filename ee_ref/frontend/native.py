"""Mel features in C: the bytes of `exact`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..config import Config
from ._checks import checked_samples


class NativeFrontEnd:
    """See `ee_ref.frontend.FrontEnd`.

    Raises ArgumentError as `frontend_tables` does, ShapeError for a mean or scale that is not
    (mels,), NativeUnavailable when the C library was not built.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]):
        from ..native._frontend import MelExtractor

        self.config = config
        self._frontend = MelExtractor(
            config, tensors.get("frontend.mean"), tensors.get("frontend.scale"))

    def features(self, samples: np.ndarray) -> np.ndarray:
        """See `FrontEnd.features`."""
        return self._frontend.extract(np.ascontiguousarray(checked_samples(samples)))
