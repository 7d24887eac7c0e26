"""Checkpoints of the published layout (PyTorch, torchaudio's Conformer layers) turned into models.

`read_checkpoint` reads the file, `convert_state_dict` infers the configuration from the shapes and
rewrites the weights for inference: batch norm is folded into the depthwise convolution, and
convolutions become matrices in the order in which the ops read their input (time-major).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ee_ref.config import FRONTENDS, Config
from ee_ref.errors import ArgumentError, CheckpointError, shown

from . import safetensors, torch_zip
from .files import open_regular
from .layout import layer_prefix
from .model_file import nearest_float32
from .text import parse_json

DEFAULT_HEADS = 8  # of the published models
BATCH_NORM_EPS = 1e-5  # PyTorch's default; a state dict does not say

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

_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batch norm and of averaged weights

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


def read_checkpoint(path: str | os.PathLike, state: str | None = None) -> Checkpoint:
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
            f"found {_some(list(content))}")
    names = {path: ".".join(path) or "the file itself" for path in found}
    described = _some([f"{names[path]} ({len(found[path])} entries)" for path in found])
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


# What the shapes do not tell, by type: given as an argument, found in the extras, or the default.
_INTEGERS = ("heads", "sample_rate", "n_fft", "win_length", "hop_length", "pad", "blank")
_NUMBERS = ("log_floor", "norm_eps")


def convert_state_dict(
    state: Mapping[str, np.ndarray],
    *,
    heads: int | None = None,
    frontend: str | None = None,
    extras: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, np.ndarray]]:
    """Configuration and tensors (float32, names and shapes of layout.py) of a state dict.

    Sizes come from the shapes. heads, frontend and the other settings come from the argument, else
    from `extras` (entries beside the state dict, by the names of Config), else they are those of
    the published models: 8 heads, and frontend "mel", or "logmel" when the state has
    `frontend.mean`. A "logmel" model without `frontend.mean` and `.scale` gets zeros and ones.
    Raises CheckpointError naming tensors that are missing, unexpected, misshapen, not floating
    point or not finite; ArgumentError for an unknown front end or heads that are not positive.
    """
    if frontend is not None and frontend not in FRONTENDS:
        raise ArgumentError(f"frontend: expected one of {sorted(FRONTENDS)}, found {frontend!r}")
    if heads is not None and heads < 1:
        raise ArgumentError(f"heads: expected a positive number, found {heads}")
    settings = _settings(extras or {})
    if heads is not None:
        settings["heads"] = heads
    if frontend is not None:
        settings["frontend"] = frontend
    config = _infer(state, settings)
    expected = _state_shapes(config)
    if config.frontend == "logmel" and not any(name.startswith("frontend.") for name in state):
        state = {**state, "frontend.mean": np.zeros(config.mels, np.float32),
                 "frontend.scale": np.ones(config.mels, np.float32)}
    _check_state(state, expected)
    return config, _tensors(config, lambda name: _float64(state, name))


def _settings(extras: Mapping[str, Any]) -> dict[str, Any]:
    """The extras that are fields of a Config, checked for their types."""
    found: dict[str, Any] = {}
    for name in (*_INTEGERS, *_NUMBERS, "frontend"):
        value = extras.get(name)
        if value is None:
            continue
        if name in _INTEGERS:
            ok, what = type(value) is int, "an integer"
        elif name in _NUMBERS:
            ok, what = _is_number(value), "a number"
        else:
            ok, what = isinstance(value, str) and value in FRONTENDS, f"one of {sorted(FRONTENDS)}"
        if not ok:
            plain = isinstance(value, (str, int, float))
            found_text = repr(value)[:40] if plain else type(value).__name__
            raise CheckpointError(f"{name}: expected {what}, found {found_text}")
        found[name] = nearest_float32(value) if name in _NUMBERS else value
    return found


def _is_number(value: Any) -> bool:
    return type(value) is float or type(value) is int and abs(value) < 1 << 63


def _infer(state: Mapping[str, np.ndarray], settings: dict[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply."""
    exits = _count(state, r"linears\.([0-9]{1,4})\.", "exit heads linears.N")
    groups = _count(state, r"conformer\.([0-9]{1,4})\.", "groups of layers conformer.N")
    if exits != groups:
        raise CheckpointError(f"expected as many exit heads as groups of layers, found {exits} "
                              f"heads and {groups} groups")
    layers_per_exit = tuple(
        _count(state, rf"conformer\.{group}\.conformer_layers\.([0-9]{{1,4}})\.",
               f"layers conformer.{group}.conformer_layers.N")
        for group in range(groups))
    dim, mels, stem_kernel = _shape(state, "conv_subsample.sequential.0.weight", 3)
    max_frames, _, _ = _shape(state, "positional_encoder.pe", 3)
    vocab, _ = _shape(state, "linears.0.weight", 2)
    layer = "conformer.0.conformer_layers.0"
    ff, _ = _shape(state, f"{layer}.ffn1.sequential.1.weight", 2)
    _, _, kernel = _shape(state, f"{layer}.conv_module.sequential.2.weight", 3)
    frontend = settings.pop("frontend", "logmel" if "frontend.mean" in state else "mel")
    n_fft, win_length, hop_length = FRONTENDS[frontend]
    settings = {"heads": DEFAULT_HEADS, "n_fft": n_fft, "win_length": win_length,
                "hop_length": hop_length, **settings}
    try:
        return Config(
            exits=exits, layers_per_exit=layers_per_exit, dim=dim, ff=ff, kernel=kernel,
            vocab=vocab, max_frames=max_frames, mels=mels, frontend=frontend,
            stem_kernel=stem_kernel, **settings,
        ).validate()
    except ArgumentError as error:
        raise CheckpointError(str(error)) from None


