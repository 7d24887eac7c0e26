"""Draw docs/*.svg from the results files, and from nothing else: a panel for each machine.

    python benchmarks/plot.py
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import instructions
from common import FULL, PEAK_OF, ROOT, Line, of, operations, parser_of, results

DOCS = ROOT / "docs"
PORTABLE = ("Cortex-M3", "RV32IMAFC")
"""Cores that run portable C: they would make the bars of the others short."""

COLOURS = {"native-int8": "#0b6e4f", "native-f32": "#1f4e9c", "native-f32-packed": "#6fa8dc",
           "numpy": "#7a7a7a", "onnx-int8": "#e08e0b", "onnx-f32": "#c0392b",
           "openvino-int8": "#00a0a0", "openvino-bf16": "#b5651d", "openvino-f32": "#e377c2",
           "torch": "#8e44ad", "torch-bf16": "#c9a0dc"}
"""The colour of each peer, the same in every plot."""


PANEL = (7.2, 4.4)  # inches


def update(folder: Path = DOCS) -> list[Path]:
    """Write all plots; return their paths."""
    machines = [lines for _, lines in results()]
    names = ["{cpu}, {isa}, 1 thread; commit {commit}".format(**of(lines, "machine")[0])
             for lines in machines]
    made = [_draw(folder / f"{name}.svg", panel, machines, names)
            for name, panel in (("roofline", roofline), ("latency-per-exit", latency_per_exit),
                                ("scaling", scaling))]
    runs = instructions.read()
    about = f"counted under QEMU; {runs[0]['compiler']}; commit {runs[0]['commit']}"
    return [*made, _draw(folder / "instructions.svg", instructions_by_op, [runs], [about])]


def _draw(path: Path, panel: Callable[[Any, list[Line]], None], lists: list[list[Line]],
          names: list[str]) -> Path:
    """A figure of one panel for each list of lines, with its name below."""
    import matplotlib
    import matplotlib.pyplot

    matplotlib.use("svg")
    # Ids and dates that do not change from run to run.
    matplotlib.rcParams["svg.hashsalt"] = "ee_ref"
    width, height = PANEL
    figure, panels = matplotlib.pyplot.subplots(
        1, len(lists), figsize=(width * len(lists), height), layout="constrained", squeeze=False)
    for axes, lines, name in zip(panels[0], lists, names):
        panel(axes, lines)
        axes.annotate(name, (0.5, -0.17), xycoords="axes fraction", ha="center", fontsize=7,
                      color="#555555")
        axes.grid(True, which="both", linewidth=0.3)
        axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None})
    matplotlib.pyplot.close(figure)
    return path


def roofline(axes, lines: list[Line]) -> None:
    """Operations a second of every op over its operations a byte, under the machine's limits."""
    about, limits = of(lines, "machine")[0], of(lines, "peaks")[0]
    kernels = [line for line in of(lines, "ops") if "operations" in line and line["isa"] != "c"]
    intensities = [line["operations"] / line["bytes"] for line in kernels]
    low, high = min(intensities) / 2, max(intensities) * 2
    for dtype, colour in (("qs8", COLOURS["native-int8"]), ("f32", COLOURS["native-f32"])):
        peak = limits.get(PEAK_OF[dtype].get(about["isa"]))
        if peak:
            ridge = peak / limits["read"]
            points = sorted({low, max(low, min(high, ridge)), high})
            axes.plot(points, [min(peak, limits["read"] * point) for point in points],
                      color=colour, linewidth=1,
                      label=f"{PEAK_OF[dtype][about['isa']]} and memory")
        best: dict[tuple, Line] = {}
        for line in kernels:
            if line["dtype"] == dtype:
                key = (line["op"], str(line["shapes"]))
                if key not in best or line["gop_per_s"] > best[key]["gop_per_s"]:
                    best[key] = line
        axes.scatter([line["operations"] / line["bytes"] for line in best.values()],
                     [line["gop_per_s"] for line in best.values()], s=14, color=colour,
                     label=f"ops, {dtype}")
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of arguments and results",
             ylabel="10⁹ operations a second", title="Ops of the 31.5 M parameter model, 10 s")
    axes.legend(fontsize=7)


def latency_per_exit(axes, lines: list[Line]) -> None:
    """Milliseconds until each exit, 10 s of audio."""
    for peer, colour in COLOURS.items():
        for line in of(lines, "forward", peer=peer, threads=1, seconds=10.0):
            ends = line.get("exit_ms")
            label = peer if ends else f"{peer} (all exits at once)"
            axes.plot(range(1, FULL.exits + 1) if ends else [FULL.exits],
                      ends or [line["median_ms"]], marker="o", markersize=4, color=colour,
                      label=label)
    axes.set(xlabel="exit", ylabel="ms of CPU time, median", ylim=(0, None),
             title="Time until each exit, 10 s")
    axes.legend(fontsize=7)


def scaling(axes, lines: list[Line]) -> None:
    """Milliseconds of the whole pass over the length of the audio."""
    for peer, colour in COLOURS.items():
        found = sorted(of(lines, "forward", peer=peer, threads=1), key=itemgetter("seconds"))
        if not found:
            continue
        axes.plot([line["seconds"] for line in found], [line["median_ms"] for line in found],
                  marker="o", markersize=3, color=colour, label=peer)
    lengths = sorted({line["seconds"] for line in of(lines, "forward")})
    name = PEAK_OF["f32"].get(of(lines, "machine")[0]["isa"])
    if name in of(lines, "peaks")[0]:
        peak = of(lines, "peaks")[0][name]
        axes.plot(lengths, [1e-6 * operations(length)[-1] / peak for length in lengths],
                  color="#999999", linestyle=":", label=f"float32 at {name}")
    axes.set(xscale="log", yscale="log", xlabel="seconds of audio", ylabel="ms of CPU time, median",
             title="Forward pass, all exits")
    axes.legend(fontsize=7)


def instructions_by_op(axes, lines: list[Line]) -> None:
    """Millions of instructions of every run of the firmware, by op."""
    import matplotlib

    shown = [line for line in lines if line["core"] not in PORTABLE]
    labels = [f"{line['core']}, exit {line['exit']}" for line in shown]
    left = [0.0] * len(shown)
    for op, colour in zip(instructions.OPS, matplotlib.colormaps["tab20"].colors):
        widths = [1e-6 * line["by_op"][op] for line in shown]
        if any(widths):
            axes.barh(labels, widths, left=left, color=colour, label=op)
        left = [start + width for start, width in zip(left, widths)]
    for label, end in zip(labels, left):
        axes.text(end, label, f" {end:.1f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="10⁶ instructions", xlim=(0, 1.7 * max(left)),  # the legend is beside the bars
             title="Firmware, model commands, demo clip of 2.9 s")
    axes.legend(fontsize=7, loc="center right")


def main() -> None:
    parser_of(__doc__).parse_args()
    for path in update():
        print(path)


if __name__ == "__main__":
    main()
