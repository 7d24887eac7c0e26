"""Random numbers, features and models that are the same on every machine, and what a case is.

The cases of the ops (`ee_ref.conformance.cases`), the vectors of the suite and the tests are made
of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import families
from ..config import Config
from ..convert import convert_state_dict
from ..families import Kind, Module, aed, conformer, conformer_lstm, splitformer, zipformer
from ..quantize import quantize

EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)
"""Sizes at, one below and one above the tile sizes a kernel may have: 3, 4, 8, 16, 32."""

SMALL = conformer.Config(
    exits=3, layers_per_exit=(1, 2, 1), dim=20, heads=4, ff=37, kernel=5, vocab=11,
    max_frames=40, mels=13,
)
"""A model of another shape in everything, with rows that do not fill the tiles of a kernel."""

SMALL_SPLITFORMER = splitformer.Config(**asdict(SMALL), parallel=(1, 0, 1))
"""The same of the family Splitformer."""

SMALL_LSTM = conformer_lstm.Config(**asdict(SMALL), lstm_layers=2, lstm_width=6)
"""The same with LSTMs in the heads."""

SMALL_ZIPFORMER = zipformer.Config(**{
    **asdict(SMALL), "exits": 10, "layers_per_exit": zipformer.EXITS[10], "max_frames": 20})
"""The same of the family Zipformer, with every exit of the published one."""

SMALL_AED = aed.Config(**asdict(SMALL), decoder_layers=2, max_tokens=30, pad_token=7)
"""The same with attention decoders."""


class Stream:
    """Uniform float32 numbers, the same on every machine, every CPU and every NumPy.

    Made of PCG64's integers with one multiplication and one addition each. NumPy promises those
    integers for ever, and does not promise its distributions.
    """

    def __init__(self, seed: int):
        self._bits = np.random.PCG64(seed)

    def __call__(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """An array of this shape, uniform in [low, high)."""
        bits = self._bits.random_raw(math.prod(shape)) >> np.uint64(40)
        unit = bits.astype(np.float32) * np.float32(2**-24)
        return (unit * np.float32(high - low) + np.float32(low)).reshape(shape)

    def int8(self, *shape: int) -> np.ndarray:
        """An array of this shape of integers in -127..127, as int8."""
        bits = self._bits.random_raw(math.prod(shape)) >> np.uint64(32)
        return ((bits % np.uint64(255)).astype(np.int16) - 127).astype(np.int8).reshape(shape)

    def weight(self, outs: int, ins: int, gain: float = 1.0) -> np.ndarray:
        """(outs, ins) with which inputs of unit variance give outputs of variance gain**2."""
        bound = gain * math.sqrt(3 / ins)
        return self(outs, ins, low=-bound, high=bound)

    def norm(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a norm, well away from 1 and 0."""
        return self(size, low=0.5, high=1.5), self(size, low=-0.3, high=0.3)

    def bias(self, size: int) -> np.ndarray:
        """(size,) in [-0.2, 0.2)."""
        return self(size, low=-0.2, high=0.2)


@dataclass(frozen=True)
class Case:
    """One call of an op, and how far its result may be from the golden one; a `Vector` is made of
    it.

    arguments: makes the keyword arguments, the same at each call.
    tolerance: see `error`; reason: why it is not smaller.
    """

    name: str
    arguments: Callable[[], dict[str, Any]]
    tolerance: float
    reason: str


