"""The early-exit Conformer (arXiv:2309.09546; layers of torchaudio) with a CTC head at every exit.

    stem_conv -> stem_conv -> + positions -> [conformer layers -> exit head]*

Its tables, costs and graph are made of pieces that a family with other groups of the same layers
can take: `STEM`, `LAYER`, `HEAD`, `stem`, `layers`, `head`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import config as shared
from ..config import FRONTENDS
from ..errors import CheckpointError, some
from ..ops import LayerPast, View
from . import _checkpoint, _table
from ._arithmetic import matrix, op, rows
from ._checkpoint import Module, Source
from ._state import Group, Head, State, Stem
from ._table import SCALE_SUFFIX, Kind, Part, Row, Weights

CONVS = ("centred", "causal", "chunk")
POSITIONS = ("table", "none")
MIN_NORM_EPS = 2.0**-40  # int8 mode takes differences below 2**-50 for zero (docs/numerics.md)


@dataclass(frozen=True, kw_only=True)
class Config(shared.Config):
    """Sizes and choices of an early-exit Conformer-CTC model (paper, section 2).

    The fields of `ee_ref.config.Config`, of which kernel, the taps of the depthwise convolution, is
    odd and max_frames counts the rows of the position table, and:
    norm_eps: epsilon of layer norms. stem_kernel, stem_stride: of the two convolutions of the stem.
    conv: frames that the depthwise convolution reaches: "centred", "causal" (none ahead) or "chunk"
    (centred, but none after the frame's chunk). positions: "table", or "none", and then there is no
    limit of length.
    """

    architecture: ClassVar[str] = "ee-conformer"
    number: ClassVar[int] = 1
    since: ClassVar[int] = 1

    norm_eps: float = 1e-5
    stem_kernel: int = 3
    stem_stride: int = 2
    conv: str = field(default="centred", metadata={"since": 3})
    positions: str = field(default="table", metadata={"since": 3})

    @property
    def ahead(self) -> int:
        """Frames ahead that the depthwise convolution reaches, within the chunk."""
        return 0 if self.conv == "causal" else self.kernel // 2

    @property
    def view(self) -> View:
        """What a frame of a layer sees of the others."""
        return View(self.chunk, self.left, self.ahead)

    @cached_property
    def window(self) -> int:
        """Frames of features that an encoder frame is made of; the next one is `stride` later."""
        return (self.stem_kernel - 1) * (1 + self.stem_stride) + 1

    @cached_property
    def stride(self) -> int:
        """Frames of features from one encoder frame to the next."""
        return self.stem_stride**2

    def encoder_frames(self, inputs: int) -> int:
        """Frames after the two stem convolutions for `inputs` frames of features."""
        return max(0, (inputs - self.window) // self.stride + 1)

    @property
    def frame_seconds(self) -> float:
        """Seconds between two encoder frames."""
        return self.stride * self.hop_length / self.sample_rate

    @property
    def max_seconds(self) -> float:
        """Longest audio, in seconds, that the position table covers; infinite without one."""
        if self.positions == "none":
            return math.inf
        # Features short of one encoder frame more.
        inputs = self.window + self.stride * self.max_frames - 1
        return (inputs * self.hop_length - 1 - 2 * self.pad) / self.sample_rate

    def frame_time(self, frame: int) -> float:
        """Centre of encoder frame `frame` in seconds of the audio given (before padding)."""
        mel_frame = self.stride * frame + self.window // 2
        return (mel_frame * self.hop_length - self.pad) / self.sample_rate

    def stem_cost(self, inputs: int) -> int:
        """K mels D a frame of the first convolution and K D D one of the second, K = stem_kernel.
        """
        half = max(0, (inputs - self.stem_kernel) // self.stem_stride + 1)
        return self.stem_kernel * self.dim * (
            half * self.mels + self.encoder_frames(inputs) * self.dim)

    def costs(self, inputs: int) -> tuple[int, ...]:
        """Multiply-accumulates up to and including each exit for so many frames of features.

        Heads of earlier exits are included: they run on the way. Norms, activations, softmax and
        the mel front end are not counted.
        """
        frames = self.encoder_frames(inputs)
        total, totals = self.stem_cost(inputs), []
        for layers in self.layers_per_exit:
            total += layers * layer_cost(self, frames) + head_cost(self, frames)
            totals.append(total)
        return tuple(totals)

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        require = self._require
        require(self.kernel % 2 == 1, "kernel", "odd")
        require(self.stem_kernel == 3, "stem_kernel", "3")
        require(self.stem_stride == 2, "stem_stride", "2")
        self._require_positive("norm_eps")
        require(self.norm_eps >= MIN_NORM_EPS, "norm_eps", "at least 2**-40")
        require(self.conv in CONVS, "conv", f"one of {list(CONVS)}")
        if self.chunk:
            require(self.conv != "centred", "conv", "'causal' or 'chunk' with a chunk")
        else:
            require(self.conv != "chunk", "conv", "'centred' or 'causal' without a chunk")
        require(self.positions in POSITIONS, "positions", f"one of {list(POSITIONS)}")
        if self.positions == "table":
            self._require_count("max_frames", 1)
        else:
            require(self.max_frames == 0, "max_frames", "0 without positions")
        return self


# ---- Tensors ----
# Letters: D dim, F ff, K kernel, V vocab, M mels, P max_frames, S stem_kernel.

STEM = (
    # name           shape   kind
    Row("positions", "P D", Kind.TABLE),  # added to what the convolutions give
    Row("conv1.weight", "D SM", Kind.MATRIX),  # taps outer, channels inner
    Row("conv1.bias", "D", Kind.VECTOR),
    Row("conv2.weight", "D SD", Kind.MATRIX),
    Row("conv2.bias", "D", Kind.VECTOR),
)

LAYER = (
    Row("ff1.norm.weight", "D", Kind.VECTOR),
    Row("ff1.norm.bias", "D", Kind.VECTOR),
    Row("ff1.up.weight", "F D", Kind.MATRIX),
    Row("ff1.up.bias", "F", Kind.VECTOR),
    Row("ff1.down.weight", "D F", Kind.MATRIX),
    Row("ff1.down.bias", "D", Kind.VECTOR),
    Row("attn.norm.weight", "D", Kind.VECTOR),
    Row("attn.norm.bias", "D", Kind.VECTOR),
    Row("attn.in.weight", "3D D", Kind.MATRIX),  # query, key, value, one below the other
    Row("attn.in.bias", "3D", Kind.VECTOR),
    Row("attn.out.weight", "D D", Kind.MATRIX),
    Row("attn.out.bias", "D", Kind.VECTOR),
    Row("conv.norm.weight", "D", Kind.VECTOR),
    Row("conv.norm.bias", "D", Kind.VECTOR),
    Row("conv.in.weight", "2D D", Kind.MATRIX),  # values, then gates
    Row("conv.in.bias", "2D", Kind.VECTOR),
    Row("conv.depthwise.weight", "K D", Kind.TAPS),  # batch norm folded in
    Row("conv.depthwise.bias", "D", Kind.VECTOR),
    Row("conv.out.weight", "D D", Kind.MATRIX),
    Row("conv.out.bias", "D", Kind.VECTOR),
    Row("ff2.norm.weight", "D", Kind.VECTOR),
    Row("ff2.norm.bias", "D", Kind.VECTOR),
    Row("ff2.up.weight", "F D", Kind.MATRIX),
    Row("ff2.up.bias", "F", Kind.VECTOR),
    Row("ff2.down.weight", "D F", Kind.MATRIX),
    Row("ff2.down.bias", "D", Kind.VECTOR),
    Row("norm.weight", "D", Kind.VECTOR),
    Row("norm.bias", "D", Kind.VECTOR),
)

HEAD = (Row("weight", "V D", Kind.MATRIX), Row("bias", "V", Kind.VECTOR))


def layer_prefix(group: int, layer: int) -> str:
    """Prefix of the names of a layer's tensors; both numbers from 1."""
    return f"group.{group}.layer.{layer}."


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for."""
    return {"D": config.dim, "F": config.ff, "K": config.kernel, "V": config.vocab,
            "M": config.mels, "P": config.max_frames, "S": config.stem_kernel}


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to head k are a model of k exits."""
    yield _table.frontend_part(config)
    yield Part("stem.", 0, STEM if config.positions == "table" else STEM[1:])
    for group, layers in enumerate(config.layers_per_exit, start=1):
        for layer in range(1, layers + 1):
            yield Part(layer_prefix(group, layer), group, LAYER)
        yield Part(f"head.{group}.", group, HEAD)


# ---- Costs, in multiply-accumulates ----


def layer_cost(config: Config, frames: int) -> int:
    """4 D ff + 7 D D + kernel D a frame, and 2 D for each frame that a frame sees.

    That is feed-forwards; attention 3 + 1 and pointwise convolutions 2 + 1; the depthwise
    convolution; attention's scores and their weighted sum.
    """
    chunk, seen = config.chunk or max(frames, 1), 0
    for begin in range(0, frames, chunk):
        end = min(frames, begin + chunk)
        seen += (end - begin) * (end - max(0, begin - config.left))
    return config.dim * (frames * (4 * config.ff + 7 * config.dim + config.kernel) + 2 * seen)


def head_cost(config: Config, frames: int) -> int:
    """D vocab a frame."""
    return frames * config.dim * config.vocab


# ---- The graph ----


def heads(config: Config) -> tuple[Head, ...]:
    """The output of each exit: log-probabilities of CTC labels."""
    return (Head("ctc", config.vocab),) * config.exits


def start(
    config: Config, weights: Weights, ops: ModuleType, capacity: int | None = None
) -> State:
    """An utterance at its beginning.

    weights: from `families.grouped`; ops: `ee_ref.ops`; capacity: see `State`.
    """
    return State(config, stem(config, weights["stem."], ops), [*groups(config, weights, ops)],
                 capacity)


def groups(config: Config, weights: Weights, ops: ModuleType) -> Iterator[Group]:
    """The layers and the head of each exit."""
    for number, count in enumerate(config.layers_per_exit, start=1):
        own = [weights[layer_prefix(number, layer)] for layer in range(1, count + 1)]
        yield Group(layers(config, own, ops), head(weights[f"head.{number}."], ops), config.vocab,
                    count * reach(config))


def stem(config: Config, weights: Mapping[str, np.ndarray], ops: ModuleType) -> Stem:
    """Two convolutions, nothing between them, then the positions."""
    stem_conv = op(ops, "stem_conv", config.dtype)

    def run(x: np.ndarray, first: int) -> np.ndarray:
        for conv in ("conv1", "conv2"):
            x = stem_conv(x, *matrix(weights, f"{conv}."), config.stem_stride)
        return placed(config, weights, x, first)

    return Stem(config.window, config.stride, run)


def placed(config: Config, weights: Mapping[str, np.ndarray], x: np.ndarray, first: int
           ) -> np.ndarray:
    """Rows of the stem from `first` on, with their positions added, if there are any."""
    if config.positions == "none":
        return x
    return x + rows(weights, "positions", slice(first, first + len(x)))


def layers(config: Config, weights: Sequence[Mapping[str, np.ndarray]], ops: ModuleType
           ) -> Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]:
    """One layer after another, each with a past of its own: the `run` of a `Group`."""
    conformer_layer = op(ops, "conformer_layer", config.dtype)

    def run(x: np.ndarray, past: Sequence[LayerPast] | None
            ) -> tuple[np.ndarray, Sequence[LayerPast]]:
        new: list[LayerPast] = []
        for own, before in zip(weights, past or itertools.repeat(None)):
            x, after = conformer_layer(x, own, config.heads, config.norm_eps, config.view, before)
            new.append(after)
        return x, new

    return run


