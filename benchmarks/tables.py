"""Write the tables of docs/performance.md from the results files.

    python benchmarks/tables.py

Everything between the two marks is replaced; tests/test_bench.py compares it with the results.
"""

from __future__ import annotations

from pathlib import Path

import check
from common import RESULTS, ROOT, Line, of, read

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- tables:begin (benchmarks/tables.py) -->\n", "<!-- tables:end -->\n"


def update(page: Path = PAGE) -> None:
    """Replace the tables of the page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + BEGIN + tables() + END + after, encoding="utf-8")


def tables() -> str:
    """Tables of every results file."""
    return "".join(_machine(read(path), path) for path in sorted(RESULTS.glob("*.jsonl")))


def _machine(lines: list[Line], path: Path) -> str:
    about = of(lines, "machine")[0]
    loads = [line["load"] for line in lines if "load" in line]
    parts = [
        f"\n### {about['cpu']}, {about['isa']}\n\n"
        f"`{path.name}`: {about['cores']} cores, {about['compiler']}, Python {about['python']}, "
        f"commit {about['commit']}, load average {min(loads)} to {max(loads)}.\n",
        _table(("figure", "value", "limit", "met"), [
            (figure.what, _number(figure.value, figure.unit),
             ("≥ " if figure.at_least else "≤ ") + _number(figure.limit, figure.unit),
             {True: "yes", False: "no", None: "not measured"}[figure.met])
            for figure in check.figures(lines)]),
        _table(("10 s, 1 thread", "median ms", "quartiles", "ms up to each exit"), [
            (line["peer"], f"{line['median_ms']:g}", "{:g}, {:g}".format(*line["quartiles_ms"]),
             " ".join(f"{end:g}" for end in line.get("exit_ms", [])) or "all at once")
            for line in of(lines, "forward", threads=1, seconds=check.YARDSTICK)]),
    ]
    lengths = sorted({line["seconds"] for line in of(lines, "forward")})
    peers = list(dict.fromkeys(line["peer"] for line in of(lines, "forward")))
    parts.append(_table(("median ms", *(f"{length:g} s" for length in lengths)), [
        (peer, *(_first(of(lines, "forward", peer=peer, threads=1, seconds=length))
                 for length in lengths)) for peer in peers]))
    for line in of(lines, "stages"):
        parts.append(_table((f"{line['dtype']}, 10 s", "ms"), [
            (stage, f"{spent:g}") for stage, spent in line["stage_ms"].items()]))
    for dtype in ("f32", "qs8"):
        kernels = [line for line in of(lines, "ops", dtype=dtype) if line["isa"] != "c"]
        if kernels:
            parts.append(_table(
                (f"op, {dtype}", "shape of the first argument and the weight", "set", "calls",
                 "ms a call", "GOP/s", "% of peak", "GB/s"),
                [(line["op"], _shapes(line["shapes"]), line["isa"], line["calls"],
                  f"{line['median_ms']:g}", _number(line.get("gop_per_s")),
                  _number(line.get("peak_percent")), _number(line["gb_per_s"]))
                 for line in kernels]))
    for line in of(lines, "memory"):
        parts.append(
            f"\nMemory, {line['dtype']}, {line['seconds']:g} s: {line['peak_mb']:g} MB above the "
            f"interpreter with NumPy ({line['baseline_mb']:g} MB), of which the mapped file "
            f"{line['file_mb']:g} MB; {line['after_load_mb']:g} MB after loading.\n")
    return "".join(parts) + "\n"


def _first(found: list[Line]) -> str:
    return f"{found[0]['median_ms']:g}" if found else ""


def _shapes(shapes: dict[str, list[int]]) -> str:
    first = next(iter(shapes.values()))
    weight = next((shape for name, shape in shapes.items()
                   if name == "weight" or name.endswith(("in_weight", "up_weight"))), None)
    return " · ".join("×".join(map(str, shape)) for shape in (first, weight) if shape)


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:g} {unit}".strip()


def _table(head: tuple, rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n" + "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


if __name__ == "__main__":
    update()
