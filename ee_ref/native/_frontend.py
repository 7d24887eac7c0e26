"""The C front end: mel features that are the same bytes on every target."""

from __future__ import annotations

import numpy as np

from ..config import KINDS, Config
from ..errors import AudioError
from ..frontend.tables import frontend_tables
from ._arrays import check, pointer
from ._lib import ensure, ffi, lib, ops, portable_ops


class NativeFrontEnd:
    """Features of a model's front end; C reads the tables, and this object keeps them alive.

    mean, scale: (mels,) float32, used by kinds with a floor only; None stands for zeros and ones.
    Raises ArgumentError as `frontend_tables` does, ShapeError for another mean or scale.
    """

    def __init__(
        self, config: Config, mean: np.ndarray | None = None, scale: np.ndarray | None = None
    ):
        self.config = config
        tables = {} if config.takes_samples else frontend_tables(config)._asdict()
        for name, values in (("mean", mean), ("scale", scale)):
            if config.has_floor and values is not None:
                check(name, values, config.mels)
                tables[name] = values
        self._tables = tables
        self.handle = ffi.new("ee_frontend *", {
            name: getattr(config, name)
            for name in ("mels", "n_fft", "win_length", "hop_length", "pad")
        })
        self.handle.log_floor = config.log_floor if config.has_floor else 0.0
        self.handle.kind = KINDS.index(config.frontend)
        for name, table in tables.items():
            setattr(self.handle, name, _address(table))
        ensure(lib.ee_frontend_check(self.handle))

    @property
    def scratch_bytes(self) -> int:
        """Memory that the front end uses while it runs frame by frame, as microcontrollers do."""
        return 4 * lib.ee_frontend_scratch(self.handle, portable_ops())

    def extract(self, samples: np.ndarray) -> np.ndarray:
        """See `extract`."""
        return extract(self.handle, samples)


def extract(frontend, samples: np.ndarray) -> np.ndarray:
    """Features (T, mels) float32 of samples (N,): float32, full scale at 1, or int16.

    frontend: an `ee_frontend *`. int16 samples stand for samples / 32768. Raises AudioError for
    samples that are not finite or whose power overflows, ShapeError for another shape or dtype.
    """
    integers = isinstance(samples, np.ndarray) and samples.dtype == np.int16
    check("samples", samples, None, dtype=np.int16 if integers else np.float32)
    frames = lib.ee_frontend_frames(frontend, len(samples))
    out = np.empty((frames, frontend.mels), np.float32)
    table = ops()
    scratch = np.empty(lib.ee_frontend_scratch(frontend, table), np.float32)
    run = lib.ee_features_s16 if integers else lib.ee_features_f32
    source = ffi.from_buffer("int16_t[]" if integers else "float[]", samples)
    status = run(pointer(out), frontend, source, len(samples), 0, frames, pointer(scratch), table)
    if status == lib.EE_ERR_NOT_FINITE:
        raise AudioError(
            "expected finite samples of about [-1, 1], found NaN, infinity, or a power that "
            "overflows float32")
    ensure(status)
    return out


def _address(table: np.ndarray):
    kind = "uint16_t *" if table.dtype == np.uint16 else "float *"
    return ffi.cast(kind, table.ctypes.data)