def head(weights: Mapping[str, np.ndarray], ops: ModuleType
         ) -> Callable[[np.ndarray], np.ndarray]:
    """The CTC head of an exit: the `head` of a `Group`."""
    exit_head = op(ops, "exit_head", "qs8" if "weight" + SCALE_SUFFIX in weights else "f32")
    return lambda x: exit_head(x, *matrix(weights))


def reach(config: Config) -> int:
    """Chunks before its own on which a frame depends through one layer."""
    if not config.chunk:
        return 0
    behind = config.kernel - 1 - config.ahead
    return -(-behind // config.chunk) - (-config.left // config.chunk)


# ---- Checkpoints of the published layout ----

_LAYER_SOURCES = (
    # name, source, shape, module, batch norm, gain
    ("ff1.norm", "ffn1.sequential.0", "D", Module.NORM),
    ("ff1.up", "ffn1.sequential.1", "F D"),
    ("ff1.down", "ffn1.sequential.4", "D F"),
    ("attn.norm", "self_attn_layer_norm", "D", Module.NORM),
    ("attn.in", "self_attn.in_proj_", "3D D", Module.ATTENTION),
    ("attn.out", "self_attn.out_proj", "D D", Module.DENSE, "", 0.4),
    ("conv.norm", "conv_module.layer_norm", "D", Module.NORM),
    ("conv.in", "conv_module.sequential.0", "2D D 1", Module.DENSE, "", 1.2),
    ("conv.depthwise", "conv_module.sequential.2", "D 1 K", Module.NORMED_CONV,
     "conv_module.sequential.3", 1.2),
    ("conv.out", "conv_module.sequential.5", "D D 1", Module.DENSE, "", 1.2),
    ("ff2.norm", "ffn2.sequential.0", "D", Module.NORM),
    ("ff2.up", "ffn2.sequential.1", "F D"),
    ("ff2.down", "ffn2.sequential.4", "D F"),
    ("norm", "final_layer_norm", "D", Module.NORM),
)


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of this configuration has."""
    letters = sizes(config)

    def spelled(shape: str) -> tuple[int, ...]:
        return _table.spelled(shape, letters)

    for row in _table.frontend_part(config).rows:
        name = f"frontend.{row.name}"
        yield Source(name, name, spelled(row.shape), Module.TENSOR)
    yield Source("stem.conv1", "conv_subsample.sequential.0", spelled("D M S"))
    yield Source("stem.conv2", "conv_subsample.sequential.1", spelled("D D S"))
    if config.positions == "table":
        yield Source("stem.positions", "positional_encoder.pe", spelled("P 1 D"), Module.TENSOR)
    for group, count in enumerate(config.layers_per_exit):
        yield Source(f"head.{group + 1}", f"linears.{group}", spelled("V D"))
        for layer in range(count):
            yield from layer_sources(layer_prefix(group + 1, layer + 1),
                                     f"conformer.{group}.conformer_layers.{layer}.", letters)


def layer_sources(prefix: str, source: str, letters: Mapping[str, int]) -> Iterator[Source]:
    """The modules of a layer, of the model's names behind `prefix` and the checkpoint's behind
    `source`."""
    for name, module, shape, *rest in _LAYER_SOURCES:
        found = Source(prefix + name, source + module, _table.spelled(shape, letters), *rest)
        yield found._replace(norm=source + found.norm if found.norm else "")


OPTIONS = {"heads": "--heads"}
"""Fields that shapes do not tell, and what sets them on the command line."""


def described(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing: files beside a checkpoint of this family tell the fields by their own names."""
    return {}


def layout(names: Iterable[str]) -> str:
    """Whose names these are."""
    return "the authors"


def standard(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]
             ) -> dict[str, np.ndarray]:
    """The state dict by the names of models with several exits. Its exits cannot be chosen.

    Raises CheckpointError for exits that were chosen, and for a tensor of either name.
    """
    if settings.get("exit_layers") is not None:
        raise CheckpointError("exits: expected none for a Conformer, whose checkpoint has groups "
                              f"of layers, found {some(settings['exit_layers'], 20)}")
    named: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        several = next((name.replace(one, more, 1) for one, more in _ONE_EXIT.items()
                        if name.startswith(one)), name)
        if several != name and several in state:
            raise CheckpointError("expected the names of a model with one exit or of one with "
                                  f"several, found {some([name, several])}")
        named[several] = tensor
    return named