def _count(state: Mapping[str, np.ndarray], pattern: str, what: str) -> int:
    """How many numbers, which must run from 0 without gaps, `pattern` finds in the names."""
    numbers = sorted({int(match[1]) for name in state if (match := re.match(pattern, name))})
    if not numbers:
        raise CheckpointError(f"expected {what} of an early-exit Conformer, found none; "
                              f"the names are {_some(sorted(state))}")
    if numbers != list(range(len(numbers))):
        raise CheckpointError(f"expected {what} numbered 0, 1, 2, ... without gaps, "
                              f"found {_some(numbers)}")
    return len(numbers)


def _shape(state: Mapping[str, np.ndarray], name: str, dims: int) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f"tensor {name!r}: expected {dims} dimensions, found no such tensor")
    if state[name].ndim != dims:
        raise CheckpointError(
            f"tensor {name!r}: expected {dims} dimensions, found shape {state[name].shape}")
    return state[name].shape


def _state_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor that a state dict of this configuration must have."""
    dim, ff, kernel, mels, vocab = config.dim, config.ff, config.kernel, config.mels, config.vocab
    shapes: dict[str, tuple[int, ...]] = {}

    def weight_bias(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]

    if config.frontend == "logmel":
        shapes["frontend.mean"] = shapes["frontend.scale"] = (mels,)
    weight_bias("conv_subsample.sequential.0", dim, mels, config.stem_kernel)
    weight_bias("conv_subsample.sequential.1", dim, dim, config.stem_kernel)
    shapes["positional_encoder.pe"] = (config.max_frames, 1, dim)
    for group, layers in enumerate(config.layers_per_exit):
        weight_bias(f"linears.{group}", vocab, dim)
        for layer in range(layers):
            prefix = f"conformer.{group}.conformer_layers.{layer}"
            for module in ("ffn1", "ffn2"):
                weight_bias(f"{prefix}.{module}.sequential.0", dim)
                weight_bias(f"{prefix}.{module}.sequential.1", ff, dim)
                weight_bias(f"{prefix}.{module}.sequential.4", dim, ff)
            weight_bias(f"{prefix}.self_attn_layer_norm", dim)
            shapes[f"{prefix}.self_attn.in_proj_weight"] = (3 * dim, dim)
            shapes[f"{prefix}.self_attn.in_proj_bias"] = (3 * dim,)
            weight_bias(f"{prefix}.self_attn.out_proj", dim, dim)
            weight_bias(f"{prefix}.conv_module.layer_norm", dim)
            conv = f"{prefix}.conv_module.sequential"
            weight_bias(f"{conv}.0", 2 * dim, dim, 1)
            weight_bias(f"{conv}.2", dim, 1, kernel)
            weight_bias(f"{conv}.3", dim)
            shapes[f"{conv}.3.running_mean"] = shapes[f"{conv}.3.running_var"] = (dim,)
            weight_bias(f"{conv}.5", dim, dim, 1)
            weight_bias(f"{prefix}.final_layer_norm", dim)
    return shapes


def _check_state(
    state: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise CheckpointError naming what is missing, unexpected, misshapen or not finite."""
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state
                  if name not in expected and name.rpartition(".")[2] not in _COUNTERS]
    present = [name for name in expected if name in state]
    misshapen = [f"{name} (expected {expected[name]}, found {state[name].shape})"
                 for name in present if state[name].shape != expected[name]]
    not_float = [f"{name} ({state[name].dtype})" for name in present
                 if state[name].dtype.kind != "f"]
    problems = [f"{len(names)} {what}: {_some(names)}" for names, what in (
        (missing, "missing"), (unexpected, "unexpected"), (misshapen, "of another shape"),
        (not_float, "not floating-point")) if names]
    if problems:
        raise CheckpointError("tensors do not fit an early-exit Conformer: " + "; ".join(problems))


