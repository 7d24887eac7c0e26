"""wav2vec 2.0 (arXiv:2006.11477) and HuBERT (arXiv:2106.07447) with CTC heads at exits.

    samples -> [convolution -> norm? -> gelu]* -> norm -> linear
            -> + gelu(positional convolution) -> [transformer layers -> exit head]*

HuBERT is the same graph. Layers are normed after each sum ("post", the base models), or before each
module ("pre", the large ones); a norm that belongs to a head, which pre-norm layers need, is one of
the head's tensors. `stem` and `groups` serve a family with
another attention too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import config as shared
from ..config import WAVEFORMS
from ..errors import CheckpointError
from ..ops._view import strided
from . import _checkpoint, _speech_layouts, _table
from ._arithmetic import Ops, matrix
from ._checkpoint import Module, Source
from ._speech_layouts import layout, standard
from ._state import Group, Head, State, Stem
from ._table import Kind, Part, Row, Weights
from .conformer import MIN_NORM_EPS

__all__ = ["Config", "OPTIONS", "described", "groups", "heads", "infer", "inferred",
           "is_checkpoint", "layer_prefix", "layout", "parts", "sizes", "sources", "standard",
           "start", "stem"]

CONV_NORMS = ("group", "layer")
NORMS = ("post", "pre")
MAX_CONVS = 16
_CONV = re.compile(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})")


@dataclass(frozen=True, kw_only=True)
class Config(shared.Config):
    """Sizes and choices of wav2vec 2.0 or HuBERT with CTC heads.

    The fields of `ee_ref.config.Config`, of which kernel is the taps of the positional convolution;
    a feature is a sample, so mels, n_fft, win_length and hop_length are 1, and frontend says
    whether samples are brought to zero mean and unit variance ("waveform") or not ("samples").
    norm_eps: epsilon of layer norms and of the group norm. channels: of the feature encoder.
    convs: kernel/stride of its convolutions, "10/5 3/2 ...". conv_bias: 1 where they have a bias,
    else 0. conv_norm: "group", one after the first convolution, of each channel over the utterance,
    or "layer", one after each, over the channels. groups: of the positional convolution.
    norm: "post" or "pre" (see above). head_norm: 1 for an exit whose head begins with a norm.
    """

    architecture: ClassVar[str] = "ee-wav2vec2"
    number: ClassVar[int] = 3
    frontends: ClassVar[tuple[str, ...]] = WAVEFORMS
    has_streams: ClassVar[bool] = False
    positions: ClassVar[str] = "none"
    own: ClassVar[Mapping[str, str]] = MappingProxyType({
        "channels": "I", "groups": "I", "conv_bias": "I", "conv_norm": "I", "norm": "I",
        "buckets": "I", "max_distance": "I", "conv_kernel": f"{MAX_CONVS}H",
        "conv_stride": f"{MAX_CONVS}H", "head_norm": f"{shared.MAX_EXITS}B"})

    max_frames: int = 0
    mels: int = 1
    frontend: str = "waveform"
    n_fft: int = 1
    win_length: int = 1
    hop_length: int = 1
    norm_eps: float = 1e-5
    channels: int = 512
    convs: str = "10/5 3/2 3/2 3/2 3/2 2/2 2/2"
    conv_bias: int = 0
    conv_norm: str = "group"
    groups: int = 16
    norm: str = "post"
    head_norm: tuple[int, ...]

    @property
    def conv_sizes(self) -> tuple[tuple[int, int], ...]:
        """Kernel and stride of each convolution of the feature encoder."""
        return tuple((int(kernel), int(stride)) for kernel, stride in _CONV.findall(self.convs))

    @property
    def conv_kernel(self) -> tuple[int, ...]:
        """Of each convolution of the feature encoder, as C and flash images have it."""
        return tuple(kernel for kernel, _ in self.conv_sizes)

    @property
    def conv_stride(self) -> tuple[int, ...]:
        """Likewise."""
        return tuple(stride for _, stride in self.conv_sizes)

    @classmethod
    def of_own(cls, values: dict[str, Any]) -> dict[str, Any]:
        """See `ee_ref.config.Config.of_own`."""
        sizes = zip(values.pop("conv_kernel"), values.pop("conv_stride"), strict=True)
        convs = " ".join(f"{kernel}/{stride}" for kernel, stride in sizes if kernel)
        names = {field.name for field in fields(cls)}
        return {"convs": convs, **{name: values[name] for name in values if name in names}}

    @property
    def window(self) -> int:
        """Samples that an encoder frame is made of; the next one is `stride` later."""
        window = 1
        for kernel, stride in reversed(self.conv_sizes):
            window = (window - 1) * stride + kernel
        return window

    @property
    def stride(self) -> int:
        """Samples from one encoder frame to the next."""
        return math.prod(stride for _, stride in self.conv_sizes)

    def feature_frames(self, samples: int) -> int:
        """Each sample is one."""
        return samples

    def encoder_frames(self, inputs: int) -> int:
        """Frames after the feature encoder for so many samples."""
        return max(0, (inputs - self.window) // self.stride + 1)

    @property
    def frame_seconds(self) -> float:
        """Seconds between two encoder frames."""
        return self.stride / self.sample_rate

    @property
    def max_seconds(self) -> float:
        """Infinite: nothing limits the length."""
        return math.inf

    def frame_time(self, frame: int) -> float:
        """Centre of encoder frame `frame` in seconds of the audio given."""
        return (self.stride * frame + self.window / 2) / self.sample_rate

    def stem_cost(self, inputs: int) -> int:
        """The convolutions of the feature encoder, the projection, the positional convolution."""
        frames, ins, total = inputs, 1, 0
        for kernel, stride in self.conv_sizes:
            frames = max(0, (frames - kernel) // stride + 1)
            total += frames * kernel * ins * self.channels
            ins = self.channels
        return total + frames * self.dim * (ins + self.kernel * self.dim // self.groups)

    def layer_cost(self, frames: int) -> int:
        """2 D ff + 4 D D a frame, and 2 D for each frame that a frame sees."""
        return frames * self.dim * (2 * self.ff + 4 * self.dim + 2 * frames)

    def costs(self, inputs: int) -> tuple[int, ...]:
        """See `ee_ref.families.conformer.Config.costs`."""
        frames = self.encoder_frames(inputs)
        total, totals = self.stem_cost(inputs), []
        for layers in self.layers_per_exit:
            total += layers * self.layer_cost(frames) + frames * self.dim * self.vocab
            totals.append(total)
        return tuple(totals)

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        require = self._require
        require(self.chunk == 0, "chunk", "0, the full view")
        require(self.max_frames == 0, "max_frames", "0, as there are no positions")
        self._require_positive("norm_eps")
        require(self.norm_eps >= MIN_NORM_EPS, "norm_eps", "at least 2**-40")
        self._require_count("channels", 1)
        self._require_count("groups", 1)
        require(self.dim % self.groups == 0, "groups", f"a divisor of dim {self.dim}")
        sizes = self.convs.split(" ")
        require(len(sizes) <= MAX_CONVS and all(map(_CONV.fullmatch, sizes)), "convs",
                f"kernel/stride of 1 to {MAX_CONVS} convolutions, as in '10/5 3/2'")
        require(max(self.window, self.stride) <= shared.MAX_SIZE, "convs",
                f"windows and steps of at most {shared.MAX_SIZE} samples")
        widest = max(kernel for kernel, _ in self.conv_sizes[1:] or [(1, 1)])
        require(widest * self.channels <= shared.MAX_SIZE, "channels",
                f"with kernels of {widest} at most {shared.MAX_SIZE} values a window")
        require(self.kernel * self.dim // self.groups <= shared.MAX_SIZE, "kernel",
                f"with {self.dim // self.groups} channels a group at most {shared.MAX_SIZE} values "
                "a window")
        require(self.conv_bias in (0, 1), "conv_bias", "0 or 1")
        require(self.conv_norm in CONV_NORMS, "conv_norm", f"one of {list(CONV_NORMS)}")
        require(self.norm in NORMS, "norm", f"one of {list(NORMS)}")
        self._require_per_exit("head_norm", 0, 1)
        return self


# ---- Tensors ----
# Letters: C channels, D dim, E dim / groups, F ff, K kernel, V vocab, W dim / heads, H heads.


def _both(name: str, weight: str, bias: str, kind: Kind = Kind.MATRIX) -> tuple[Row, Row]:
    return Row(f"{name}weight", weight, kind), Row(f"{name}bias", bias, Kind.VECTOR)


def _norm(name: str, size: str) -> tuple[Row, Row]:
    return _both(name, size, size, Kind.VECTOR)


LAYER = (
    *_both("attn.in.", "3D D", "3D"),  # query, key, value, one below the other
    *_both("attn.out.", "D D", "D"),
    *_norm("attn.norm.", "D"),
    *_both("ff.up.", "F D", "F"),
    *_both("ff.down.", "D F", "D"),
    *_norm("ff.norm.", "D"),
)

HEAD = _both("", "V D", "V")


def layer_prefix(group: int, layer: int) -> str:
    """Prefix of the names of a layer's tensors; both numbers from 1."""
    return f"group.{group}.layer.{layer}."


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for."""
    return {"C": config.channels, "D": config.dim, "E": config.dim // config.groups,
            "F": config.ff, "K": config.kernel, "V": config.vocab, "H": config.heads,
            "W": config.dim // config.heads}


def _stem_part(config: Config) -> Part:
    rows: list[Row] = []
    for number, (kernel, _) in enumerate(config.conv_sizes, start=1):
        ins = "C" if number > 1 else ""
        weight, bias = _both(f"conv{number}.", f"C {kernel}{ins}", "C")
        rows += [weight, bias] if config.conv_bias else [weight]
        if _has_norm(config, number):
            rows += _norm(f"conv{number}.norm.", "C")
    rows += [*_norm("proj.norm.", "C"), *_both("proj.", "D C", "D"),
             *_both("positional.", "D KE", "D")]
    if config.norm == "post":
        rows += _norm("norm.", "D")
    return Part("stem.", 0, tuple(rows))


def _has_norm(config: Config, conv: int) -> bool:
    return config.conv_norm == "layer" or conv == 1


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to head k are a model of k exits."""
    yield _table.frontend_part(config)
    yield _stem_part(config)
    for group, layers in enumerate(config.layers_per_exit, start=1):
        for layer in range(1, layers + 1):
            yield Part(layer_prefix(group, layer), group, LAYER)
        norm = _norm("norm.", "D") if config.head_norm[group - 1] else ()
        yield Part(f"head.{group}.", group, (*norm, *HEAD))


