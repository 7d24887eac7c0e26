"""The adapters: an op of `ee_ref.ops` with its kernel behind it, made of its line.

The line of an op (`ee_ref.ops._lines`) says which arrays it takes and gives, and `call_of` what
follows the pointers of these in the call of the kernel. The weights of a layer are a mapping, so
that the two `conformer_layer` are by hand, in `_conformer_layer.py`, over the same `kernel`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import ops as specifications
from ..errors import ArgumentError, ShapeError
from ..ops._lines import Argument, Line, lines
from ..ops._names import stem_and_mode
from ._arrays import check, int8_rows, padded, padded_int8, pointer, scratch, scratch_qs8
from ._lib import ffi, lib, ops, team


class Call(NamedTuple):
    """How a kernel is called, after the pointers of outputs and inputs.

    sizes: words, each a letter or scalar of the line, a number, a product `T*D`, or the stride of
    an array, `q.stride`. A composite is a function of its own, which also gets `scratch` of that
    many (when any), the ops and the team; its float weights have padded rows. overwrites: the input
    whose place the kernel uses for numbers of its own.
    """

    sizes: str
    scratch: str = ""
    is_composite: bool = False
    overwrites: str = ""


OTHERWISE: dict[str, dict[str, Any]] = {
    "silu": {"sizes": "T*D"},
    "gelu": {"sizes": "T*D"},
    "gated_attention": {"sizes": "T D H", "scratch": "T D H"},
    "linear": {"sizes": "T I O O I I"},
    "depthwise_conv": {"sizes": "N before after D K ahead D"},
    "conv_module": {"scratch": "T D K ahead P"},
    "quantize_qs8": {"sizes": "T I q.stride I"},
    "quantize_digits_qs8": {"sizes": "T I high.stride I"},
    "linear_digits_qs8": {"sizes": "T I O I", "is_composite": True},  # the member is a part of it
    "linear_qs8": {"sizes": "T I O O q.stride weight.stride"},
    "softmax_qs8": {"sizes": "T D high.stride", "overwrites": "x"},
}
"""Where a kernel is not called as `call_of` says; of both modes, unless the int8 op has a row."""

LAYER = Call("T D heads H K eps", "view T D heads H K", is_composite=True)
"""How the two `conformer_layer` are called after their pointers, of which `view` is one."""


def call_of(op: str) -> Call:
    """How the kernel of an op is called: with sizes and scalars as the line first names them.

    Scratch is for all of these but eps, where the library has a function that says how much. What
    is no member of the table of an instruction set is a composite.
    """
    stem, mode = stem_and_mode(op)
    sizes = dict.fromkeys(word for argument in lines()[op].inputs for word in argument.words)
    needs_scratch = hasattr(lib, f"{_composite(op)}_scratch")
    usual = Call(
        sizes=" ".join(sizes),
        scratch=" ".join(word for word in sizes if word != "eps" and needs_scratch),
        is_composite=stem not in dict(ffi.typeof(f"ee_ops_{mode}").fields),
    )
    return usual._replace(**OTHERWISE.get(op, OTHERWISE.get(stem, {})))


def _composite(op: str) -> str:
    """What its name in C begins with."""
    return f"ee_{op}" if stem_and_mode(op)[1] == "qs8" else f"ee_{op}_f32"


def adapter(op: str) -> Callable[..., Any]:
    """The op on the C kernels, with the signature of `ee_ref.ops`.

    Raises ShapeError for an array of another dtype, shape or layout, ArgumentError for a scalar
    out of its range.
    """
    line, call, specification = lines()[op], call_of(op), getattr(specifications, op)
    signature = inspect.signature(specification)
    scalars = [argument.name for argument in line.inputs if argument.shape is None]

    @functools.wraps(specification)
    def run(*values: Any, **named: Any) -> Any:
        bound = signature.bind(*values, **named)
        bound.apply_defaults()
        given = bound.arguments
        sizes = {name: given[name] for name in scalars}
        for argument in line.inputs:
            if argument.shape is not None:
                _take(argument, given[argument.name], sizes)
                _infer(line, sizes)
        _obey(line, sizes)
        outputs = [_made(argument, sizes, None if number else given.get("x"))
                   for number, argument in enumerate(line.outputs)]
        inputs = [_laid_out(argument, given[argument.name], call)
                  for argument in line.inputs if argument.shape is not None]
        names = [argument.name for argument in (*line.outputs, *line.inputs)
                 if argument.shape is not None]
        arrays: dict[str, Any] = dict(zip(names, (*outputs, *inputs)))
        kernel(op, call, sizes)(*map(pointer, arrays.values()), *words(call, sizes, arrays))
        results = [output[:, :_shape(argument, sizes)[1]] if argument.is_int8 else output
                   for argument, output in zip(line.outputs, outputs)]
        return results[0] if len(results) == 1 else tuple(results)

    return run


def _product(factors: Iterable[str], sizes: Mapping[str, Any]) -> Any:
    """The product of numbers and named sizes; eps alone is a float."""
    return prod(int(factor) if factor.isdigit() else sizes[factor] for factor in factors)


def _shape(argument: Argument, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an array whose letters are known."""
    return tuple(_product(axis, sizes) for axis in argument.shape or ())


def _take(argument: Argument, array: np.ndarray | None, sizes: dict[str, int]) -> None:
    """Check an array by the letters known so far; learn the others from it."""
    assert argument.shape is not None
    if array is None and argument.is_optional:
        sizes.setdefault(argument.shape[0][0], 0)
        return
    known = [all(factor.isdigit() or factor in sizes for factor in axis) for axis in argument.shape]
    wanted = [_product(axis, sizes) if is_known else None
              for axis, is_known in zip(argument.shape, known)]
    found = check(argument.name, array, *wanted, dtype=np.int8 if argument.is_int8 else np.float32)
    for axis, size, is_known in zip(argument.shape, found, known):
        if not is_known:
            _learn(argument.name, axis, size, sizes)


