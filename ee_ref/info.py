"""What can be said of a model file without running it: sizes, cost of each exit, checksums."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from . import families
from .errors import NativeUnavailable
from .plan import multiply_accumulates

if TYPE_CHECKING:
    from .model_file import ModelFile

SECONDS = (1, 10)
"""Lengths of audio for which `describe` gives multiply-accumulates."""


def native_status() -> dict[str, Any]:
    """Whether the C library is `available`. If so, `isa` is the instruction set in use and `isas`
    lists all that could be used; otherwise `reason` says why not."""
    try:
        from .native import _lib
    except NativeUnavailable as error:
        return {"available": False, "reason": str(error)}
    return {"available": True, "isa": _lib.isa(), "isas": list(_lib.available_isas())}


def describe(
    file: ModelFile, backend: str | None = None, threads: int | None = None
) -> dict[str, Any]:
    """Everything `ee-ref info --json` prints, of plain types.

    parameters: numbers in the file except the `constants` (positions, normalisation of the front
    end, scales of int8 matrices). Batch norm is folded into the depthwise convolutions, so a file
    of the published shape has 6,144 fewer than the 31,536,128 that PyTorch counts. In `exits`,
    parameters, bytes and multiply-accumulates are cumulative: those of the file cut after that
    exit, without attention decoders. `stem`: what of these lies before the first layer, the feature
    encoder of models that take samples included. `decoder`, where there is one at each exit: what
    it costs on top, before the products of attention's scores.
    """
    config = file.config
    specs = families.tensors(config)
    counts = dict.fromkeys(range(config.exits + 1), 0)
    constants = 0
    for spec in specs:
        if spec.is_parameter:
            counts[spec.exit] += math.prod(spec.shape)
        else:
            constants += math.prod(spec.shape)
    macs = {seconds: multiply_accumulates(config, seconds) for seconds in SECONDS}
    before = {seconds: None if found is None else
              config.stem_cost(config.feature_frames(seconds * config.sample_rate))
              for seconds, found in macs.items()}
    exits, parameters = [], counts[0]
    for number in range(1, config.exits + 1):
        parameters += counts[number]
        exits.append({
            "exit": number,
            "layers": sum(config.layers_per_exit[:number]),
            "parameters": parameters,
            "bytes": file.exit_sizes[number - 1],
            "multiply_accumulates": {
                f"{seconds} s": None if found is None else found[number - 1]
                for seconds, found in macs.items()},
        })
    return {
        "path": file.path,
        "name": file.metadata.get("general.name", ""),
        "format_version": file.metadata["ee.format_version"],
        "bytes": file.size,
        "tensors": len(specs),
        "parameters": parameters,
        "constants": constants,
        "architecture": config.architecture,
        "config": dataclasses.asdict(config),
        "tokens": list(file.tokens),
        "special": sorted(file.special),
        "stem": {
            "parameters": counts[0],
            "multiply_accumulates": {f"{seconds} s": found for seconds, found in before.items()},
        },
        "exits": exits,
        **({"decoder": _decoder(config)} if config.has_decoder else {}),
        "checksums": {
            "header": f"{file.header_checksum:08x}",
            "tensors": {name: f"{value:08x}" for name, value in file.checksums.items()},
        },
        "backend": backend,
        "threads": threads,
        "native": native_status(),
    }


def _decoder(config: Any) -> dict[str, Any]:
    fields = ("max_tokens", "start_token", "end_token", "pad_token")
    return {
        "layers": config.decoder_layers,
        **{name: getattr(config, name) for name in fields},
        "multiply_accumulates": {
            "an encoder frame": config.memory_cost(1), "a token": config.token_cost(0, 0)},
    }