def _some(items: Sequence[Any], count: int = 4) -> str:
    """The first few items as text."""
    some = ", ".join(shown(item) for item in items[:count])
    return some + (f", ... ({len(items)} in all)" if len(items) > count else "")


def _float64(state: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a NaN that signals
        tensor = state[name].astype(np.float64)
    if not np.isfinite(tensor).all():
        raise CheckpointError(f"tensor {name!r}: expected finite numbers, found inf or nan")
    return tensor


def _tensors(config: Config, get: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of the model; `get` gives a tensor of the checkpoint as float64."""
    out: dict[str, np.ndarray] = {}

    def put(name: str, value: np.ndarray) -> None:
        with np.errstate(over="ignore"):
            out[name] = np.ascontiguousarray(value, np.float32)
        if not np.isfinite(out[name]).all():
            raise CheckpointError(f"tensor {name!r}: a number too large for float32")

    def copy(name: str, source: str, squeeze: bool = False) -> None:
        """weight and bias; `squeeze` drops the tap axis of a pointwise convolution."""
        weight = get(f"{source}.weight")
        put(f"{name}.weight", weight[..., 0] if squeeze else weight)
        put(f"{name}.bias", get(f"{source}.bias"))

    if config.frontend == "logmel":
        put("frontend.mean", get("frontend.mean"))
        put("frontend.scale", get("frontend.scale"))
    put("stem.positions", get("positional_encoder.pe")[:, 0])
    for number in (1, 2):
        source = f"conv_subsample.sequential.{number - 1}"
        put(f"stem.conv{number}.weight", _tap_major(get(f"{source}.weight")))
        put(f"stem.conv{number}.bias", get(f"{source}.bias"))
    for group, layers in enumerate(config.layers_per_exit):
        for layer in range(layers):
            name = layer_prefix(group + 1, layer + 1)
            source = f"conformer.{group}.conformer_layers.{layer}"
            for ff in ("1", "2"):
                copy(f"{name}ff{ff}.norm", f"{source}.ffn{ff}.sequential.0")
                copy(f"{name}ff{ff}.up", f"{source}.ffn{ff}.sequential.1")
                copy(f"{name}ff{ff}.down", f"{source}.ffn{ff}.sequential.4")
            copy(f"{name}attn.norm", f"{source}.self_attn_layer_norm")
            put(f"{name}attn.in.weight", get(f"{source}.self_attn.in_proj_weight"))
            put(f"{name}attn.in.bias", get(f"{source}.self_attn.in_proj_bias"))
            copy(f"{name}attn.out", f"{source}.self_attn.out_proj")
            copy(f"{name}conv.norm", f"{source}.conv_module.layer_norm")
            conv = f"{source}.conv_module.sequential"
            copy(f"{name}conv.in", f"{conv}.0", squeeze=True)
            weight, bias = _fold_batch_norm(f"{conv}.2", f"{conv}.3", get)
            put(f"{name}conv.depthwise.weight", weight)
            put(f"{name}conv.depthwise.bias", bias)
            copy(f"{name}conv.out", f"{conv}.5", squeeze=True)
            copy(f"{name}norm", f"{source}.final_layer_norm")
        copy(f"head.{group + 1}", f"linears.{group}")
    return out


def _tap_major(weight: np.ndarray) -> np.ndarray:
    """(out, in, taps) of PyTorch -> (out, taps * in), the order of a window of (T, in) frames."""
    return weight.transpose(0, 2, 1).reshape(len(weight), -1)


def _fold_batch_norm(
    conv: str, norm: str, get: Callable[[str], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (kernel, dim) and bias (dim,) of depthwise convolution and batch norm in one.

    norm(conv(x)) = (w * x + b - mean) * scale + beta with scale = gamma / sqrt(var + eps), so the
    weight is w * scale and the bias (b - mean) * scale + beta.
    """
    variance = get(f"{norm}.running_var")
    if (variance < 0).any():
        raise CheckpointError(f"tensor '{norm}.running_var': expected no negative variance, "
                              f"found {variance.min()}")
    with np.errstate(over="ignore", invalid="ignore"):  # found by who stores them as float32
        scale = get(f"{norm}.weight") / np.sqrt(variance + BATCH_NORM_EPS)
        weight = get(f"{conv}.weight")[:, 0].T * scale
        bias = (get(f"{conv}.bias") - get(f"{norm}.running_mean")) * scale + get(f"{norm}.bias")
    return weight, bias
