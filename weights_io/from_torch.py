"""Checkpoints of PyTorch: the state dict of a file, whatever the training program put around it.

What the tensors are called and what becomes of them is not known here: see `ee_ref.convert`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ee_ref.errors import CheckpointError, some

from . import safetensors, torch_zip
from .files import open_regular
from .text import parse_json

STATE_KEYS = (
    "model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights",
    "params", "ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "model_avg",
)
"""Where training programs keep a state dict, also one within another; asked before other keys."""

WRAPPERS = (
    "module", "model", "_orig_mod", "_fsdp_wrapped_module", "_fpw_module",
    "_checkpoint_wrapped_module", "_forward_module",
)
"""What modules put around others add to their names: DataParallel and its kind, Lightning,
torch.compile, FSDP, activation checkpoints, Fabric. They nest in any order, at any depth."""

MAX_DEPTH = 8
"""How deep in nested dictionaries a state dict is looked for."""

_RESAVE = (
    "re-save it with a recent PyTorch: "
    "torch.save(torch.load(path, map_location='cpu', weights_only=True), new_path)"
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read. state: name -> tensor, prefixes of wrappers removed; extras: the other
    entries beside the state dict (of a safetensors file: its metadata)."""

    state: dict[str, np.ndarray]
    extras: dict[str, Any]


def read_checkpoint(path: str | os.PathLike[str], state: str | None = None) -> Checkpoint:
    """Read a PyTorch checkpoint (zip format, since PyTorch 1.6) or a safetensors file.

    state: which state dict of a PyTorch checkpoint to take where it holds several, by its keys with
    dots between them, as in "ema.module".
    Needs no PyTorch and runs nothing that the file says. Raises FileError when it cannot be opened
    and CheckpointError for anything else: another format, damage, a pickle that calls functions,
    several state dicts and none chosen, or none of the name chosen.
    """
    file, size = open_regular(path)
    with file:
        start = file.read(16)
        file.seek(0)
        try:
            if start.startswith(b"PK\x03\x04"):
                return _split(torch_zip.read(file, size), state)
            if start[8:9] == b"{":
                if state is not None:
                    raise CheckpointError(f"state dict {state!r:.80}: expected a file of PyTorch, "
                                          "found safetensors, which has no parts")
                tensors, metadata = safetensors.read(file, size)
                return Checkpoint(_without_wrappers(tensors), _parsed(metadata))
            raise CheckpointError(_unknown_format(start))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None


def _unknown_format(start: bytes) -> str:
    if not start:
        return "expected a checkpoint, found an empty file"
    if start.startswith(b"GGUF"):
        return "expected a PyTorch checkpoint or safetensors, found a model file"
    if start[:1] == b"\x80":
        return f"expected a PyTorch zip file or safetensors, found a bare pickle; {_RESAVE}"
    return (f"expected a PyTorch zip file or safetensors, found a file that begins with "
            f"{start[:8]!r}; if PyTorch reads it, {_RESAVE}")


def _split(content: Any, chosen: str | None) -> Checkpoint:
    """Tell the state dict from what lies beside it."""
    if not isinstance(content, dict):
        raise CheckpointError(f"expected a state dict, found a {type(content).__name__}")
    found = _state_dicts(content, STATE_KEYS)
    if chosen is not None:
        found.update(_state_dicts(content, None))
    elif set(found) <= {()}:  # none in it, but perhaps tensors of something else beside one
        found = _state_dicts(content, None) or found
    if not found:  # the check below says what a usual key holds instead
        usual = [key for key in STATE_KEYS if isinstance(content.get(key), dict) and content[key]]
        found = {(key,): content[key] for key in usual[:1]}
    if not found:
        raise CheckpointError(
            f"expected tensors, or a state dict under {', '.join(STATE_KEYS)}; "
            f"found {some(list(content))}")
    names = {path: ".".join(path) or "the file itself" for path in found}
    described = some([f"{names[path]} ({len(found[path])} entries)" for path in found])
    kept = [path for path in found if chosen is None or names[path] == chosen]
    if not kept:
        raise CheckpointError(f"state dict {chosen!r:.80}: expected one of: {described}")
    if len(kept) > 1:
        raise CheckpointError(f"expected one state dict, found several: {described}; choose one "
                              "with --state NAME")
    path = kept[0]
    for name, value in found[path].items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise CheckpointError(f"state dict: expected tensors only, found a "
                                  f"{type(value).__name__} as {name!r:.80}")
    return Checkpoint(_without_wrappers(found[path]), _beside(content, path))


def _state_dicts(content: dict, keys: Sequence[str] | None) -> dict[tuple[str, ...], dict]:
    """Path of keys -> state dict, of those that are reached by `keys` alone, or by any for None.

    A dictionary with tensors is one unless it holds one. By any key, which may lead to the state of
    an optimiser, all its entries have to be tensors, with names of modules in them. One that is
    reached in two ways counts once.
    """
    found: dict[tuple[str, ...], dict] = {}
    seen: set[int] = set()

    def visit(entry: dict, path: tuple[str, ...]) -> bool:
        if id(entry) in seen or len(path) > MAX_DEPTH:
            return False
        seen.add(id(entry))
        inner = [visit(value, (*path, key)) for key, value in entry.items()
                 if isinstance(value, dict) and isinstance(key, str)
                 and (keys is None or key in keys)]
        if any(inner):
            return True
        tensors = [isinstance(value, np.ndarray) for value in entry.values()]
        named = any(isinstance(key, str) and "." in key for key in entry)
        if any(tensors) and (keys is not None or (all(tensors) and named)):
            found[path] = entry
        return path in found

    visit(content, ())
    return found


def _beside(content: dict, path: tuple[str, ...]) -> dict[str, Any]:
    """The entries beside the state dict and what it lies in; of equal names the outermost."""
    extras: dict[str, Any] = {}
    for key in path:
        extras = {**{name: value for name, value in content.items() if name != key}, **extras}
        content = content[key]
    return extras


def _without_wrappers(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors by the names they have without WRAPPERS."""
    found: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for name, value in state.items():
        bare = ".".join(part for part in name.split(".") if part not in WRAPPERS) or name
        if bare in found:
            raise CheckpointError(f"expected one tensor for {bare!r:.80}, "
                                  f"found {names[bare]!r:.80} and {name!r:.80}")
        found[bare], names[bare] = value, name
    return found


def _parsed(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of safetensors, which is text only: values that are JSON become what they say."""

    def parse(text: str) -> Any:
        try:
            return parse_json(text)
        except (ValueError, TypeError):
            return text

    return {name: parse(text) for name, text in metadata.items()}