_ONE_EXIT = {"linear.": "linears.0.",
             "conformer.conformer_layers.": "conformer.0.conformer_layers."}
"""How names of models with one exit begin, and those of models with several."""


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family."""
    return any(name.startswith("conformer.") for name in names)


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply.

    settings: fields of Config that these do not determine. Raises CheckpointError. Not validated.
    """
    exits = _checkpoint.count(state, r"linears\.([0-9]{1,4})\.", "exit heads linears.N")
    groups = _checkpoint.count(state, r"conformer\.([0-9]{1,4})\.", "groups of layers conformer.N")
    if exits != groups:
        raise CheckpointError(f"expected as many exit heads as groups of layers, found {exits} "
                              f"heads and {groups} groups")
    layers_per_exit = tuple(
        _checkpoint.count(state, rf"conformer\.{group}\.conformer_layers\.([0-9]{{1,4}})\.",
                          f"layers conformer.{group}.conformer_layers.N")
        for group in range(groups))
    return Config(exits=exits, layers_per_exit=layers_per_exit,
                  **inferred(state, settings, "conv_subsample.sequential.0"))


def inferred(state: Mapping[str, np.ndarray], settings: Mapping[str, Any], stem_conv: str
             ) -> dict[str, Any]:
    """The fields that do not depend on how layers make groups; stem_conv: the first convolution."""
    dim, mels, stem_kernel = _checkpoint.shape(state, f"{stem_conv}.weight", 3)
    max_frames = 0
    if settings.get("positions") != "none":
        max_frames, _, _ = _checkpoint.shape(state, "positional_encoder.pe", 3)
    vocab, _ = _checkpoint.shape(state, "linears.0.weight", 2)
    layer = "conformer.0.conformer_layers.0"
    ff, _ = _checkpoint.shape(state, f"{layer}.ffn1.sequential.1.weight", 2)
    _, _, kernel = _checkpoint.shape(state, f"{layer}.conv_module.sequential.2.weight", 3)
    frontend = settings.get("frontend") or ("logmel" if "frontend.mean" in state else "mel")
    n_fft, win_length, hop_length = FRONTENDS[frontend]
    return {"dim": dim, "ff": ff, "kernel": kernel, "vocab": vocab, "max_frames": max_frames,
            "mels": mels, "stem_kernel": stem_kernel, "heads": DEFAULT_HEADS, "n_fft": n_fft,
            "win_length": win_length, "hop_length": hop_length, **settings, "frontend": frontend}


DEFAULT_HEADS = 8
"""That of the published models; a state dict does not say."""
