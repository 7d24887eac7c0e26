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

import forward
import process
from common import PEAK_OF, Line, emit, machine, of, operations, parser_of, peaks, read

YARDSTICK = 10.0  # seconds of audio
OTHER_LENGTHS = (3.0, 15.0)
AGAINST_PEERS = (("native-f32", "onnx-f32", 0.80), ("native-int8", "onnx-int8", 0.48),
                 ("native-int8", "torch", 0.24), ("numpy", "torch", 1.30))
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

    made = [Figure(f"{above} / {below}, time", ratio(above, below), limit)
            for above, below, limit in AGAINST_PEERS]
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
        Figure("ee-ref transcribe, demo clip, cold", cold[0]["median_ms"] if cold else None,
               500, unit="ms"),
        Figure("ee-ref transcribe, peak memory", cold[0]["peak_mb"] if cold else None,
               120, unit="MB"),
    ]
    held = of(lines, "memory", dtype="qs8", seconds=YARDSTICK)
    made.append(Figure("int8, full shape, 10 s: peak memory above NumPy",
                       held[0]["peak_mb"] if held else None, 80, unit="MB"))
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
    one = ["native-int8", "native-f32", "numpy", "onnx-int8", "onnx-f32", "torch"]
    yield from forward.measure(one, YARDSTICK, runs)
    yield peaks()
    if machine()["cores"] > 1:
        yield from threads(YARDSTICK, runs)
    without_numpy = [name for name in one if name != "numpy"]
    for seconds in OTHER_LENGTHS:
        yield from forward.measure(without_numpy, seconds, runs)
    yield peaks()
    yield from process.cold_start(runs)
    yield from process.memory(YARDSTICK)


def threads(seconds: float, runs: int) -> Iterator[Line]:
    """The native peers on two threads beside the same on one."""
    for kind in ("native-int8", "native-f32"):
        for line in forward.measure([f"{kind}@2", kind], seconds, runs):
            if line.get("threads") != 1:  # measured beside the other peers already
                yield line


def table(made: list[Figure]) -> str:
    """One row a figure: value, limit, the value as a percentage of the limit, met or not."""
    rows = [f"{'':<62}{'value':>9}{'limit':>12}{'of limit':>10}"]
    for figure in made:
        sign = ">=" if figure.at_least else "<="
        limit = f"{sign} {figure.limit:g} {figure.unit}".strip()
        if figure.value is None:
            rows.append(f"{figure.what:<62}{'-':>9}{limit:>12}{'':>10}  not measured")
        else:
            share = f"{100 * figure.value / figure.limit:.0f} %"
            rows.append(f"{figure.what:<62}{figure.value:>9.4g}{limit:>12}{share:>10}"
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
