"""Draw docs/*.svg from a results file, and from nothing else.

    python benchmarks/plot.py benchmarks/results/FILE.jsonl
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

from common import FULL, PEAK_OF, ROOT, Line, of, operations, parser_of, read

DOCS = ROOT / "docs"
COLOURS = {"native-int8": "#0b6e4f", "native-f32": "#1f4e9c", "numpy": "#7a7a7a",
           "onnx-int8": "#e08e0b", "onnx-f32": "#c0392b", "torch": "#8e44ad"}
"""The colour of each peer, the same in every plot."""


def draw(lines: list[Line], folder: Path = DOCS) -> list[Path]:
    """Write the three plots; return their paths."""
    import matplotlib
    import matplotlib.pyplot

    matplotlib.use("svg")
    # Ids and dates that do not change from run to run.
    matplotlib.rcParams["svg.hashsalt"] = "ee_ref"
    made = []
    for name, plot in (("roofline", roofline), ("latency-per-exit", latency_per_exit),
                       ("scaling", scaling)):
        figure, axes = matplotlib.pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
        plot(axes, lines)
        about = of(lines, "machine")[0]
        figure.supxlabel(f"{about['cpu']}, {about['isa']}, 1 thread; commit {about['commit']}",
                         fontsize=7, color="#555555")
        axes.grid(True, which="both", linewidth=0.3)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None})
        matplotlib.pyplot.close(figure)
        made.append(path)
    return made


def roofline(axes, lines: list[Line]) -> None:
    """Operations a second of every op over its operations a byte, under the machine's limits."""
    about, limits = of(lines, "machine")[0], of(lines, "peaks")[0]
    kernels = [line for line in of(lines, "ops") if "operations" in line]
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
    axes.set(xlabel="exit", ylabel="ms, median", ylim=(0, None), title="Time until each exit, 10 s")
    axes.legend(fontsize=7)


def scaling(axes, lines: list[Line]) -> None:
    """Milliseconds of the whole pass over the length of the audio."""
    for peer, colour in COLOURS.items():
        found = sorted(of(lines, "forward", peer=peer, threads=1), key=itemgetter("seconds"))
        axes.plot([line["seconds"] for line in found], [line["median_ms"] for line in found],
                  marker="o", markersize=3, color=colour, label=peer)
    lengths = sorted({line["seconds"] for line in of(lines, "forward")})
    name = PEAK_OF["f32"].get(of(lines, "machine")[0]["isa"])
    if name in of(lines, "peaks")[0]:
        peak = of(lines, "peaks")[0][name]
        axes.plot(lengths, [1e-6 * operations(length)[-1] / peak for length in lengths],
                  color="#999999", linestyle=":", label=f"float32 at {name}")
    axes.set(xscale="log", yscale="log", xlabel="seconds of audio", ylabel="ms, median",
             title="Forward pass, all exits")
    axes.legend(fontsize=7)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("results", type=Path)
    for path in draw(read(parser.parse_args().results)):
        print(path)


if __name__ == "__main__":
    main()
