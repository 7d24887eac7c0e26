"""Checkpoints as folders, the way Hugging Face lays them out: weights in one file or in shards, and
files of JSON beside them.

What the tensors are called and what the configuration means is not known here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ee_ref.errors import CheckpointError, some

from . import from_torch
from .text import parse_json, read_text
from .tokenizer import TOKENIZER_FILES

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
           "pytorch_model.bin.index.json")
"""Files with the weights, or with the names of the shards that have them; the first is taken."""

CONFIG = "config.json"
BESIDE = ("preprocessor_config.json", "processor_config.json", "vocab.json", *TOKENIZER_FILES)

MAX_BYTES = 16 << 20
MAX_SHARDS = 1024


def read(path: str | os.PathLike[str], state: str | None = None) -> from_torch.Checkpoint:
    """The checkpoint in a folder; its extras are the files of JSON by their names.

    state: see `from_torch.read_checkpoint`. Raises CheckpointError for a folder without config.json
    or weights, a shard that is missing or lacks tensors, and JSON that is none; FileError for files
    that cannot be opened.
    """
    folder = Path(path)
    found = [name for name in WEIGHTS if (folder / name).exists()]
    if not found:
        raise CheckpointError(f"{path}: expected a folder with one of {', '.join(WEIGHTS)}, "
                              f"found {some(sorted(os.listdir(folder))) or 'an empty one'}")
    extras: dict[str, Any] = {CONFIG: _json(folder / CONFIG)}
    for name in BESIDE:
        if (folder / name).exists():
            extras[name] = _json(folder / name)
    weights = folder / found[0]
    if weights.suffix == ".json":
        tensors = _shards(weights, state)
    else:
        tensors = from_torch.read_checkpoint(weights, state).state
    return from_torch.Checkpoint(tensors, extras)


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(f"{path.parent}: expected {path.name}, found none")
    try:
        value = parse_json(read_text(path, MAX_BYTES, CheckpointError))
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: expected JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected an object, found a {type(value).__name__}")
    return value


def _shards(index: Path, state: str | None) -> dict[str, np.ndarray]:
    """The tensors of all files that an index names."""
    places = _json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(
            isinstance(file, str) and file == os.path.basename(file) for file in places.values()):
        raise CheckpointError(f"{index}: expected weight_map, names of tensors and of files beside "
                              "it")
    files = sorted(set(places.values()))
    if len(files) > MAX_SHARDS:
        raise CheckpointError(f"{index}: expected at most {MAX_SHARDS} shards, found {len(files)}")
    missing = [file for file in files if not (index.parent / file).exists()]
    if missing:
        raise CheckpointError(f"{index}: expected {len(files)} shards, found no {some(missing)}")
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        shard = from_torch.read_checkpoint(index.parent / file, state).state
        twice = sorted(set(shard) & set(tensors))
        if twice:
            raise CheckpointError(f"{index.parent / file}: expected tensors of no other shard, "
                                  f"found {some(twice)}")
        tensors.update(shard)
    if len(tensors) != len(places):
        raise CheckpointError(f"{index}: expected {len(places)} tensors in {len(files)} shards, "
                              f"found {len(tensors)}")
    return tensors
