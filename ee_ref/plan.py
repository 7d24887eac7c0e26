"""What a model costs: multiply-accumulates of an utterance, flash and RAM on a device.

Work follows from the configuration. The RAM is planned by the C library, and holds on every target.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .config import Config


def multiply_accumulates(config: Config, seconds: float) -> tuple[int, ...] | None:
    """Multiply-accumulates of the encoder up to and including exit 1, 2, ..., for one utterance.

    None when the audio is longer than the model admits. See `Config.costs`.
    """
    if not (math.isfinite(seconds) and seconds <= config.max_seconds + 1):
        return None
    mel_frames = 1 + int(seconds * config.sample_rate + 2 * config.pad) // config.hop_length
    if 0 < config.max_frames < config.encoder_frames(mel_frames):
        return None
    return config.costs(mel_frames)


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

    Raises ArgumentError when the model has too few positions, or a front end that the C library
    lacks, and NativeUnavailable without the C library.
    """
    from . import flash_image
    from .native._frontend import MelExtractor
    from .native._lib import ffi, lib
    from .native._session import _c_config, _size

    flash_image.limited(config, seconds)
    frontend = MelExtractor(config)
    samples = int(seconds * config.sample_rate)
    frames = lib.ee_frontend_frames(frontend.handle, samples)
    model = []
    for exits in range(1, config.exits + 1):
        cut = dataclasses.replace(
            config, exits=exits, layers_per_exit=config.layers_per_exit[:exits])
        model.append(_size(lib.ee_model_size, _c_config(cut)))
    return MemoryPlan(
        seconds=seconds, frames=frames, rows=config.encoder_frames(frames), samples=2 * samples,
        features=4 * frames * config.mels,
        arena=_size(lib.ee_arena_size, _c_config(config), frames, ffi.NULL),
        frontend=frontend.scratch_bytes, model=tuple(model), stack=lib.EE_STACK_BYTES)


def device_plan(
    config: Config, tokens: Sequence[str], special: frozenset[int], seconds: float
) -> dict[str, Any]:
    """Bytes of flash and RAM on a device for audio of up to `seconds`, of plain types.

    flash: the size of the flash image up to each exit, with the position table cut to `seconds`.
    The other entries are those of `MemoryPlan`; `peak` is the RAM up to each exit.
    Raises ArgumentError for audio longer than the model allows or a front end that the C library
    lacks, and NativeUnavailable without the C library, which plans the memory.
    """
    from . import flash_image

    plan = memory_plan(config, seconds)
    flash = flash_image.exit_sizes(flash_image.limited(config, seconds), tokens, special)
    return {**dataclasses.asdict(plan), "flash": flash, "peak": plan.peak}
