"""`ee-ref bench`: how fast a model runs on this machine."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from ._model import add_model

MIB = 1 << 20


HELP = "how fast a model runs on this machine"
DESCRIPTION = (
    "Time a model on the demo clip, repeated to a length: each stage, each exit, real-time "
    "factor, operations a second, memory. Medians, with quartiles, of several runs.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, "threads that share the work of each utterance")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="length of the audio (default: 10, or the most that the model takes)")
    parser.add_argument("--runs", type=int, default=10, metavar="N",
                        help="runs to measure, after a warm-up (default: 10)")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print on stdout."""
    from .. import bench
    from ..loading import load

    model = load(args.model, backend=args.backend, threads=args.threads)
    seconds = args.seconds
    if seconds is None:
        seconds = math.floor(10 * min(10.0, model.config.max_seconds)) / 10
    found = {"model": model.file.path, "dtype": model.config.dtype, "threads": model.threads,
             **bench.machine(), **bench.measure(model, seconds, args.runs)}
    print(json.dumps(found, ensure_ascii=False, indent=2) if args.json else _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    threads, isa = found["threads"], found["isa"] if found["backend"] == "native" else "NumPy"
    peak = found["peak_memory_bytes"]
    lines = [
        f"model       {found['model']} ({found['dtype']})",
        f"machine     {found['cpu']}, {found['cores']} cores",
        f"backend     {found['backend']} ({isa}), {threads} thread{'s' * (threads != 1)}",
        f"audio       {found['seconds']:g} s, {found['runs']} runs",
        f"memory      {'unknown' if peak is None else f'{peak / MIB:.1f} MiB'} peak of the process",
        "",
        "stage       median ms      quartiles ms",
        *(f"{stage:<12}{times['median_ms']:>9.2f}"
          f"{times['quartiles_ms'][0]:>10.2f}{times['quartiles_ms'][1]:>8.2f}"
          for stage, times in found["stages"].items()),
        "",
        "up to exit  encoder ms    total ms  real-time factor     GOP/s",
        *(f"{exit_['exit']:>10}{exit_['encoder']['median_ms']:>12.2f}{exit_['total_ms']:>12.2f}"
          f"{exit_['real_time_factor']:>18.4f}{exit_['gop_per_s']:>10.1f}"
          for exit_ in found["exits"]),
    ]
    return "\n".join(lines)