def _learn(name: str, axis: tuple[str, ...], size: int, sizes: dict[str, int]) -> None:
    """The one unknown letter of an axis, which the others have to divide."""
    (letter,) = (factor for factor in axis if not factor.isdigit() and factor not in sizes)
    others = _product((factor for factor in axis if factor != letter), sizes)
    if size % others:
        wanted = "an even number of" if others == 2 else f"a multiple of {others}"
        raise ShapeError(f"{name}: expected {wanted} columns, found {size}")
    sizes[letter] = size // others


def _infer(line: Line, sizes: dict[str, int]) -> None:
    """The letters that rules make of those known so far."""
    for rule in line.rules:
        match rule:
            case (letter, "is", first, "times", second) if first in sizes and second not in sizes:
                if sizes[letter] % sizes[first]:
                    raise ShapeError(f"{_first_with(line, first)}: expected a divisor of "
                                     f"{sizes[letter]} columns, found {sizes[first]}")
                sizes[second] = sizes[letter] // sizes[first]
            case (letter, "spans", frames) if sizes.get(frames) and letter not in sizes:
                sizes[letter] = 2 * sizes[frames] - 1


def _obey(line: Line, sizes: dict[str, int]) -> None:
    for rule in line.rules:
        match rule:
            case (letter, "odd"):
                if sizes[letter] % 2 == 0:
                    raise ShapeError(f"{_first_with(line, letter)}: expected an odd number of "
                                     f"taps, found {sizes[letter]}")
            case (scalar, "divides", letter):
                if sizes[scalar] < 1 or sizes[letter] % sizes[scalar]:
                    raise ArgumentError(f"{scalar}: expected a divisor of {sizes[letter]}, "
                                        f"found {sizes[scalar]}")
            case (scalar, "below", letter):
                if sizes[scalar] is None:
                    sizes[scalar] = sizes[letter] // 2
                if not 0 <= sizes[scalar] < sizes[letter]:
                    raise ArgumentError(f"{scalar}: expected 0..{sizes[letter] - 1}, "
                                        f"found {sizes[scalar]}")
            case (scalar, "natural"):
                if sizes[scalar] < 0:
                    raise ArgumentError(f"{scalar}: expected at least 0, found {sizes[scalar]}")
            case (letter, "of", frames, "without", *around):
                sizes[letter] = sizes[frames] - sum(sizes[scalar] for scalar in around)
                if min(sizes[letter], *(sizes[scalar] for scalar in around)) < 0:
                    raise ArgumentError(
                        f"{', '.join(around)}: expected at least 0, and at most {sizes[frames]} "
                        f"together, found {', '.join(str(sizes[scalar]) for scalar in around)}")
            case (letter, "taps", "of", dim, groups):
                width = sizes[dim] // sizes[groups]
                if sizes[letter] % width:
                    raise ShapeError(f"{_first_with(line, letter)}: expected a multiple of {width} "
                                     f"columns, found {sizes[letter]}")
            case (scalar, "positive"):
                if sizes[scalar] < 1:
                    raise ArgumentError(f"{scalar}: expected at least 1, found {sizes[scalar]}")
            case (letter, "frames", "of", frames, kernel, stride):
                sizes[letter] = lib.ee_stem_conv_f32_frames(
                    sizes[frames], sizes[kernel], sizes[stride])


def _first_with(line: Line, letter: str) -> str:
    """The name of the first array of which an axis is this letter."""
    return next(argument.name for argument in line.inputs
                if argument.shape and (letter,) in argument.shape)


def _made(argument: Argument, sizes: Mapping[str, int], x: np.ndarray | None) -> np.ndarray:
    """Memory for an output."""
    shape = _shape(argument, sizes)
    if argument.is_int8:
        return int8_rows(*shape)
    if x is not None and x.shape == shape:
        return np.empty_like(x)
    return np.empty(shape, np.float32)


def _laid_out(argument: Argument, array: np.ndarray | None, call: Call) -> np.ndarray | None:
    """An input as the kernel reads it."""
    if array is None:
        return None
    if argument.is_int8:
        return padded_int8(array)
    if argument.name == call.overwrites:
        return array.copy()
    return padded(array) if call.is_composite and "weight" in argument.name and array.ndim == 2 \
        else array


def words(
    call: Call, sizes: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> list[int | float]:
    """What the words of `call.sizes` stand for."""
    return [arrays[word.removesuffix(".stride")].shape[1] if word.endswith(".stride")
            else _product(word.split("*"), sizes)
            for word in call.sizes.split()]


def kernel(op: str, call: Call, sizes: Mapping[str, int]) -> Callable[..., None]:
    """The kernel at the instruction set in use, with what a composite gets at its end."""
    stem, mode = stem_and_mode(op)
    table = getattr(ops(), mode)
    if not call.is_composite:
        return getattr(table, stem)
    name = _composite(op)
    function = getattr(lib, f"{name}_c")
    if not call.scratch:
        return lambda *arguments: function(*arguments, table, team())
    count = getattr(lib, f"{name}_scratch")(
        *(sizes[word] for word in call.scratch.split()), team())
    memory = scratch_qs8(count) if mode == "qs8" else pointer(scratch(count))
    return lambda *arguments: function(*arguments, memory, table, team())
