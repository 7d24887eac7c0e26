"""The C runtime: a model over tensors in place, and a session for each utterance or stream."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from weights_io.layout import TensorSpec, tensor_specs

from ..config import Config
from ..errors import ArgumentError, ShapeError, StateError, TooLongError
from ._arrays import aligned, check, pointer
from ._lib import all_ops, ensure, ffi, lib


class Output(NamedTuple):
    """What one exit says of some rows (encoder frames) of an utterance.

    exit: its number, from 1. first: the row at which this begins. hidden: (rows, dim) float32, what
    its head is given. log_probs: (rows, vocab) float32, natural logarithm.
    """

    exit: int
    first: int
    hidden: np.ndarray
    log_probs: np.ndarray


class NativeModel:
    """A model ready to run: C keeps pointers into the tensors, and this object keeps them alive.

    config: the model's. tensors: arrays by the names, shapes and dtypes of
    `weights_io.layout.tensor_specs(config)`; those of the front end are not used here. Arrays laid
    out as in a model file (rows padded to 16 bytes, 64-byte aligned) are used in place, others are
    copied once. Any number of sessions may run at once, in any number of threads.
    threads: those that share the work of a session, the one that runs it included, from 1 to
    MAX_THREADS. They serve one session at a time; another one meanwhile runs in its thread alone.
    Results are the same bytes for every number.
    Raises ArgumentError for a missing tensor, an unknown EE_REF_ISA or another number of threads,
    ShapeError for a tensor of another shape or dtype, ThreadsError when the system gives none.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray], threads: int = 1):
        self.config = config
        self.threads = threads
        self._pool = open_pool(threads)
        self.team = lib.ee_pool_team(self._pool)
        specs = [s for s in tensor_specs(config) if not s.name.startswith("frontend.")]
        self._tensors = [_in_layout(spec, tensors.get(spec.name)) for spec in specs]
        self._config = _c_config(config)
        self._memory = aligned(_size(lib.ee_model_size, self._config), lib.EE_MEMORY_ALIGNMENT)
        # Used again: fresh memory costs a page fault every 4 KB, 1 % of the time of an utterance.
        self._arenas: deque[np.ndarray] = deque(maxlen=4)

        table = ffi.new("ee_tensor[]", len(specs))
        for entry, spec, array in zip(table, specs, self._tensors):
            entry.data = ffi.cast("void *", array.ctypes.data)
            entry.bytes = _stored_bytes(spec)
        result = ffi.new("ee_model **")
        ensure(lib.ee_model_open(ffi.from_buffer(self._memory), len(self._memory), self._config,
                                 table, len(specs), all_ops(), result))
        self.handle = result[0]

    def arena_size(self, capacity: int) -> int:
        """Bytes of memory that a `Session` of this capacity uses. Raises TooLongError."""
        return _size(lib.ee_arena_size, self._config, capacity, self.team)

    def start(self, capacity: int) -> Session:
        """A session for an utterance that comes in pieces. See `Session`."""
        return Session(self, capacity)

    def exits(self, features: np.ndarray) -> Iterator[Output]:
        """Yield the output of exit 1, 2, ... of a whole utterance; the work for an exit is done
        when it is asked for.

        features: (frames, mels) float32, C-contiguous, finite. Arrays are the caller's own.
        Raises the errors of `Session` and `Session.feed`, here and not with the first exit.
        """
        frames, _ = check("features", features, None, self.config.mels)
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = None
        session = Session(self, frames, arena)
        session.feed(features, last=True)
        return self._exits(session)

    def _exits(self, session: Session) -> Iterator[Output]:
        try:
            yield from session.exits()
        finally:
            self._arenas.append(session.arena)


