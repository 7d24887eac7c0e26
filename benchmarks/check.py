"""The figures that ee_ref is held to, measured in one go: each with its limit, met or not.

    python benchmarks/check.py                  # about five minutes; --runs 5 for a quicker look
    python benchmarks/check.py --from benchmarks/results/FILE.jsonl     # of results already there

JSON lines go to stdout, the table to stderr. The exit code is 1 when a figure is not met.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import around
import forward
import peers
import process
from common import (
    PEAK_OF,
    SPLITFORMER,
    Line,
    emit,
    machine,
    model_name,
    of,
    operations,
    parser_of,
    peaks,
    read,
)

from ee_ref.loading import BUNDLED

YARDSTICK = 10.0  # seconds of audio
OTHER_LENGTHS = (3.0, 15.0)
AGAINST_PEERS = (("native-f32", "onnx-f32", 0.80), ("native-int8", "onnx-int8", 0.40),
                 ("native-int8", "torch", 0.24), ("numpy", "torch", 1.30))
WITH_TILES = 0.25  # native-int8 by onnx-int8 where the CPU has AMX
SPLITFORMERS = (("splitformer-native-f32", "splitformer-onnx-f32", 0.85),
                ("splitformer-native-int8", "splitformer-onnx-int8", 0.60))
AGAINST_OPENVINO = 0.80  # native-int8 by OpenVINO in its fastest precision
WITHIN = 0.15


class Figure(NamedTuple):
    """what was measured, its value, the limit, and whether the value is to be at least the limit
    (otherwise at most). value: None when it was not measured."""

    what: str
    value: float | None
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """None when it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> Line:
        """As a result."""
        return {"benchmark": "figure", **self._asdict(), "met": self.met}


def figures(lines: list[Line]) -> list[Figure]:
    """Every figure, from results."""

    def ratio(above: str, below: str, seconds: float = YARDSTICK) -> float | None:
        found = of(lines, "ratio", above=above, below=below, seconds=seconds)
        return found[0]["median"] if found else None

    tiles = of(lines, "machine")[0]["isa"] == "amx"
    made = [Figure(f"{above} / {below}, time", ratio(above, below),
                   WITH_TILES if tiles and below == "onnx-int8" else limit)
            for above, below, limit in AGAINST_PEERS]
    to_openvino = [line["median"] for line in of(lines, "ratio", above="native-int8",
                                                 seconds=YARDSTICK)
                   if line["below"].startswith("openvino-")]
    made.append(Figure("native-int8 / OpenVINO's fastest, time", max(to_openvino, default=None),
                       AGAINST_OPENVINO))
    made += [Figure(f"{above} / {below}, time", ratio(above, below), limit)
             for above, below, limit in SPLITFORMERS]
    made += [Figure(f"native-f32 / onnx-f32 at {seconds:g} s, time",
                    ratio("native-f32", "onnx-f32", seconds), AGAINST_PEERS[0][2])
             for seconds in OTHER_LENGTHS]
    made.append(Figure("native-f32, of the FMA peak", _share_of_peak(lines), 0.80, at_least=True))
    made += [Figure(f"{kind}, 2 threads / 1, time", ratio(f"{kind}@2", kind), 0.60)
             for kind in ("native-f32", "native-int8")]
    for seconds in OTHER_LENGTHS:
        for above, below, _ in AGAINST_PEERS[:3]:
            here, there = ratio(above, below, seconds), ratio(above, below)
            value = None if here is None or there is None else round(here / there, 4)
            made.append(Figure(f"{above} / {below} at {seconds:g} s, by that at {YARDSTICK:g} s",
                               value, 1 + WITHIN))
    for kind in ("native-f32", "native-int8"):
        found = of(lines, "forward", peer=kind, threads=1, seconds=YARDSTICK)
        value = None
        if found:
            ends = found[0]["exit_ratio"]
            value = round(max(end - exit_ / len(ends)
                              for exit_, end in enumerate(ends[:-1], start=1)), 4)
        made.append(Figure(f"{kind}, most of exit k of n by the whole pass, less k/n", value, 0.03))
    cold = of(lines, "cold_start")
    made += [
        Figure("ee-ref transcribe, demo clip, cold, CPU time",
               cold[0]["median_ms"] if cold else None, 500, unit="ms"),
        Figure("ee-ref transcribe, peak memory", cold[0]["peak_mb"] if cold else None,
               120, unit="MB"),
    ]
    held = of(lines, "memory", dtype="qs8", seconds=YARDSTICK)
    made.append(Figure("int8, full shape, 10 s: peak memory above NumPy",
                       held[0]["peak_mb"] if held else None, 80, unit="MB"))
    return made + _around(lines)


