"""State dicts of PyTorch turned into the tensors of a model.

The family knows what a checkpoint has (`Family.sources`) and infers the configuration from its
shapes. Here the weights are rewritten for inference: batch norm is folded into the depthwise
convolution, and convolutions become matrices in the order in which the ops read their input
(time-major).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import families
from .config import Config
from .errors import ArgumentError, CheckpointError, shown, some
from .families import Family, Module, Source
from .model_file import nearest_float32

BATCH_NORM_EPS = 1e-5  # PyTorch's default; a state dict does not say

_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batch norm and of averaged weights


class Converted(NamedTuple):
    """What `convert` gives.

    config, tensors: see `convert_state_dict`. layout: whose names the tensors had. assumed: fields
    of config that neither shapes nor files nor arguments told, and the option of `ee-ref convert`
    that sets each.
    """

    config: Config
    tensors: dict[str, np.ndarray]
    layout: str
    assumed: dict[str, str]


def convert_state_dict(
    state: Mapping[str, np.ndarray],
    *,
    heads: int | None = None,
    frontend: str | None = None,
    norm: str | None = None,
    exit_layers: Sequence[int] | None = None,
    special: Sequence[int] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, np.ndarray]]:
    """Configuration and tensors (float32, names and shapes of `families.tensors`) of a state dict.

    Sizes come from the shapes. heads, frontend, norm and the other settings come from the argument,
    else from `extras` (entries beside the state dict, by the names of Config, or as the family's
    `described` reads them), else they are those of the published models: of a Conformer 8 heads,
    and frontend "mel", or "logmel" when the state has `frontend.mean`; a "logmel" model without
    `frontend.mean` and `.scale` gets zeros and ones. exit_layers: after which layers, from 1, the
    exits are, where the checkpoint has layers without groups; one head is then that of all exits.
    special: the labels that start, end and pad a sentence of an attention decoder.
    Raises CheckpointError naming tensors that are missing, unexpected, misshapen, not floating
    point or not finite, and settings that do not fit; ArgumentError for an unknown front end or
    heads that are not positive.
    """
    found = convert(state, heads=heads, frontend=frontend, norm=norm, exit_layers=exit_layers,
                    special=special, extras=extras)
    return found.config, found.tensors


def convert(
    state: Mapping[str, np.ndarray],
    *,
    heads: int | None = None,
    frontend: str | None = None,
    norm: str | None = None,
    exit_layers: Sequence[int] | None = None,
    special: Sequence[int] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Converted:
    """`convert_state_dict`, and what it recognised."""
    family = _family(state)
    known = family.Config.frontends
    if frontend is not None and frontend not in known:
        raise ArgumentError(f"frontend: expected one of {sorted(known)}, found {frontend!r}")
    if heads is not None and heads < 1:
        raise ArgumentError(f"heads: expected a positive number, found {heads}")
    extras = extras or {}
    told = family.described(extras)
    settings = _settings(family, {**extras, **told})
    if "layers" in told:
        settings["layers"] = told["layers"]
    if norm is not None and not hasattr(family.Config, "norm"):
        raise ArgumentError(f"norm: expected none, of which {family.Config.architecture} has no "
                            f"choice, found {norm!r}")
    if special is not None:
        if not family.Config.has_decoder:
            raise ArgumentError(f"special: expected none, as {family.Config.architecture} has no "
                                f"attention decoder, found {some(special)}")
        settings.update(zip(("start_token", "end_token", "pad_token"), special, strict=True))
    given = {"heads": heads, "frontend": frontend, "norm": norm, "exit_layers": exit_layers}
    settings.update({name: value for name, value in given.items() if value is not None})
    names = list(state)
    state = family.standard(state, settings)
    try:
        config = family.infer(state, settings).validate()
    except ArgumentError as error:
        raise CheckpointError(str(error)) from None
    for name in _INFERRED:
        if name in told and hasattr(config, name) and told[name] != getattr(config, name):
            raise CheckpointError(f"{name}: expected {getattr(config, name)}, as the tensors have, "
                                  f"found {shown(repr(told[name]), 40)}")
    if config.has_floor and not any(name.startswith("frontend.") for name in state):
        state = {**state, "frontend.mean": np.zeros(config.mels, np.float32),
                 "frontend.scale": np.ones(config.mels, np.float32)}
    sources = tuple(family.sources(config))
    expected = {name: shape for source in sources for name, shape in source.shapes()}
    _check_state(config.architecture, state, expected)
    shapes = {spec.name: spec.shape for spec in families.tensors(config)}
    tensors = {name: _float32(name, value.reshape(shapes[name])) for source in sources
               for name, value in _tensors(source, lambda name: _float64(state, name))}
    assumed = {name: option for name, option in family.OPTIONS.items() if name not in settings}
    return Converted(config, tensors, family.layout(names), assumed)


def _family(state: Mapping[str, np.ndarray]) -> Family:
    """The last family with these names, else the first, whose error says what is missing."""
    known = [*families.FAMILIES.values()]
    return next((family for family in reversed(known) if family.is_checkpoint(state)), known[0])


_INFERRED = ("exits", "dim", "ff", "kernel", "vocab", "max_frames", "mels", "stem_kernel",
             "stem_stride", "dtype", "channels", "conv_bias", "conv_norm", "groups", "buckets",
             "decoder_layers", "max_tokens", "lstm_layers", "lstm_width")
"""Fields of configurations that shapes tell, as they do those with one entry an exit, or that a
checkpoint has no choice of."""


def _settings(family: Family, extras: Mapping[str, Any]) -> dict[str, Any]:
    """The extras that are fields of a configuration, checked for their types."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(family.Config):
        value = extras.get(field.name)
        if value is None or field.name in _INFERRED or str(field.type).startswith("tuple"):
            continue
        if field.type == "int":
            ok, what = type(value) is int, "an integer"
        elif field.type == "float":
            ok, what = _is_number(value), "a number"
        elif field.name == "frontend":
            known = family.Config.frontends
            ok, what = isinstance(value, str) and value in known, f"one of {sorted(known)}"
        else:
            ok, what = isinstance(value, str), "a string"
        if not ok:
            plain = isinstance(value, (str, int, float))
            found_text = repr(value)[:40] if plain else type(value).__name__
            raise CheckpointError(f"{field.name}: expected {what}, found {found_text}")
        found[field.name] = nearest_float32(value) if field.type == "float" else value
    return found