# ---- The graph ----

Attention = Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]
"""(rows (T, dim), the tensors of a layer) -> (T, dim)."""


ONE_DIGIT = (2, 3)
"""The convolutions whose input int8 mode quantises to one digit: they have three quarters of the
products of the feature encoder. The others, and the projection, take two (docs/numerics.md)."""


def heads(config: Config) -> tuple[Head, ...]:
    """The output of each exit: log-probabilities of CTC labels."""
    return (Head("ctc", config.vocab),) * config.exits


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning; see `ee_ref.families.conformer.start`."""
    own = Ops(config, ops)
    return State(config, stem(config, weights["stem."], own),
                 [*groups(config, weights, own, _attention(config, own))], capacity)


def stem(config: Config, weights: Mapping[str, np.ndarray], ops: Ops) -> Stem:
    """The feature encoder, its projection and the positional convolution."""
    no_bias = np.zeros(config.channels, np.float32)
    biases = {f"conv{number}.bias": no_bias for number in range(1, len(config.conv_sizes) + 1)}
    weights = {**biases, **weights}

    def encoded(x: np.ndarray) -> np.ndarray:
        for number, (kernel, stride) in enumerate(config.conv_sizes, start=1):
            linear = ops.linear if number in ONE_DIGIT else ops.linear_digits
            x = linear(strided(x, kernel, stride), *matrix(weights, f"conv{number}."))
            if _has_norm(config, number):
                norm = ops.group_norm if config.conv_norm == "group" else ops.layer_norm
                x = norm(x, *matrix(weights, f"conv{number}.norm."), config.norm_eps)
            x = ops.gelu(x)
        return x

    def run(x: np.ndarray, first: int) -> np.ndarray:
        x = ops.layer_norm(encoded(x), *matrix(weights, "proj.norm."), config.norm_eps)
        x = ops.linear_digits(x, *matrix(weights, "proj."))
        x = x + ops.gelu(ops.grouped_conv(x, *matrix(weights, "positional."), config.groups))
        if config.norm == "post":
            x = ops.layer_norm(x, *matrix(weights, "norm."), config.norm_eps)
        return x

    return Stem(config.window, config.stride, run)


def groups(config: Config, weights: Weights, ops: Ops, attend: Attention
           ) -> Iterator[Group]:
    """The layers and the head of each exit."""
    for number, count in enumerate(config.layers_per_exit, start=1):
        own = [weights[layer_prefix(number, layer)] for layer in range(1, count + 1)]
        yield Group(_layers(config, own, ops, attend),
                    _head(config, weights[f"head.{number}."], ops), config.vocab, 0)


def _attention(config: Config, ops: Ops) -> Attention:
    def attend(x: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
        y, _ = ops.multi_head_attention(x, *matrix(own, "attn.in."), *matrix(own, "attn.out."),
                                        config.heads)
        return y

    return attend


def _layers(config: Config, weights: list[dict[str, np.ndarray]], ops: Ops,
            attend: Attention) -> Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]:
    def feed_forward(x: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
        return ops.linear(ops.gelu(ops.linear(x, *matrix(own, "ff.up."))), *matrix(own, "ff.down."))

    def run(x: np.ndarray, past: Any) -> tuple[np.ndarray, Any]:
        for own in weights:
            for module, name in ((attend, "attn.norm."), (feed_forward, "ff.norm.")):
                norm = matrix(own, name)
                if config.norm == "post":
                    x = ops.layer_norm(x + module(x, own), *norm, config.norm_eps)
                else:
                    x = x + module(ops.layer_norm(x, *norm, config.norm_eps), own)
        return x, past

    return run


def _head(config: Config, weights: Mapping[str, np.ndarray], ops: Ops
          ) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        if "norm.weight" in weights:
            x = ops.layer_norm(x, *matrix(weights, "norm."), config.norm_eps)
        return ops.exit_head(x, *matrix(weights, ""))

    return run


# ---- Checkpoints, by the names that `standard` gives ----

OPTIONS = {"heads": "--heads", "norm": "--norm", "frontend": "--frontend"}
"""Fields that shapes do not tell, and what sets them on the command line."""

_CONV_NAME = "feature_extractor.conv_layers.{}."
_LAYER_NAME = "encoder.layers.{}."


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    letters = sizes(config)
    channels, dim = config.channels, config.dim
    for number, (kernel, _) in enumerate(config.conv_sizes, start=1):
        source = _CONV_NAME.format(number - 1)
        yield Source(f"stem.conv{number}", f"{source}conv",
                     (channels, channels if number > 1 else 1, kernel), gain=1.6,
                     has_bias=bool(config.conv_bias))
        if _has_norm(config, number):
            yield Source(f"stem.conv{number}.norm", f"{source}layer_norm", (channels,), Module.NORM)
    yield Source("stem.proj.norm", "feature_projection.layer_norm", (channels,), Module.NORM)
    yield Source("stem.proj", "feature_projection.projection", (dim, channels))
    yield Source("stem.positional", "encoder.pos_conv_embed.conv",
                 (dim, dim // config.groups, config.kernel))
    if config.norm == "post":
        yield Source("stem.norm", "encoder.layer_norm", (dim,), Module.NORM)
    layer = 0
    for group, count in enumerate(config.layers_per_exit, start=1):
        for own in range(1, count + 1):
            yield from _layer_sources(layer_prefix(group, own), _LAYER_NAME.format(layer), letters)
            layer += 1
        if config.head_norm[group - 1]:
            yield Source(f"head.{group}.norm", f"decoders.{group - 1}.norm", (dim,), Module.NORM)
        yield Source(f"head.{group}", f"decoders.{group - 1}", (config.vocab, dim))


def _layer_sources(prefix: str, source: str, letters: Mapping[str, int]) -> Iterator[Source]:
    for name, module, shape, kind in (
        ("attn.in", "attention.in_proj_", "3D D", Module.ATTENTION),
        ("attn.out", "attention.out_proj", "D D", Module.DENSE),
        ("attn.norm", "layer_norm", "D", Module.NORM),
        ("ff.up", "feed_forward.intermediate_dense", "F D", Module.DENSE),
        ("ff.down", "feed_forward.output_dense", "D F", Module.DENSE),
        ("ff.norm", "final_layer_norm", "D", Module.NORM),
    ):
        yield Source(prefix + name, source + module, _table.spelled(shape, letters), kind)


def described(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the files of a folder of Hugging Face tell."""
    return _speech_layouts.described(extras, ("wav2vec2", "hubert"))


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family, in any layout."""
    return any("feature_extractor.conv_layers." in name for name in names)


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply, not validated.

    state: of `standard`. settings: fields of Config that these do not determine, and `exit_layers`
    where they were chosen, `layers` where something else tells how many. Raises CheckpointError.
    """
    return Config(**inferred(state, settings))


