"""Measure all there is on this machine, then draw the plots and write the tables from the results.

    python benchmarks/run.py                # on a machine with nothing else to do; --quick: a look

Writes benchmarks/results/CPU-ISA.jsonl, docs/*.svg and the tables of docs/performance.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import check
import forward
import ops
import peers
import plot
import stages
import tables
from common import RESULTS, Line, emit, file_name, machine, of, parser_of, write

LENGTHS = (1, 3, 5, 10, 15, 20, 40, 80)  # seconds of audio
CALIBRATED = "openvino-int8"
"""Takes a minute for each length before it can run, so that it has those of the figures alone."""


def measure(quick: bool) -> Iterator[Line]:
    """All results but the machine's line."""
    runs = 3 if quick else 15
    kinds = [kind for kind in peers.installed() if kind != CALIBRATED]
    yield from check.measure(runs)
    yield from ops.measure(check.YARDSTICK)
    yield from stages.measure(check.YARDSTICK, runs, threads=1)
    for seconds in LENGTHS:
        if seconds not in (check.YARDSTICK, *check.OTHER_LENGTHS):
            # A run of 80 s takes seconds: fewer of them.
            fewer = runs if seconds <= 10 else max(3, runs * 10 // seconds)
            yield from forward.measure(kinds, float(seconds), fewer)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/ as it is")
    arguments = parser.parse_args()
    start = time.monotonic()
    lines = emit([machine()]) + emit(measure(arguments.quick))
    lines += emit(figure.line() for figure in check.figures(lines))
    about = of(lines, "machine")[0]
    path = RESULTS / file_name(about["cpu"], about["isa"])
    write(path, lines)
    print(check.table(check.figures(lines)), file=sys.stderr)
    if not arguments.no_docs:
        plot.update()
        tables.update()
    print(f"{path}, in {time.monotonic() - start:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
