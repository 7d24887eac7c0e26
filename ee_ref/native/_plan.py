"""The RAM that a model needs on a device, planned by the C library: it holds on every target."""

from __future__ import annotations

from dataclasses import dataclass

from weights_io.gguf import align

from .. import flash_image
from ..config import Config
from ._frontend import NativeFrontend
from ._lib import ffi, lib
from ._session import _c_config, _size


@dataclass(frozen=True)
class MemoryPlan:
    """RAM for one utterance of `seconds`, in bytes.

    frames: of features; rows: encoder frames. samples: as 16 bits, if they are kept in RAM.
    features: as floats. arena: of the session; before it begins, the front end uses `frontend`
    bytes of it. model: memory of ee_image_open up to each exit, enough for 32- and 64-bit targets.
    stack: of the library's functions, at most (EE_STACK_BYTES).
    """

    seconds: float
    frames: int
    rows: int
    samples: int
    features: int
    arena: int
    frontend: int
    model: tuple[int, ...]
    stack: int

    @property
    def peak(self) -> tuple[int, ...]:
        """RAM up to each exit: model, features, arena and stack; the samples are extra."""
        working = self.features + max(self.arena, self.frontend) + self.stack
        return tuple(model + working for model in self.model)


def memory_plan(config: Config, seconds: float) -> MemoryPlan:
    """The plan for audio of `seconds`.

    Raises ArgumentError when the model has not so many positions, or a front end that the C library
    cannot do.
    """
    flash_image.limited(config, seconds)
    frontend = NativeFrontend(config)
    samples = int(seconds * config.sample_rate)
    frames = lib.ee_frontend_frames(frontend.handle, samples)
    model = []
    for exits in range(1, config.exits + 1):
        cut = config.first_exits(exits)
        memory = _size(lib.ee_model_size, _c_config(cut))
        tensors = flash_image.tensor_count(cut) * ffi.sizeof("ee_tensor")
        model.append(align(memory, lib.EE_MEMORY_ALIGNMENT) + tensors)
    return MemoryPlan(
        seconds=seconds, frames=frames, rows=config.encoder_frames(frames), samples=2 * samples,
        features=4 * frames * config.mels,
        arena=_size(lib.ee_arena_size, _c_config(config), frames, ffi.NULL),
        frontend=frontend.scratch_bytes, model=tuple(model), stack=lib.EE_STACK_BYTES)