def random_features(frames: int, seed: int, mels: int = 80) -> np.ndarray:
    """(frames, mels) like mel power: positive, six decades, loud and quiet stretches and bands."""
    stream = Stream(seed)
    power = stream(frames, mels, low=0.0, high=2.0)
    power *= power * power
    loudness = stream(-(-frames // 8), 1, low=0.1, high=1.5).repeat(8, axis=0)[:frames]
    return power * loudness * loudness * stream(1, mels, low=0.1, high=1.0)


def random_state_dict(config: Config, seed: int, qk_gain: float = 1.0) -> dict[str, np.ndarray]:
    """A random checkpoint in the layout of the published ones.

    Norms and batch-norm statistics are away from the identity, so that a mistake in them shows.
    The gains and the small biases keep the frames of a clip apart down to the last exit: with plain
    ones they drift to one common vector, and every frame gets the same label.
    qk_gain: factor on the query and key weights, which makes attention sharper.
    """
    draw = Stream(seed)
    state: dict[str, np.ndarray] = {}

    def even(size: int, bound: float) -> np.ndarray:
        return draw(size, low=-bound, high=bound)

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = draw(size, low=0.5, high=1.5)
        state[f"{name}.bias"] = even(size, 0.1)

    for source in families.of(config).sources(config):
        shape, size = source.shape, source.shape[0]
        if source.module is Module.TENSOR:
            if source.source in _RANGES:
                low, high = _RANGES[source.source]
                state[source.source] = draw(*shape, low=low, high=high)
            elif source.name.endswith(".positions"):
                state[source.source] = sinusoids(size, shape[-1]).reshape(shape)
            else:
                state[source.source] = draw(*shape)
        elif source.module is Module.NORM:
            norm(source.source, size)
        elif source.module is Module.LSTM:
            for name, own in source.shapes():
                gain = 1.5 if "weight_hh" in name else 2.0
                state[name] = draw.weight(*own, gain) if len(own) == 2 else even(size, 0.06)
        else:
            weight = draw.weight(size, math.prod(shape[1:]), source.gain).reshape(shape)
            if source.module is Module.ATTENTION:
                weight[: 2 * size // 3] *= np.float32(qk_gain)
            state[source.key("weight")] = weight
            if source.has_bias:
                state[source.key("bias")] = even(size, 0.06)
        if source.module is Module.NORMED_CONV:
            norm(source.norm, size)
            state[f"{source.norm}.running_mean"] = even(size, 0.2)
            state[f"{source.norm}.running_var"] = draw(size, low=0.2, high=0.8)
            state[f"{source.norm}.num_batches_tracked"] = np.array(1000, np.int64)
    return state


_RANGES = {"frontend.mean": (-6.0, -2.0), "frontend.scale": (0.2, 0.5)}
"""Of single tensors; others, but for positions, are in [-1, 1)."""


def random_model(
    config: Config, seed: int, qk_gain: float = 1.0
) -> tuple[Config, dict[str, np.ndarray]]:
    """`random_state_dict` as a float32 model, the same bytes on every machine.

    Its positions are random numbers and not sinusoids, whose last bit is the C library's choice.
    """
    state = random_state_dict(config, seed, qk_gain)
    settings = ("heads", "pad", "chunk", "left", "conv", "positions",
                *aed.DEFAULT_TOKENS)
    found, tensors = convert_state_dict(state, extras={
        name: getattr(config, name) for name in settings if hasattr(config, name)})
    for spec in families.tensors(found):
        if spec.kind is Kind.TABLE:
            tensors[spec.name] = Stream(seed)(*spec.shape)
    return found, tensors


def random_tensors(config: Config, seed: int) -> dict[str, np.ndarray]:
    """The tensors of a float32 model of any family, without a checkpoint before them."""
    draw, tensors = Stream(seed), {}
    for spec in families.tensors(config):
        if len(spec.shape) == 2 and spec.kind is Kind.MATRIX:
            tensors[spec.name] = draw.weight(*spec.shape, gain=1.2)
        elif spec.name.endswith("norm.weight"):
            tensors[spec.name] = draw(*spec.shape, low=0.5, high=1.5)
        else:
            tensors[spec.name] = draw(*spec.shape, low=-0.2, high=0.2)
    return tensors


def random_int8_model(
    config: Config, seed: int, qk_gain: float = 1.0
) -> tuple[Config, dict[str, np.ndarray]]:
    """`random_model` quantised."""
    return quantize(*random_model(config, seed, qk_gain))


def sinusoids(frames: int, dim: int) -> np.ndarray:
    """(frames, dim) absolute positions: sin and cos in turn, wavelengths from 2 pi to 20000 pi."""
    rates = 10000.0 ** (-np.arange(0, dim, 2) / dim)
    angles = np.arange(frames)[:, None] * rates
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return waves.reshape(frames, dim).astype(np.float32)
