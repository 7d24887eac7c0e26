"""What a model costs: multiply-accumulates of an utterance, flash and RAM on a device.

Work follows from the configuration. The RAM is planned by the C library, and holds on every target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .config import Config

if TYPE_CHECKING:
    from .decode.graph import PhraseGraph


def multiply_accumulates(config: Config, seconds: float) -> tuple[int, ...] | None:
    """Multiply-accumulates of the encoder up to and including exit 1, 2, ..., for one utterance.

    None when the audio is longer than the model admits. See `Config.costs`.
    """
    if not (math.isfinite(seconds) and seconds <= config.max_seconds + 1):
        return None
    frames = config.feature_frames(int(seconds * config.sample_rate))
    if 0 < config.max_frames < config.encoder_frames(frames):
        return None
    return config.costs(frames)


def device_plan(
    config: Config, tokens: Sequence[str], special: frozenset[int], seconds: float,
    phrases: PhraseGraph | None = None,
) -> dict[str, Any]:
    """Bytes of flash and RAM on a device for one utterance of `seconds`, of plain types.

    phrases: what is searched, if anything is.
    seconds. frames: of features; rows: encoder frames. samples: as 16 bits, if they are kept in
    RAM. features: as floats. arena: of the session; before it begins, the front end uses `frontend`
    bytes of it. search: arena of the phrase search, 0 without one; it may lie where the features
    were, which a session does not need once they are fed. decoder: arena of greedy decoding by the
    attention decoder of an exit, beside the session's; 0 without one. stack: of the library's
    functions, at most (EE_STACK_BYTES).
    Up to each exit: model, memory of ee_image_open, enough for 32- and 64-bit targets; peak, the
    RAM for model, features or search, arenas and stack, the samples being extra; flash, the size of
    the flash image without phrases, with the position table cut to `seconds`.
    Raises ArgumentError for audio longer than the model allows or a front end that the C library
    lacks, and NativeUnavailable without the C library, which plans the memory.
    """
    from . import flash_image
    from .native._frontend import NativeFrontEnd
    from .native._lib import ffi, lib
    from .native._phrases import arena_size
    from .native._session import _c_config, _size

    limited = flash_image.limited(config, seconds)
    frontend = NativeFrontEnd(config)
    samples = int(seconds * config.sample_rate)
    frames = lib.ee_frontend_frames(frontend.handle, samples)
    features = 4 * frames * config.mels
    arena = _size(lib.ee_arena_size, _c_config(config), frames, ffi.NULL)
    search = 0 if phrases is None else arena_size(phrases)
    rows = config.encoder_frames(frames)
    decoder = 0
    if config.has_decoder:
        labels = _most_labels(limited, rows, frames)
        decoder = _size(lib.ee_decoder_size, _c_config(limited), rows, labels, 1)
    working = max(features + frontend.scratch_bytes, max(features, search) + arena + decoder)
    working += lib.EE_STACK_BYTES
    model = []
    for exits in range(1, config.exits + 1):
        cut = config.first_exits(exits)
        model.append(_size(lib.ee_model_size, _c_config(cut)))
    return {
        "seconds": seconds, "frames": frames, "rows": rows,
        "samples": 2 * samples, "features": features, "arena": arena,
        "frontend": frontend.scratch_bytes, "search": search, "decoder": decoder,
        "model": tuple(model), "stack": lib.EE_STACK_BYTES,
        "flash": flash_image.exit_sizes(limited, tokens, special),
        "peak": tuple(bytes + working for bytes in model),
    }


def _most_labels(config: Any, rows: int, inputs: int) -> int:
    """Of the longest sentence of greedy decoding."""
    from .decode.attention import AttentionSearch

    return min(AttentionSearch().limit(rows, inputs), config.max_tokens)
