"""The front end: samples in, features out.

    samples -> FrontEnd -> (T, mels)

`config.frontend` names a kind (`KINDS`). Of the mel kinds, `plain` is the definition in float
arithmetic, `exact` the specification of every bit (docs/numerics.md), whose bytes C computes too
(`ee_ref.native`), and `tables` the constants that these two share.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_finite
from ..config import KINDS, Config
from ..errors import ArgumentError, AudioError, EeWarning
from ._shared import checked_samples, float_samples
from .tables import unsupported

if TYPE_CHECKING:
    from . import exact as exact
    from . import plain as plain
    from . import waveform as waveform

FrontEnd = Callable[[np.ndarray], np.ndarray]
"""Features (T, mels) float32 of mono samples (N,), floats at `config.sample_rate`.

No samples give no rows. Raises AudioError for samples that are not a one-dimensional array of
finite floats, or so large that their power overflows float32.
"""


if not TYPE_CHECKING:  # of the front ends a model needs one

    def __getattr__(name: str) -> Any:
        if name in ("exact", "plain", "waveform"):
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def front_end(config: Config, tensors: Mapping[str, np.ndarray], backend: str) -> FrontEnd:
    """The front end of a model for the backend "native" or "numpy".

    tensors: those of the model by name; `frontend.mean` and `frontend.scale` are used, if there.

    "native" has all kinds in C. "numpy" has the exact mel kinds for an int8 model, whose results
    are the same bytes on both backends from the samples on, and the plain ones for a float32 model;
    those of samples are always the same bytes.
    Where exact and native cannot do the configuration, an EeWarning says why, and the plain one is
    used. Raises ArgumentError for another kind, and what the front end raises.
    """
    if config.frontend not in KINDS:
        raise ArgumentError(f"frontend: expected one of {list(KINDS)}, found {config.frontend!r}")
    if config.takes_samples and backend == "numpy":
        from . import waveform

        return waveform.extract if config.frontend == "waveform" else waveform.unchanged
    mean, scale = tensors.get("frontend.mean"), tensors.get("frontend.scale")
    is_plain = backend == "numpy" and config.dtype == "f32"
    if not is_plain and (reason := unsupported(config)):
        warnings.warn(
            f"{reason}; using the plain NumPy front end, whose last bits differ between machines",
            EeWarning, stacklevel=2)
        is_plain = True
    if is_plain:
        from . import plain

        return partial(plain.extract, config=config, mean=mean, scale=scale)
    # Both of these take int16 too, as firmware has it: here a mistake.
    if backend == "numpy":
        from . import exact

        compute = partial(exact.extract, config=config, mean=mean, scale=scale)
        return lambda samples: compute(checked_samples(samples))
    from ..native._frontend import NativeFrontEnd

    run = NativeFrontEnd(config, mean, scale).extract

    def native(samples: np.ndarray) -> np.ndarray:
        samples = np.ascontiguousarray(float_samples(samples))
        try:
            return run(samples)
        except AudioError:  # C looks at every sample, and does not say which one it was
            check_finite(samples, "samples")
            raise

    return native
