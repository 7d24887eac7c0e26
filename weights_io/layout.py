"""The tensors of a model: names, shapes and the one canonical order.

The order is stem, group 1, head 1, group 2, head 2, ...: whoever stops reading after head k holds a
complete model of k exits. Whatever reads or writes a model file or a flash image goes by this list.
The C runtime (kernels/src/runtime) repeats the order and checks the sizes; the converter
(from_torch.py) and the ops of a layer name the tensors that they make and use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from .gguf import ITEM_BYTES, TensorType

if TYPE_CHECKING:
    from ee_ref.config import Config

ROW_BYTES = 16
"""In a model file every row (innermost axis) is padded with zeros to a multiple of this."""

SCALE_SUFFIX = "_scale"
"""Ends the name of the tensor with the scales of an int8 matrix, one a row."""


class TensorSpec(NamedTuple):
    """One tensor of a model.

    shape: logical shape, row-major, without the padding of rows.
    exit: 0 for the front end and the stem, g (from 1) for group g and head g.
    type: F32, or I8 with the scales of its rows in the tensor that follows, `<name>_scale`.
    """

    name: str
    shape: tuple[int, ...]
    exit: int
    type: TensorType = TensorType.F32

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape in a model file, rows padded."""
        return padded_shape(self.shape, ITEM_BYTES[self.type])

    @property
    def dtype(self) -> str:
        """NumPy's name of the type: "float32" or "int8"."""
        return "int8" if self.type == TensorType.I8 else "float32"

    @property
    def is_quantizable(self) -> bool:
        """Whether a "qs8" model holds it in int8: every matrix but the depthwise convolutions."""
        return len(self.shape) == 2 and not self.name.endswith("depthwise.weight")


def layer_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Suffix -> shape of the tensors of one float32 Conformer layer, in canonical order."""
    dim, ff, kernel = config.dim, config.ff, config.kernel
    return {
        "ff1.norm.weight": (dim,),
        "ff1.norm.bias": (dim,),
        "ff1.up.weight": (ff, dim),
        "ff1.up.bias": (ff,),
        "ff1.down.weight": (dim, ff),
        "ff1.down.bias": (dim,),
        "attn.norm.weight": (dim,),
        "attn.norm.bias": (dim,),
        "attn.in.weight": (3 * dim, dim),
        "attn.in.bias": (3 * dim,),
        "attn.out.weight": (dim, dim),
        "attn.out.bias": (dim,),
        "conv.norm.weight": (dim,),
        "conv.norm.bias": (dim,),
        "conv.in.weight": (2 * dim, dim),
        "conv.in.bias": (2 * dim,),
        "conv.depthwise.weight": (kernel, dim),
        "conv.depthwise.bias": (dim,),
        "conv.out.weight": (dim, dim),
        "conv.out.bias": (dim,),
        "ff2.norm.weight": (dim,),
        "ff2.norm.bias": (dim,),
        "ff2.up.weight": (ff, dim),
        "ff2.up.bias": (ff,),
        "ff2.down.weight": (dim, ff),
        "ff2.down.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }


def layer_prefix(group: int, layer: int) -> str:
    """Prefix of the names of a layer's tensors; both numbers from 1."""
    return f"group.{group}.layer.{layer}."


def tensor_specs(config: Config) -> list[TensorSpec]:
    """Every tensor of a model of this configuration, in canonical order."""
    specs = _float_specs(config)
    if config.dtype == "f32":
        return specs
    return [part for spec in specs for part in _quantized(spec)]


def tensor_count(config: Config) -> int:
    """How many `tensor_specs` gives, without making them."""
    one = replace(config, exits=1, layers_per_exit=(1,))
    count = Counter(spec.name.split(".")[0] for spec in tensor_specs(one))
    return (count["frontend"] + count["stem"] + count["group"] * sum(config.layers_per_exit)
            + count["head"] * config.exits)


def _quantized(spec: TensorSpec) -> list[TensorSpec]:
    """What an int8 model has of a tensor: a matrix in int8 and the scales of its rows."""
    if not spec.is_quantizable:
        return [spec]
    return [spec._replace(type=TensorType.I8),
            TensorSpec(spec.name + SCALE_SUFFIX, spec.shape[:1], spec.exit)]


def _float_specs(config: Config) -> list[TensorSpec]:
    dim, mels, taps = config.dim, config.mels, config.stem_kernel
    specs = []
    if config.frontend == "logmel":
        specs += [
            TensorSpec("frontend.mean", (mels,), 0),
            TensorSpec("frontend.scale", (mels,), 0),
        ]
    specs += [
        TensorSpec("stem.positions", (config.max_frames, dim), 0),
        TensorSpec("stem.conv1.weight", (dim, taps * mels), 0),
        TensorSpec("stem.conv1.bias", (dim,), 0),
        TensorSpec("stem.conv2.weight", (dim, taps * dim), 0),
        TensorSpec("stem.conv2.bias", (dim,), 0),
    ]
    in_layer = layer_shapes(config)
    for exit_, layers in enumerate(config.layers_per_exit, start=1):
        for layer in range(1, layers + 1):
            prefix = layer_prefix(exit_, layer)
            specs += [TensorSpec(prefix + suffix, shape, exit_)
                      for suffix, shape in in_layer.items()]
        specs += [
            TensorSpec(f"head.{exit_}.weight", (config.vocab, dim), exit_),
            TensorSpec(f"head.{exit_}.bias", (config.vocab,), exit_),
        ]
    return specs


def padded_shape(shape: tuple[int, ...], item_bytes: int = 4) -> tuple[int, ...]:
    """`shape` with its rows padded to a multiple of ROW_BYTES, as stored in a model file."""
    per_row = ROW_BYTES // item_bytes
    return (*shape[:-1], -(-shape[-1] // per_row) * per_row)
