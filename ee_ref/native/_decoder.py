"""The attention decoder of an exit on the C runtime (ee_decoder.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..families import aed
from ._arrays import address, aligned, pointer
from ._lib import ensure, ffi, lib

if TYPE_CHECKING:
    from ._session import NativeModel


class Decoder:
    """`ee_ref.families.aed.AttentionDecoder` in C: in int8 mode the same bytes. For one thread at a
    time.

    width: the most hypotheses side by side; labels: the most steps. Raises ArgumentError or
    ShapeError.
    """

    def __init__(self, model: NativeModel, exit_: int, hidden: np.ndarray, width: int, labels: int
                 ) -> None:
        self._model = model  # C keeps a pointer to it
        config: Any = model.config
        aed.check_hidden(config, exit_, hidden)
        most = min(labels, config.max_tokens)
        size = ffi.new("size_t *")
        ensure(lib.ee_decoder_size(model.c_config, len(hidden), most, width, size))
        self._arena = aligned(size[0], lib.EE_MEMORY_ALIGNMENT)
        opened = ffi.new("ee_decoder **")
        ensure(lib.ee_decoder_open(
            opened, model.handle, exit_, pointer(np.ascontiguousarray(hidden)), len(hidden), most,
            width, ffi.from_buffer(self._arena), len(self._arena)))
        self._config, self._handle, self._width = config, opened[0], width
        self._steps, self._before = 0, 0
        self._log_probs = ffi.new("const float **")

    def step(self, labels: Sequence[int], parents: Sequence[int] = (0,)) -> np.ndarray:
        """See `ee_ref.families.aed.AttentionDecoder.step`; also raises ArgumentError for more
        hypotheses or steps than it was made for."""
        aed.check_step(self._config, labels, parents, self._before, self._steps)
        count = len(labels)
        status = lib.ee_decoder_step(self._handle, list(labels), list(parents), count,
                                     self._log_probs)
        if status == lib.EE_DONE:
            raise ArgumentError(f"step: expected at most {self._steps} steps, found one more")
        if status == lib.EE_ERR_RANGE:
            raise ArgumentError(f"step: expected at most {self._width} hypotheses, found {count}")
        ensure(status)
        self._steps += 1
        self._before = count
        start = int(ffi.cast("uintptr_t", self._log_probs[0])) - address(self._arena)
        return np.ndarray((count, self._config.vocab), np.float32, self._arena, start).copy()
