"""Every op of the C library over the shapes of the 31.5 M parameter model, and of its relatives
where it does not call them.

    python benchmarks/ops.py --seconds 10 --dtypes f32 qs8

Ops and arguments are caught while the NumPy reference runs one layer, so that no shape is listed by
hand; and the time is that of the C call alone, taken inside the adapter of `ee_ref.native`. Prints
one JSON line for each op, shape and instruction set with a kernel of its own (composites: every
set).
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
from common import PEAK_OF, Line, emit, frames_of, load, machine, parser_of, peaks, yardstick

from ee_ref import ops
from ee_ref.bench import spread
from ee_ref.conformance.draw import Stream, random_features
from ee_ref.encoder import ReferenceEncoder
from ee_ref.ops._names import stem_and_mode
from tests.support import FULL_LSTM

DTYPES = ("f32", "qs8")
SECONDS_A_KERNEL, FEWEST, MOST = 0.12, 3, 25  # samples of one kernel and shape
SAMPLE = 0.001  # a sample is as many calls as take about this long


@dataclass
class Call:
    """An op as the model calls it: its arguments, how often in one forward pass, how many
    multiply-accumulates one call has, and the bytes of its arguments and results."""

    op: str
    arguments: dict[str, Any]
    calls: int
    macs: int
    bytes: int


def trace(dtype: str, seconds: float) -> list[Call]:
    """What one forward pass calls, each op and shape once: a model of one layer is run, and its
    calls counted for all layers and heads."""
    config, tensors = yardstick(dtype)
    short = replace(config, exits=1, layers_per_exit=(1,))
    frames = frames_of(seconds)
    found: dict[tuple, Call] = {}
    repeated = {"conformer_layer": sum(config.layers_per_exit), "exit_head": config.exits}
    with _caught(found, repeated):
        for _ in ReferenceEncoder(short, tensors).exits(random_features(frames, 3)):
            pass
    return [*found.values(), _lstm(dtype, config.encoder_frames(frames))]


def _lstm(dtype: str, rows: int) -> Call:
    """The second of the LSTMs in a head, as the authors' models with such heads call it."""
    draw, width = Stream(3), FULL_LSTM.lstm_width
    arguments = {"x": draw(rows, 2 * width), "in_weight": draw.weight(8 * width, 2 * width),
                 "in_bias": draw.bias(8 * width), "forward_weight": draw.weight(4 * width, width),
                 "backward_weight": draw.weight(4 * width, width)}
    op = "lstm"
    if dtype == "qs8":
        op = "lstm_qs8"
        for name in ("in_weight", "forward_weight", "backward_weight"):
            arguments[name], arguments[f"{name}_scale"] = ops.quantize_qs8(arguments[name])
    found: dict[tuple, Call] = {}
    with _caught(found, {"lstm": FULL_LSTM.exits * (FULL_LSTM.lstm_layers - 1)}):
        getattr(ops, op)(**arguments)
    return next(call for call in found.values() if call.op == op)


@contextmanager
def _caught(found: dict[tuple, Call], repeated: Mapping[str, int]) -> Iterator[None]:
    """While it lasts, the ops note their calls. repeated: op -> how often the whole model calls it
    where the shortened one does once; what it calls counts as often."""
    factors, nested = [1], [0]

    def noting(op: str, function: Callable) -> Callable:
        def noted(*values, **named):
            factors.append(factors[-1] * repeated.get(stem_and_mode(op)[0], 1))
            nested.append(0)
            result = function(*values, **named)
            arguments = dict(zip(parameters, values)) | named
            macs = nested.pop() + _own_macs(op, arguments)
            nested[-1] += macs
            key = (op, *(np.shape(value) for value in arguments.values()))
            if key not in found:
                found[key] = Call(op, arguments, 0, macs, _bytes(arguments) + _bytes(result))
            found[key].calls += factors.pop()
            return result

        parameters = function.__code__.co_varnames
        return noted

    modules = [importlib.import_module(f"ee_ref.ops.{name}")
               for name in (*ops.__all__, "_attention")] + [ops]
    originals = {op: getattr(ops, op) for op in ops.__all__}
    places = [(module, op) for module in modules for op in originals
              if getattr(module, op, None) is originals[op]]
    wrapped = {op: noting(op, function) for op, function in originals.items()}
    with ExitStack() as patches:
        for module, op in places:
            patches.enter_context(mock.patch.object(module, op, wrapped[op]))
        yield


