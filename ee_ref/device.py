"""What a model needs on a device: flash and RAM up to each exit, for a given longest utterance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .config import Config


def device_plan(
    config: Config, tokens: Sequence[str], special: frozenset[int], seconds: float
) -> dict[str, Any]:
    """Bytes of flash and RAM on a device for audio of up to `seconds`, of plain types.

    flash: the size of the flash image up to each exit, with the position table cut to `seconds`.
    The other entries are those of `ee_ref.native._plan.MemoryPlan`: `peak` is the RAM up to each
    exit.
    Raises ArgumentError for audio longer than the model allows or a front end that the C library
    lacks, and NativeUnavailable without the C library, which plans the memory.
    """
    from . import flash_image
    from .native._plan import memory_plan

    plan = memory_plan(config, seconds)
    flash = flash_image.exit_sizes(flash_image.limited(config, seconds), tokens, special)
    return {**dataclasses.asdict(plan), "flash": flash, "peak": plan.peak}