def _around(lines: list[Line]) -> list[Figure]:
    """The figures of what is around the encoder."""

    def ratio(benchmark: str, field: str, **fields: str) -> float | None:
        found = of(lines, benchmark, **fields)
        return found[0][field]["median"] if found else None

    made = [Figure("front end in C / torchaudio, CPU time",
                   ratio("front_end", "by_torchaudio", peer="native"), 0.40)]
    for model in BUNDLED:
        files = of(lines, "small_files", model=model)
        made += [
            Figure(f"{model}, demo clip up to exit 1 / up to the last, CPU time",
                   ratio("utterance", "by_last", model=model), 0.40),
            Figure(f"{model}, ee-ref transcribe cold / import numpy, soundfile, CPU time",
                   ratio("cold", "by_imports", model=model), 1.5),
            Figure(f"{model}, 1,000 files of 1 s, 2 threads",
                   files[0]["files_a_second"] if files else None, 150, at_least=True,
                   unit="a second"),
        ]
    made.append(Figure("opening the float32 file / reading it, CPU time",
                       ratio("opening", "by_read", file=model_name("f32")), 2.0))
    return made


def _share_of_peak(lines: list[Line]) -> float | None:
    found = of(lines, "forward", peer="native-f32", threads=1, seconds=YARDSTICK)
    name = PEAK_OF["f32"].get(of(lines, "machine")[0]["isa"])
    rates = [line[name] for line in of(lines, "peaks") if name in line]
    if not found or not rates:
        return None
    rate = 1e-9 * operations(YARDSTICK)[-1] / (found[0]["median_ms"] / 1e3)
    return round(rate / median(rates), 4)


def measure(runs: int) -> Iterator[Line]:
    """What the figures need, peaks before and after the forward passes."""
    yield peaks()
    one = peers.installed()
    yield from forward.measure(one, YARDSTICK, runs)
    yield peaks()
    yield from forward.measure(peers.installed(SPLITFORMER), YARDSTICK, runs)
    if machine()["cores"] > 1:
        yield from threads(YARDSTICK, runs)
    without_numpy = [name for name in one if name != "numpy"]
    for seconds in OTHER_LENGTHS:
        yield from forward.measure(without_numpy, seconds, runs)
    yield peaks()
    yield from process.cold_start(runs)
    yield from process.memory(YARDSTICK)
    yield from around.apart(runs)


def threads(seconds: float, runs: int) -> Iterator[Line]:
    """The native peers on two threads beside the same on one."""
    for kind in ("native-int8", "native-f32"):
        for line in forward.measure([f"{kind}@2", kind], seconds, runs):
            if line.get("threads") != 1:  # measured beside the other peers already
                yield line


def table(made: list[Figure]) -> str:
    """One row a figure: value, limit, the value as a percentage of the limit, met or not."""
    rows = [f"{'':<72}{'value':>9}{'limit':>14}{'of limit':>10}"]
    for figure in made:
        sign = ">=" if figure.at_least else "<="
        limit = f"{sign} {figure.limit:g} {figure.unit}".strip()
        if figure.value is None:
            rows.append(f"{figure.what:<72}{'-':>9}{limit:>14}{'':>10}  not measured")
        else:
            share = f"{100 * figure.value / figure.limit:.0f} %"
            rows.append(f"{figure.what:<72}{figure.value:>9.4g}{limit:>14}{share:>10}"
                        f"  {'met' if figure.met else 'NOT MET'}")
    return "\n".join(rows)


def main() -> int:
    parser = parser_of(__doc__, runs=15)
    parser.add_argument("--from", dest="results", type=Path, metavar="FILE",
                        help="judge a results file instead of measuring")
    arguments = parser.parse_args()
    if arguments.results:
        lines = read(arguments.results)
    else:
        lines = emit([machine()]) + emit(measure(arguments.runs))
    made = figures(lines)
    emit(figure.line() for figure in made)
    print(table(made), file=sys.stderr)
    return int(any(figure.met is False for figure in made))


if __name__ == "__main__":
    sys.exit(main())
