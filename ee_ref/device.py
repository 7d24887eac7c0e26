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

    flash: of the flash image up to each exit, its position table cut to `seconds`. The rest is that
    of `ee_ref.native._plan.MemoryPlan`: `peak` is the RAM up to each exit.
    Raises ArgumentError for seconds that the model lacks or a front end that the C library cannot
    do, NativeUnavailable without the C library, whose planner it asks.
    """
    from weights_io import flash_image

    from .native._plan import memory_plan

    plan = memory_plan(config, seconds)
    flash = flash_image.exit_sizes(flash_image.limited(config, seconds), tokens, special)
    return {**dataclasses.asdict(plan), "flash": flash, "peak": plan.peak}