def _own_macs(op: str, arguments: Mapping[str, Any]) -> int:
    """Multiply-accumulates that an op does itself, without those of the ops it calls in NumPy."""
    stem, mode = stem_and_mode(op)
    if stem in ("linear", "depthwise_conv"):
        rows = len(arguments["q" if (stem, mode) == ("linear", "qs8") else "x"])
        return rows * arguments["weight"].size
    if stem == "linear_digits":
        return 2 * len(arguments["x"]) * arguments["weight"].size
    if stem == "multi_head_attention":
        rows, dim = arguments["x"].shape
        return 2 * rows * rows * dim
    return 0


def _bytes(value: Any) -> int:
    """The bytes of every array in arguments or results."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(map(_bytes, parts)) if isinstance(parts, (tuple, list, type({}.values()))) else 0


def _repeat(function: Callable, arguments: tuple, times: list[float]) -> None:
    """Call again and again; append the CPU seconds a call took, from `FEWEST` to `MOST` samples."""
    start = time.process_time()
    function(*arguments)
    once = time.process_time() - start
    calls = max(1, int(SAMPLE / max(once, 1e-7)))
    end = time.process_time() + SECONDS_A_KERNEL
    while len(times) < FEWEST or (len(times) < MOST and time.process_time() < end):
        start = time.process_time()
        for _ in range(calls):
            function(*arguments)
        times.append((time.process_time() - start) / calls)


def kernel_times(call: Call, dtype: str) -> list[float]:
    """Seconds of the kernel of an op, some samples, at the instruction set in use."""
    import ee_ref.native
    from ee_ref.native import _kernel

    times: list[float] = []
    kernel = _kernel.kernel

    def timed(*which):
        return lambda *arguments: _repeat(kernel(*which), arguments, times)

    with mock.patch.multiple(_kernel, kernel=timed, team=_team):
        getattr(ee_ref.native, call.op)(**_as_rows(call.arguments))
    return times


@cache
def _pool():
    from ee_ref.native._session import open_pool

    return open_pool(1)


def _team():
    """That of a session of one thread, so that composites cut frames into the blocks of a host: by
    themselves they would into those of firmware."""
    from ee_ref.native._lib import lib

    return lib.ee_pool_team(_pool())


def _as_rows(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the adapters take them: contiguous, and x of two axes (softmax of all heads,
    with the scales of the values of the first)."""
    made = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value)
            if name == "x":
                value = value.reshape(-1, value.shape[-1])
            if name == "value_scale":
                value = value[0]
        made[name] = value
    return made


def isas_of(op: str, dtype: str) -> list[str]:
    """The instruction sets with a variant of a primitive; all available ones for a composite."""
    from ee_ref.native import _lib

    stem, _ = stem_and_mode(op)
    tables = {isa: getattr(_lib.lib.ee_ops_for(_lib._ISAS[isa]), dtype)
              for isa in _lib.available_isas()}
    seen, found = [], []
    for isa, table in tables.items():
        entry = getattr(table, stem, None)
        if entry is None or entry not in seen:
            found.append(isa)
            seen.append(entry)
    return found


def measure(seconds: float, dtypes: tuple[str, ...] = DTYPES) -> Iterator[Line]:
    """One line for each op, shape and instruction set, after the peaks they are compared with."""
    limits = peaks()
    yield limits
    for dtype in dtypes:
        for call in trace(dtype, seconds):
            for isa in isas_of(call.op, dtype):
                with mock.patch.dict(os.environ, EE_REF_ISA=isa):
                    line = _line(call, dtype, isa, seconds, limits)
                yield line


def _line(call: Call, dtype: str, isa: str, seconds: float, limits: Line) -> Line:
    times = kernel_times(call, dtype)
    taken = spread(times)
    least = taken["median_ms"] / 1e3
    line = {
        "benchmark": "ops", "op": call.op, "dtype": dtype, "isa": isa, "seconds": seconds,
        "shapes": {name: list(value.shape) for name, value in call.arguments.items()
                   if isinstance(value, np.ndarray)},
        "calls": call.calls, "samples": len(times), **taken,
        "bytes": call.bytes, "gb_per_s": round(1e-9 * call.bytes / least, 2),
        "read_percent": round(100e-9 * call.bytes / least / limits["read"], 1),
    }
    if call.macs:
        rate = 2e-9 * call.macs / least
        peak = limits.get(PEAK_OF[dtype].get(isa))
        line |= {"operations": 2 * call.macs, "gop_per_s": round(rate, 2),
                 "peak_percent": peak and round(100 * rate / peak, 1)}
    return line | load()


def main() -> None:
    parser = parser_of(__doc__, seconds=10)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    arguments = parser.parse_args()
    emit([machine()])
    emit(measure(arguments.seconds, tuple(arguments.dtypes)))


if __name__ == "__main__":
    main()