def _is_number(value: Any) -> bool:
    return type(value) is float or type(value) is int and abs(value) < 1 << 63


def _check_state(
    architecture: str, state: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
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
    problems = [f"{len(names)} {what}: {some(names)}" for names, what in (
        (missing, "missing"), (unexpected, "unexpected"), (misshapen, "of another shape"),
        (not_float, "not floating-point")) if names]
    if problems:
        raise CheckpointError(f"tensors do not fit {architecture}: " + "; ".join(problems))


def _float64(state: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a NaN that signals
        tensor = state[name].astype(np.float64)
    if not np.isfinite(tensor).all():
        raise CheckpointError(f"tensor {name!r}: expected finite numbers, found inf or nan")
    return tensor


def _float32(name: str, value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        tensor = np.ascontiguousarray(value, np.float32)
    if not np.isfinite(tensor).all():
        raise CheckpointError(f"tensor {name!r}: a number too large for float32")
    return tensor


def _tensors(source: Source, get: Callable[[str], np.ndarray]
             ) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of what a module becomes, in the order of their numbers; `get` gives a
    tensor of the checkpoint as float64."""
    if source.module is Module.TENSOR:
        yield source.name, get(source.source)
        return
    if source.module is Module.LSTM:
        yield from _lstm(source, get)
        return
    bias: np.ndarray | None
    if source.module is Module.NORMED_CONV:
        weight, bias = _fold_batch_norm(source, get)
    else:
        weight = get(source.key("weight"))
        bias = get(source.key("bias")) if source.has_bias else None
        if weight.ndim == 3:  # (out, in, taps) -> (out, taps, in), as a window of frames has them
            weight = weight.transpose(0, 2, 1)
    yield f"{source.name}.weight", weight
    if bias is not None:
        yield f"{source.name}.bias", bias


def _lstm(source: Source, get: Callable[[str], np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The products of the input in one matrix for both directions, with one bias."""
    def both(part: str) -> list[np.ndarray]:
        return [get(direction.replace("*", part)) for direction in source.directions()]

    yield f"{source.name}.in.weight", np.concatenate(both("weight_ih"))
    with np.errstate(over="ignore"):  # found by who stores it as float32
        bias = np.concatenate(both("bias_ih")) + np.concatenate(both("bias_hh"))
    yield f"{source.name}.in.bias", bias
    for name, weight in zip(("forward", "backward"), both("weight_hh")):
        yield f"{source.name}.{name}.weight", weight


def _fold_batch_norm(source: Source, get: Callable[[str], np.ndarray]
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Weight (kernel, dim) and bias (dim,) of depthwise convolution and batch norm in one.

    norm(conv(x)) = (w * x + b - mean) * scale + beta with scale = gamma / sqrt(var + eps), so the
    weight is w * scale and the bias (b - mean) * scale + beta.
    """
    norm = source.norm
    variance = get(f"{norm}.running_var")
    if (variance < 0).any():
        raise CheckpointError(f"tensor '{norm}.running_var': expected no negative variance, "
                              f"found {variance.min()}")
    with np.errstate(over="ignore", invalid="ignore"):  # found by who stores them as float32
        scale = get(f"{norm}.weight") / np.sqrt(variance + BATCH_NORM_EPS)
        weight = get(source.key("weight"))[:, 0].T * scale
        bias = (get(source.key("bias")) - get(f"{norm}.running_mean")) * scale
        return weight, bias + get(f"{norm}.bias")
