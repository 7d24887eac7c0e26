"""The C runtime: a model over tensors in place, and one session for each utterance."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

from .. import families
from ..config import Config
from ..errors import ArgumentError, ShapeError, TooLongError
from ..families import TensorSpec
from ._arrays import aligned, check, pointer
from ._lib import all_ops, ensure, ffi, lib


class NativeModel:
    """A model ready to run: C keeps pointers into the tensors, and this object keeps them alive.

    config: the model's. tensors: arrays by the names, shapes and dtypes of
    `ee_ref.families.tensors(config)`; those of the front end are not used here. Arrays laid
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
        specs = [s for s in families.tensors(config) if not s.name.startswith("frontend.")]
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

    def arena_size(self, frames: int) -> int:
        """Bytes of memory that a session over `frames` mel frames uses. Raises TooLongError."""
        return _size(lib.ee_arena_size, self._config, frames, self.team)

    def exits(self, features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (exit, log_probs) from exit 1 on; the work for an exit is done when asked for.

        features: see `Session`, whose errors are raised here. log_probs: (encoder frames, vocab)
        float32, the caller's own.
        """
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = None
        return self._steps(Session(self, features, arena))

    def _steps(self, session: Session) -> Iterator[tuple[int, np.ndarray]]:
        try:
            while session.step():
                yield session.exit, session.log_probs.copy()
        finally:
            self._arenas.append(session.arena)


class Session:
    """One utterance on its way through a model, in an arena of its own. For one thread at a time.

    features: (frames, mels) float32, finite, C-contiguous; not to be changed before the first step.
    arena: of an earlier session that is done with; where it is too small, or None, a new one.
    Raises ShapeError, ArgumentError for NaN or infinity, TooLongError for more encoder frames than
    positions.
    """

    def __init__(self, model: NativeModel, features: np.ndarray,
                 arena: np.ndarray | None = None):
        config = model.config
        frames, _ = check("features", features, None, config.mels)
        rows = config.encoder_frames(frames)
        if rows > config.max_frames:
            raise TooLongError(
                f"audio too long: expected at most {config.max_frames} encoder frames "
                f"({config.max_seconds:.1f} s), found {rows}"
            )
        self._model = model
        self._features = features
        size = model.arena_size(frames)
        if arena is None or len(arena) < size:
            arena = aligned(size, lib.EE_MEMORY_ALIGNMENT)
        self.arena = arena
        result = ffi.new("ee_session **")
        ensure(lib.ee_session_open(result, model.handle, model.team,
                                   ffi.from_buffer(self.arena), len(self.arena),
                                   pointer(features), frames))
        self._handle = result[0]

    def step(self) -> bool:
        """Compute up to the next exit; False when the last one was already reached."""
        return ensure(lib.ee_session_step(self._handle)) == lib.EE_OK

    @property
    def exit(self) -> int:
        """The exit reached, from 1; 0 before the first step."""
        return lib.ee_session_exit(self._handle)

    @property
    def log_probs(self) -> np.ndarray:
        """(encoder frames, vocab) of the exit reached: a view, overwritten by the next step."""
        rows = ffi.new("size_t *")
        data = lib.ee_session_log_probs(self._handle, rows)
        if not data:
            raise ArgumentError("log_probs: expected a step before, found none")
        start = int(ffi.cast("uintptr_t", data)) - self.arena.ctypes.data
        shape = (rows[0], self._model.config.vocab)
        return np.ndarray(shape, np.float32, self.arena, start)


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


def _c_config(config: Config):
    """`config` as an `ee_config *`, of which C checks the ranges."""
    if config.architecture != "ee-conformer":
        raise ArgumentError("the C runtime: expected a model of the architecture 'ee-conformer', "
                            f"found {config.architecture!r}; backend='numpy' runs it")
    if config.chunk or config.conv != "centred" or config.positions != "table":
        raise ArgumentError("the C runtime: expected a model of the full view, with a centred "
                            f"convolution and a table of positions, found {config}")
    names = ("exits", "dim", "heads", "ff", "kernel", "vocab", "mels", "stem_kernel",
             "stem_stride", "max_frames", "norm_eps", "layers_per_exit")
    dtype = {"f32": lib.EE_DTYPE_F32, "qs8": lib.EE_DTYPE_QS8}[config.dtype]
    fields = {name: getattr(config, name) for name in names}
    return ffi.new("ee_config *", {"dtype": dtype, **fields})


def _size(plan, *arguments) -> int:
    """The result of a C function that gives a size through its last argument."""
    result = ffi.new("size_t *")
    ensure(plan(*arguments, result))
    return result[0]
