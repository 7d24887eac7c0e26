"""Stages of an utterance on the 31.5 M parameter shape: audio, features, stem, groups, heads, text.

    python benchmarks/stages.py --seconds 10 --runs 10 --threads 1

Prints one JSON line a dtype. A session runs to an exit in one call; stem and head are timed as ops
on their own, and a group is what is left of its exit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from common import Line, emit, load, machine, model_path, parser_of
from ops import DTYPES, kernel_times, trace

import ee_ref
from ee_ref.bench import measure as measure_model
from ee_ref.bench import spread
from ee_ref.ops._names import stem_and_mode


def measure(seconds: float, runs: int, threads: int) -> Iterator[Line]:
    """One line a dtype: median milliseconds of each stage, CPU time where there is one thread."""
    for dtype in DTYPES:
        model = ee_ref.load(model_path(dtype), threads=threads)
        now = time.process_time if threads == 1 else time.perf_counter
        found = measure_model(model, seconds, runs, now)
        stages = {name: times["median_ms"] for name, times in found["stages"].items()}
        once = {"stem_conv": 0.0, "exit_head": 0.0}
        for call in trace(dtype, seconds):
            op = stem_and_mode(call.op)[0]
            if op == "exit_head" or op == "stem_conv" and call.calls == 1:
                once[op] += spread(kernel_times(call, dtype))["median_ms"]
        parts = {"audio": stages["audio"], "features": stages["features"],
                 "stem": once["stem_conv"]}
        for exit_ in range(1, model.config.exits + 1):
            stem = once["stem_conv"] if exit_ == 1 else 0.0
            parts[f"group {exit_}"] = round(
                stages[f"exit {exit_}"] - stem - once["exit_head"], 3)
            parts[f"head {exit_}"] = once["exit_head"]
        parts["decode"] = stages["decode"]
        yield {"benchmark": "stages", "dtype": dtype, "threads": threads, "seconds": seconds,
               "runs": runs, "stage_ms": parts, **load()}


def main() -> None:
    parser = parser_of(__doc__, runs=10, seconds=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    emit([machine()])
    emit(measure(arguments.seconds, arguments.runs, arguments.threads))


if __name__ == "__main__":
    main()