class Session:
    """One utterance on its way through a model, in an arena of its own.

    capacity: mel frames of the longest utterance; of a model with a limited view, those that are
    fed at once and what was fed before and not yet asked about. The arena does not grow.
    arena: of an earlier session that is done with; where it is too small, or None, a new one.
    Raises TooLongError for a capacity of more encoder frames than positions. Where two threads use
    it at once, the second one gets a StateError, and nothing is lost.
    """

    def __init__(self, model: NativeModel, capacity: int, arena: np.ndarray | None = None):
        self._model = model
        self._capacity = capacity
        self._lock = threading.Lock()
        self._feeds = 0
        size = model.arena_size(capacity)
        if arena is None or len(arena) < size:
            arena = aligned(size, lib.EE_MEMORY_ALIGNMENT)
        self.arena = arena
        result = ffi.new("ee_session **")
        ensure(lib.ee_session_open(result, model.handle, model.team,
                                   ffi.from_buffer(self.arena), len(self.arena), capacity))
        self._handle = result[0]

    def feed(self, features: np.ndarray, last: bool = False) -> None:
        """Bring features (frames, mels) float32, C-contiguous, finite. last: no more will come.

        Rows become ready by whole chunks, or all of them with the last features. What was ready
        before and was asked about, up to some exit, is left behind; the rest is joined.
        Raises ShapeError, ArgumentError for NaN or infinity, TooLongError for more than the
        capacity, StateError after the last ones; the session is then as it was.
        """
        frames, _ = check("features", features, None, self._model.config.mels)
        with self._alone():
            status = lib.ee_session_feed(self._handle, pointer(features), frames, last)
            if status == lib.EE_ERR_TOO_MANY_FRAMES:
                raise TooLongError(
                    f"features: expected at most {self._capacity} mel frames with those that wait,"
                    f" and no more encoder frames than positions, found {frames} more mel frames")
            if status == lib.EE_ERR_ENDED:
                raise StateError(
                    f"features: expected none after the last, found {frames} mel frames")
            ensure(status)
            self._feeds += 1

    def exits(self) -> Generator[Output, None, None]:
        """Yield the outputs of the next exits of what is ready; not asking stops the work.

        Ends after the last exit, or when more was fed. Arrays are the caller's own.
        Raises StateError where another thread uses the session.
        """
        feeds = self._feeds
        while feeds == self._feeds and (output := self._step()) is not None:
            yield output

    def _step(self) -> Output | None:
        with self._alone():
            if ensure(lib.ee_session_step(self._handle)) != lib.EE_OK:
                return None
            out = ffi.new("ee_output *")
            ensure(lib.ee_session_output(self._handle, out))
            hidden = self._copy(out.hidden, out.rows, self._model.config.dim)
            return Output(out.exit, out.first, hidden, self._copy(out.data, out.rows, out.columns))

    def _copy(self, data, rows: int, columns: int) -> np.ndarray:
        start = int(ffi.cast("uintptr_t", data)) - self.arena.ctypes.data
        return np.ndarray((rows, columns), np.float32, self.arena, start).copy()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise StateError("session: expected one thread at a time, found it in use by another")
        try:
            yield
        finally:
            self._lock.release()


def open_pool(threads: int):
    """An `ee_pool *` that closes itself, and keeps its memory until then."""
    memory = aligned(_size(lib.ee_pool_size, threads), lib.EE_MEMORY_ALIGNMENT)
    result = ffi.new("ee_pool **")
    ensure(lib.ee_pool_open(ffi.from_buffer(memory), len(memory), threads, result))

    # Bound here: when the interpreter ends, modules may have forgotten their names before.
    def close(pool, memory=memory, close_pool=lib.ee_pool_close):
        close_pool(pool)

    return ffi.gc(result[0], close)


def _stored_bytes(spec: TensorSpec) -> int:
    return np.dtype(spec.dtype).itemsize * math.prod(spec.stored_shape)


def _in_layout(spec: TensorSpec, array: np.ndarray | None) -> np.ndarray:
    """The tensor itself if its memory is as in a model file (rows, alignment), else a copy."""
    name, shape, stored = spec.name, spec.shape, spec.stored_shape
    if array is None:
        raise ArgumentError(f"tensor {name}: expected {shape}, found none of that name")
    if array.dtype != spec.dtype or array.shape != shape:
        raise ShapeError(
            f"tensor {name}: expected {spec.dtype} {shape}, found {array.dtype} {array.shape}"
        )
    strides = tuple(array.itemsize * math.prod(stored[axis + 1 :])
                    for axis in range(len(stored)))
    if array.strides == strides and array.ctypes.data % lib.EE_MEMORY_ALIGNMENT == 0:
        return array
    memory = aligned(_stored_bytes(spec), lib.EE_MEMORY_ALIGNMENT)
    copy = memory.view(array.dtype).reshape(stored)
    copy[...] = 0
    copy[..., : shape[-1]] = array
    return copy


_DTYPES = {"f32": lib.EE_DTYPE_F32, "qs8": lib.EE_DTYPE_QS8}
_CONVS = {"centred": lib.EE_CONV_CENTRED, "causal": lib.EE_CONV_CAUSAL,
          "chunk": lib.EE_CONV_CHUNK}
_POSITIONS = {"table": lib.EE_POSITIONS_TABLE, "none": lib.EE_POSITIONS_NONE}


def _c_config(config: Config):
    """`config` as an `ee_config *`, of which C checks the ranges."""
    names = ("exits", "dim", "heads", "ff", "kernel", "vocab", "mels", "stem_kernel",
             "stem_stride", "max_frames", "norm_eps", "layers_per_exit")
    return ffi.new("ee_config *", {
        "architecture": lib.EE_ARCH_CONFORMER, "dtype": _DTYPES[config.dtype],
        "chunk": getattr(config, "chunk", 0), "left": getattr(config, "left", 0),
        "conv": _CONVS[getattr(config, "conv", "centred")],
        "positions": _POSITIONS[getattr(config, "positions", "table")],
        **{name: getattr(config, name) for name in names}})


def _size(plan, *arguments) -> int:
    """The result of a C function that gives a size through its last argument."""
    result = ffi.new("size_t *")
    ensure(plan(*arguments, result))
    return result[0]
