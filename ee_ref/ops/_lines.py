"""What every op takes and gives, one line each.

    op: array (shape) [int8], scalar, ... -> array (shape) [int8], ... [; rule, ...]

A letter is a size, the same wherever it stands in a line; `3D` is three times D, `KC` is K times C.
Arrays are float32 unless they say int8; one with a `?` may be None, and then has no rows. Scalars
have no shape: `eps` is a float, the others are integers. Rules: `K odd`, `heads divides D`, `stride
positive`, `chunk natural` (0 or more), `ahead below K` (None is K // 2), `N of T without before
after`, which is what is left, and `N frames of F K stride`, the outputs of a convolution without
padding.

The adapters of `ee_ref.native`, the outputs of the conformance cases and the contract test follow
these lines. `weights` of a layer is a mapping of its tensors by name
(ee_ref/families/conformer.py); its `view` and `past` are those of `_view.py`, and what it keeps
comes after y. A port is sent the tensors of `weights`, the scalars of `view`, and
past.kv? (P 2D), past.gated? (Q D).
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

LINES = """
silu: x (T D) -> y (T D)
glu: x (T 2D) -> y (T D)
softmax: x (T D) -> y (T D)
log_softmax: x (T D) -> y (T D)
layer_norm: x (T D), weight (D), bias (D), eps -> y (T D)
linear: x (T I), weight (O I), bias? (O) -> y (T O)
depthwise_conv: x (T D), weight (K D), bias (D), ahead?, before, after -> y (N D); K odd,
    ahead below K, N of T without before after
stem_conv: x (F C), weight (O KC), bias (O), stride -> y (N O); stride positive,
    N frames of F K stride
exit_head: x (T D), weight (V D), bias (V) -> y (T V)
feed_forward: x (T D), norm_weight (D), norm_bias (D), up_weight (H D), up_bias (H),
    down_weight (D H), down_bias (D), eps -> y (T D)
conv_module: x (T D), norm_weight (D), norm_bias (D), in_weight (2D D), in_bias (2D),
    depthwise_weight (K D), depthwise_bias (D), out_weight (D D), out_bias (D), eps, ahead?, chunk,
    past? (P D) -> y (T D), gated (T D); K odd, ahead below K, chunk natural
multi_head_attention: x (T D), in_weight (3D D), in_bias (3D), out_weight (D D), out_bias (D),
    heads, chunk, left, past? (P 2D) -> y (T D), kv (T 2D); heads divides D, chunk natural,
    left natural
conformer_layer: x (T D), weights, heads, eps, view, past? -> y (T D); heads divides D,
    ahead below K, chunk natural, left natural

quantize_qs8: x (T I) -> q (T I) int8, scale (T)
quantize_digits_qs8: x (T I) -> high (T I) int8, low (T I) int8, scale (T)
softmax_qs8: x (T D), value_scale (D) -> high (T D) int8, low (T D) int8, scale (T)
silu_qs8: x (T D) -> y (T D)
glu_qs8: x (T 2D) -> y (T D)
log_softmax_qs8: x (T D) -> y (T D)
layer_norm_qs8: x (T D), weight (D), bias (D), eps -> y (T D)
linear_qs8: q (T I) int8, scale (T), weight (O I) int8, weight_scale (O), bias (O) -> y (T O)
linear_digits_qs8: x (T I), weight (O I) int8, weight_scale (O), bias (O) -> y (T O)
depthwise_conv_qs8: x (T D), weight (K D), bias (D), ahead?, before, after -> y (N D); K odd,
    ahead below K, N of T without before after
stem_conv_qs8: x (F C), weight (O KC) int8, weight_scale (O), bias (O), stride -> y (N O);
    stride positive, N frames of F K stride
exit_head_qs8: x (T D), weight (V D) int8, weight_scale (V), bias (V) -> y (T V)
feed_forward_qs8: x (T D), norm_weight (D), norm_bias (D), up_weight (H D) int8,
    up_weight_scale (H), up_bias (H), down_weight (D H) int8, down_weight_scale (D), down_bias (D),
    eps -> y (T D)
conv_module_qs8: x (T D), norm_weight (D), norm_bias (D), in_weight (2D D) int8,
    in_weight_scale (2D), in_bias (2D), depthwise_weight (K D), depthwise_bias (D),
    out_weight (D D) int8, out_weight_scale (D), out_bias (D), eps, ahead?, chunk, past? (P D)
    -> y (T D), gated (T D); K odd, ahead below K, chunk natural
multi_head_attention_qs8: x (T D), in_weight (3D D) int8, in_weight_scale (3D), in_bias (3D),
    out_weight (D D) int8, out_weight_scale (D), out_bias (D), heads, chunk, left, past? (P 2D)
    -> y (T D), kv (T 2D); heads divides D, chunk natural, left natural
conformer_layer_qs8: x (T D), weights, heads, eps, view, past? -> y (T D); heads divides D,
    ahead below K, chunk natural, left natural
"""


class Argument(NamedTuple):
    """An array, or with `shape` None a scalar (or the weights of a layer).

    shape: one factor list an axis, ("T",), ("3", "D"), ("K", "C").
    """

    name: str
    shape: tuple[tuple[str, ...], ...] | None
    is_int8: bool = False
    is_optional: bool = False

    @property
    def words(self) -> list[str]:
        """The letters of an array; of a scalar its name."""
        if self.shape is None:
            return [self.name]
        return [factor for axis in self.shape for factor in axis if factor.isalpha()]

    @property
    def spelled(self) -> str:
        """The shape of an array as in a line, with int8 behind it: "(O KC) int8"."""
        axes = " ".join(map("".join, self.shape or ()))
        return f"({axes}){' int8' if self.is_int8 else ''}"


class Line(NamedTuple):
    """The line of an op. rules: their words, ("K", "odd")."""

    op: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    rules: tuple[tuple[str, ...], ...]


@cache
def lines() -> dict[str, Line]:
    """Every line by the name of its op."""
    whole = LINES.replace("\n    ", " ")  # a line that is indented goes on
    parsed = map(_line, filter(None, whole.splitlines()))
    return {line.op: line for line in parsed}


def _line(text: str) -> Line:
    op, rest = text.split(": ")
    arguments, _, rules = rest.partition("; ")
    inputs, outputs = arguments.split(" -> ")
    return Line(op, _arguments(inputs), _arguments(outputs),
                tuple(tuple(rule.split()) for rule in rules.split(", ") if rule))


def _arguments(text: str) -> tuple[Argument, ...]:
    return tuple(map(_argument, text.split(", ")))


def _argument(text: str) -> Argument:
    found = re.fullmatch(r"(\w+)(\?)?(?: \(([^)]*)\))?( int8)?", text)
    if found is None:
        raise ValueError(f"expected a name and a shape, found {text!r}")
    name, optional, shape, int8 = found.groups()
    axes = None if shape is None else tuple(tuple(axis) for axis in shape.split())
    return Argument(name, axes, bool(int8), bool(optional))
