"""The C runtime: a model over tensors in place, and a session for each utterance or stream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import families
from ..config import Config
from ..errors import ArgumentError, ShapeError, StateError, TooLongError
from ..families import ExitOutput, TensorSpec
from ._arrays import address, aligned, pointer
from ._lib import ensure, ffi, lib, ops

if TYPE_CHECKING:
    from ..families.aed import Steps


class NativeModel:
    """A model ready to run: C keeps pointers into the tensors, and this object keeps them alive.

    config: the model's. tensors: arrays by the names, shapes and dtypes of
    `ee_ref.families.tensors(config)`; those of the front end are not used here. Arrays laid
    out as in a model file (rows padded to 16 bytes, 64-byte aligned) are used in place, others are
    copied once. Any number of sessions may run at once, in any number of threads.
    threads: those that share the work of a session, the one that runs it included, from 1 to
    MAX_THREADS. They serve one session at a time; meanwhile other sessions run in their own threads
    alone.
    Results are the same bytes for every number.
    packed: keep a copy of the matrices in the order in which the kernels take them, where that
    gains anything: on x86-64, in int8 mode with VNNI or AMX. Results are the same bytes.
    Raises ArgumentError for a missing tensor, an unknown EE_REF_ISA or another number of threads,
    ShapeError for a tensor of another shape or dtype, ThreadsError when the system gives none.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray], threads: int = 1,
                 packed: bool = False):
        self.config = config
        self.threads = threads
        self._pool = open_pool(threads)
        if config.dtype == "f32":
            lib.ee_pool_set_block_frames(self._pool, lib.EE_POOL_BLOCK_FRAMES_F32)
        self.team = lib.ee_pool_team(self._pool)
        specs = [s for s in families.tensors(config) if not s.name.startswith("frontend.")]
        self._tensors = [_in_layout(spec, tensors.get(spec.name)) for spec in specs]
        self.c_config = _c_config(config)
        self._memory = aligned(_size(lib.ee_model_size, self.c_config), lib.EE_MEMORY_ALIGNMENT)
        # Used again: fresh memory costs a page fault every 4 KB, 1 % of the time of an utterance.
        self._arenas: deque[np.ndarray] = deque(maxlen=4)

        table = ffi.new("ee_tensor[]", len(specs))
        for entry, spec, array in zip(table, specs, self._tensors):
            entry.data = ffi.cast("void *", address(array))
            entry.bytes = _stored_bytes(spec)
        result = ffi.new("ee_model **")
        ensure(lib.ee_model_open(ffi.from_buffer(self._memory), len(self._memory), self.c_config,
                                 table, len(specs), ops(), result))
        self.handle = result[0]
        if packed:
            size = _size(lib.ee_model_packed_size, self.handle)
            self._packed = aligned(size, lib.EE_MEMORY_ALIGNMENT)
            ensure(lib.ee_model_pack(self.handle, ffi.from_buffer(self._packed), size))

    def arena_size(self, capacity: int) -> int:
        """Bytes of memory that a session of this capacity uses. Raises TooLongError."""
        return _size(lib.ee_arena_size, self.c_config, capacity, self.team)

    def start(self, capacity: int) -> Session:
        """An utterance at its beginning, to be fed in pieces; capacity: see `Session`."""
        return Session(self, capacity)

    def decoder(self, exit_: int, hidden: np.ndarray, width: int, labels: int) -> Steps:
        """See `ee_ref.encoder.Encoder.decoder`."""
        from ._decoder import Decoder

        families.aed.require_decoder(self.config)
        return Decoder(self, exit_, hidden, width, labels)

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """See `ee_ref.encoder.Encoder.exits`."""
        families.check_features(self.config, features)
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = None
        session = Session(self, len(features), arena)
        session.feed_checked(features, last=True)
        return self._exits(session)

    def _exits(self, session: Session) -> Generator[ExitOutput, None, None]:
        try:
            yield from session.exits()
        finally:
            self._arenas.append(session.arena)


