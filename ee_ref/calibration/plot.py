"""The curve of a calibration, drawn from its JSON (matplotlib, the extra plot)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ArgumentError, EeError

SHOWN = ("entropy", "posterior", "patience", "agreement, per exit", "phrase", "learned")
"""Families drawn by default, of those that are there."""


class PlotterUnavailable(EeError, ImportError):
    """matplotlib is not installed."""


def require(path: Path) -> None:
    """Raise PlotterUnavailable without matplotlib, ArgumentError for a suffix but .png or .svg."""
    if path.suffix not in (".png", ".svg"):
        raise ArgumentError(f"{path}: expected a name ending in .png or .svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise PlotterUnavailable("plots are drawn by matplotlib, which is not installed: "
                                 "pip install 'ee-ref[plot]'") from None


def draw(report: dict[str, Any], path: Path, shown: tuple[str, ...] = SHOWN) -> bytes:
    """Error rate against depth and against time, as PNG or SVG by the suffix of `path`."""
    require(path)
    import io

    import matplotlib

    matplotlib.use("Agg")
    # The same bytes from the same numbers.
    matplotlib.rcParams["svg.hashsalt"] = "ee_ref"
    from matplotlib import pyplot

    layers = report["layers"][-1]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for axis, key, scale, label in ((axes[0], "depth", 1, f"average depth (of {layers} layers)"),
                                    (axes[1], "time", 100, "encoder time (% of the full pass)")):
        fixed = report["exits"]
        if any(row[key] is None for row in fixed):  # no time was measured
            continue
        axis.plot([scale * row[key] for row in fixed], [row["wer"][0] for row in fixed], "ks--",
                  label="fixed exits, mixed at random between")
        for name in shown:
            points = sorted(report["curves"].get(name, []), key=lambda point: point[key])
            if points:
                axis.plot([scale * point[key] for point in points],
                          [point["wer"] for point in points], ".-", label=name)
        oracle = report["oracle"]
        axis.plot([scale * oracle[key]], [oracle["wer"][0]], "*", color="gold", markersize=14,
                  markeredgecolor="k", label="oracle: earliest exit as good as the last")
        for point, row in report["points"].items():
            if key in row:
                axis.plot([scale * row[key]], [row["wer"]], "o", mfc="none", mec="r", markersize=10)
                axis.annotate(point, (scale * row[key], row["wer"]), xytext=(6, 6),
                              textcoords="offset points", color="r", fontsize=8)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    what = "phrases not understood" if "phrases" in report else "word error rate"
    axes[0].set_ylabel(f"{what} (%), {report['split']}")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format=path.suffix[1:], dpi=120, metadata=(
        {"Date": None} if path.suffix == ".svg" else {"Software": None}))
    pyplot.close(figure)
    return out.getvalue()