def inferred(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration, as `infer` gives it."""
    shape = _checkpoint.shape
    count = _checkpoint.count(state, r"feature_extractor\.conv_layers\.([0-9]{1,4})\.",
                              "convolutions feature_extractor.conv_layers.N")
    kernels = [shape(state, f"{_CONV_NAME.format(n)}conv.weight", 3)[2] for n in range(count)]
    channels = shape(state, f"{_CONV_NAME.format(0)}conv.weight", 3)[0]
    dim, width, kernel = shape(state, "encoder.pos_conv_embed.conv.weight", 3)
    ff, _ = shape(state, f"{_LAYER_NAME.format(0)}feed_forward.intermediate_dense.weight", 2)
    vocab, _ = shape(state, "decoders.0.weight", 2)
    last = _CONV_NAME.format(count - 1)
    conv_norm = _speech_layouts.conv_norm(state)
    exit_layers = _speech_layouts.exit_layers(state, settings)
    found = {"norm": _speech_layouts.norm(state, settings),
             "heads": max(1, dim // HEAD_SIZE),
             "frontend": "samples" if conv_norm == "group" else "waveform",
             "convs": " ".join(f"{kernel}/{2 if n else 5}" for n, kernel in enumerate(kernels)),
             **{name: value for name, value in settings.items()
                if name not in ("exit_layers", "layers")}}
    told = [int(kernel) for kernel, _ in _CONV.findall(found["convs"])]
    if told != kernels:
        raise CheckpointError(f"convs: expected the kernels of the tensors, {kernels}, "
                              f"found {found['convs']!r:.80}")
    return {**found, "exits": len(exit_layers), "dim": dim, "ff": ff, "kernel": kernel,
            "layers_per_exit": tuple(np.diff((0, *exit_layers)).tolist()), "vocab": vocab,
            "channels": channels, "conv_norm": conv_norm,
            "conv_bias": int(f"{last}conv.bias" in state), "groups": max(1, dim // max(1, width)),
            "head_norm": tuple(int(f"decoders.{exit_}.norm.weight" in state)
                               for exit_ in range(len(exit_layers)))}


HEAD_SIZE = 64
"""That of the published models, but for the largest HuBERT; a state dict does not say."""