class Session:
    """One utterance on its way through a model, in an arena of its own. For one thread at a time.

    capacity: the most frames of features that are fed and not stepped, of the whole utterance in
    full view. arena: that of an earlier, finished session, to use again; None, or one too small,
    gets a new one. It does not grow.
    Raises TooLongError for a capacity of more encoder frames than the model admits.
    """

    def __init__(self, model: NativeModel, capacity: int, arena: np.ndarray | None = None):
        self._model = model
        self._capacity = capacity
        self._alone = families.OneThread()
        self._fed = 0  # inputs
        self._stepped = 0  # rows of blocks of which an exit was asked for
        self._check_length(capacity)
        size = model.arena_size(capacity)
        if arena is None or len(arena) < size:
            arena = aligned(size, lib.EE_MEMORY_ALIGNMENT)
        self.arena = arena
        result = ffi.new("ee_session **")
        ensure(lib.ee_session_open(result, model.handle, model.team,
                                   ffi.from_buffer(self.arena), len(self.arena), capacity))
        self._handle = result[0]

    def feed(self, inputs: np.ndarray, last: bool = False) -> None:
        """See `ee_ref.families.State.feed`."""
        families.check_features(self._model.config, inputs)
        self.feed_checked(inputs, last)

    def feed_checked(self, inputs: np.ndarray, last: bool) -> None:
        """`feed` for inputs that `check_features` has seen."""
        with self._alone:
            status = lib.ee_session_feed(
                self._handle, pointer(np.ascontiguousarray(inputs)), len(inputs), last)
            if status == lib.EE_ERR_ENDED:
                raise StateError("feed: expected no features after the last ones, "
                                 f"found {len(inputs)} more")
            if status == lib.EE_ERR_TOO_MANY_FRAMES:
                self._check_length(self._fed + len(inputs))
                found = self._fed + len(inputs) - self._model.config.stride * self._stepped
                raise TooLongError(f"features: expected at most {self._capacity} frames that are "
                                   f"not stepped, found {found}")
            ensure(status)
            self._fed += len(inputs)

    def exits(self) -> Iterator[ExitOutput]:
        """See `ee_ref.families.State.exits`."""
        return iter(self._step, None)

    def _step(self) -> ExitOutput | None:
        with self._alone:
            if ensure(lib.ee_session_step(self._handle)) != lib.EE_OK:
                return None
            out = ffi.new("ee_output *")
            ensure(lib.ee_session_output(self._handle, out))
            self._stepped = out.first + out.rows
            hidden = self._copy(out.hidden, out.rows, self._model.config.dim)
            output = self._copy(out.data, out.rows, out.columns)
            return ExitOutput(out.exit, out.first, hidden, output)

    def _copy(self, data, rows: int, columns: int) -> np.ndarray:
        start = int(ffi.cast("uintptr_t", data)) - address(self.arena)
        return np.ndarray((rows, columns), np.float32, self.arena, start).copy()

    def _check_length(self, frames: int) -> None:
        config = self._model.config
        rows = config.encoder_frames(frames)
        if 0 < config.max_frames < rows:
            raise families.too_long(config, rows)


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
    if array.strides == strides and address(array) % lib.EE_MEMORY_ALIGNMENT == 0:
        return array
    memory = aligned(_stored_bytes(spec), lib.EE_MEMORY_ALIGNMENT)
    copy = memory.view(array.dtype).reshape(stored)
    copy[...] = 0
    copy[..., : shape[-1]] = array
    return copy


_PREFIXES = {"architecture": "EE_ARCH_", "dtype": "EE_DTYPE_", "conv": "EE_CONV_",
             "positions": "EE_POSITIONS_", "conv_norm": "EE_CONV_NORM_", "norm": "EE_NORM_"}
"""Fields of `ee_config` whose values are texts in Python, and what their numbers are called."""


def _c_config(config: Config):
    """`config` as an `ee_config *`, of which C checks the ranges.

    Raises ArgumentError for a family that the C library has not.
    """
    fields: dict[str, Any] = {}
    for name, _ in ffi.typeof("ee_config").fields:
        value: Any = getattr(config, name, None)
        if name in _PREFIXES and value is not None:
            constant = _PREFIXES[name] + value.removeprefix("ee-").replace("-", "_").upper()
            if not hasattr(lib, constant):
                raise ArgumentError(f"the C library: expected a model whose {name} it knows, "
                                    f"found {value!r}; backend='numpy' runs it")
            value = getattr(lib, constant)
        if value is not None:  # what only other families have stays 0
            fields[name] = value
    return ffi.new("ee_config *", fields)


def _size(plan, *arguments) -> int:
    """The result of a C function that gives a size through its last argument."""
    result = ffi.new("size_t *")
    ensure(plan(*arguments, result))
    return result[0]
