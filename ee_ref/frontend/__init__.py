"""The front end: samples in, features out.

    samples -> FrontEnd.features -> (T, mels)

`config.frontend` names a kind (`KINDS`). Of the mel kinds, `plain` is the definition in float
arithmetic, `exact` the specification of every bit (docs/numerics.md), `native` the same bytes in C,
and `tables` the constants that the last two share.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from ..config import Config
from ..errors import ArgumentError, EeWarning
from .exact import ExactFrontEnd
from .native import NativeFrontEnd
from .plain import PlainFrontEnd
from .tables import unsupported
from .waveform import WaveformFrontEnd


class FrontEnd(Protocol):
    """The front end of one model.

    tensors: those of the model by name, of which `frontend.mean` and `frontend.scale` may be used.
    """

    config: Config

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]): ...

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Features (T, mels) float32 of mono samples (N,), floats at `config.sample_rate`.

        No samples give no rows. Raises AudioError for samples that are not a one-dimensional array
        of finite floats, or so large that their power overflows float32.
        """
        ...


class Kind(NamedTuple):
    """The implementations of a kind of front end.

    plain: in float arithmetic. exact, native: to the bit, in NumPy and in C.
    unsupported: why these two cannot do a configuration, or "".
    """

    plain: type[FrontEnd]
    exact: type[FrontEnd]
    native: type[FrontEnd]
    unsupported: Callable[[Config], str]


_MEL = Kind(PlainFrontEnd, ExactFrontEnd, NativeFrontEnd, unsupported)

KINDS: dict[str, Kind] = {
    "mel": _MEL,
    "logmel": _MEL,
    # Every operation of it rounds the same way everywhere.
    "waveform": Kind(WaveformFrontEnd, WaveformFrontEnd, WaveformFrontEnd, lambda config: ""),
}


def front_end(config: Config, tensors: Mapping[str, np.ndarray], backend: str) -> FrontEnd:
    """The front end of a model for the backend "native" or "numpy".

    "native" has the one in C. "numpy" has the exact one for an int8 model, whose results are the
    same bytes on both backends from the samples on, and the plain one for a float32 model. Where
    exact and native cannot do the configuration, an EeWarning says why, and the plain one is used.
    Raises ArgumentError for another kind, and what the front end raises.
    """
    if config.frontend not in KINDS:
        raise ArgumentError(f"frontend: expected one of {list(KINDS)}, found {config.frontend!r}")
    kind = KINDS[config.frontend]
    if backend == "numpy" and config.dtype == "f32":
        return kind.plain(config, tensors)
    if reason := kind.unsupported(config):
        warnings.warn(
            f"{reason}; using the plain NumPy front end, whose last bits differ between machines",
            EeWarning, stacklevel=2)
        return kind.plain(config, tensors)
    return (kind.native if backend == "native" else kind.exact)(config, tensors)
