"""Write the tables of docs/performance.md from the results files.

    python benchmarks/tables.py

Everything between two marks is replaced; tests/test_bench.py compares it with the results.
"""

from __future__ import annotations

from pathlib import Path

import check
import instructions
import speech
from common import ROOT, Line, of, results

PAGE = ROOT / "docs" / "performance.md"


def update(page: Path = PAGE) -> None:
    """Replace the tables of the page."""
    text = page.read_text(encoding="utf-8")
    for name, make in (("tables", tables), ("instructions", instruction_table),
                       ("speech", speech_table)):
        begin, end = marks(name)
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = before + begin + make() + end + after
    page.write_text(text, encoding="utf-8")


def marks(name: str) -> tuple[str, str]:
    """The lines before and after what is replaced."""
    return f"<!-- {name}:begin (benchmarks/tables.py) -->\n", f"<!-- {name}:end -->\n"


def tables() -> str:
    """Tables of every results file."""
    return "".join(_machine(lines, path) for path, lines in results())


def instruction_table() -> str:
    """Millions of instructions of each run of the firmware, by op."""
    runs = instructions.read()
    rows = [(op, *(_millions(run["by_op"][op]) for run in runs)) for op in instructions.OPS]
    rows.append(("**all**", *(f"**{_millions(run['total'])}**" for run in runs)))
    rows.append(("products, instructions a multiply-add",
                 *(f"{run['by_op'][instructions.PRODUCTS] / run['multiply_adds']:.2f}"
                   for run in runs)))
    head = ("10⁶ instructions", *(f"{run['core']}, exit {run['exit']}" for run in runs))
    return _table(head, rows) + "\n"


def speech_table() -> str:
    """The base shape of wav2vec 2.0: times up to each exit, and ratios."""
    lines = speech.read()
    about, forward = of(lines, "machine")[0], of(lines, "forward")
    loads = [line["load"] for line in forward]
    head = (f"{forward[0]['seconds']:g} s, 1 thread, CPU time", "median ms", "quartiles",
            "ms up to each exit")
    return (
        f"\n{about['cpu']}, {about['isa']}, commit {about['commit']}, load average "
        f"{min(loads)} to {max(loads)}.\n"
        + _table(head, [
            (line["peer"], f"{line['median_ms']:g}", "{:g}, {:g}".format(*line["quartiles_ms"]),
             " ".join(f"{end:g}" for end in line.get("exit_ms", [])) or "all at once")
            for line in forward])
        + _table(("time of", "by that of", "ratio", "quartiles", "largest difference"), [
            (line["above"], line["below"], f"{line['median']:.3f}",
             "{:.3f}, {:.3f}".format(*line["quartiles"]), f"{line['largest_difference']:g}")
            for line in of(lines, "ratio") if not _is_own(line["below"]) and _is_own(line["above"])]
        ) + "\n")


def _is_own(peer: str) -> bool:
    return "onnx" not in peer and "transformers" not in peer


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
        _table(("10 s, 1 thread, CPU time", "median ms", "quartiles", "ms up to each exit"), [
            (line["peer"], f"{line['median_ms']:g}", "{:g}, {:g}".format(*line["quartiles_ms"]),
             " ".join(f"{end:g}" for end in line.get("exit_ms", [])) or "all at once")
            for line in of(lines, "forward", threads=1, seconds=check.YARDSTICK)]),
    ]
    parts.append(_ratios(lines))
    lengths = sorted({line["seconds"] for line in of(lines, "forward")})
    peers = [peer for peer in dict.fromkeys(line["peer"] for line in of(lines, "forward"))
             if len({line["seconds"] for line in of(lines, "forward", peer=peer)}) > 1]
    parts.append(_table(("median ms, CPU time", *(f"{length:g} s" for length in lengths)), [
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
    parts.append(_around(lines))
    for line in of(lines, "memory"):
        parts.append(
            f"\nMemory, {line['dtype']}, {line['seconds']:g} s: {line['peak_mb']:g} MB above the "
            f"interpreter with NumPy ({line['baseline_mb']:g} MB), of which the mapped file "
            f"{line['file_mb']:g} MB; {line['after_load_mb']:g} MB after loading.\n")
    return "".join(parts) + "\n"


def _ratios(lines: list[Line]) -> str:
    """ee_ref by each peer, where both ran on one thread beside each other."""
    found = {(line["above"], line["below"], line["seconds"]): line
             for line in of(lines, "ratio")
             if line["above"].startswith("native-") and "@" not in line["above"] + line["below"]}
    lengths = (check.YARDSTICK, *check.OTHER_LENGTHS)
    rows = []
    for above, below in dict.fromkeys(key[:2] for key in found):
        here = [found.get((above, below, seconds)) for seconds in lengths]
        if not below.startswith("native-") and any(here):
            rows.append((above, below, *(f"{line['median']:.3f}" if line else "" for line in here),
                         "{:.3f}, {:.3f}".format(*here[0]["quartiles"]) if here[0] else ""))
    return _table(("time of", "by that of", *(f"{seconds:g} s" for seconds in lengths),
                   f"quartiles, {lengths[0]:g} s"), rows)


def _around(lines: list[Line]) -> str:
    """Front ends, opening, starting, up to the first exit, many small files."""
    rows = [(f"front end, {line['peer']}, {line['seconds']:g} s", _spent(line),
             "torchaudio", _middle(line["by_torchaudio"])) for line in of(lines, "front_end")]
    rows += [(f"{line['model']}, demo clip to words, exit {line['exit']}", _spent(line),
              f"exit {line['of']}", _middle(line["by_last"])) for line in of(lines, "utterance")]
    rows += [(f"opening {line['file']}, {line['file_mb']:g} MB", _spent(line), "reading the file",
              _middle(line["by_read"])) for line in of(lines, "opening")]
    rows += [(f"ee-ref transcribe of the demo clip, cold, {line['model']}", _spent(line),
              "import numpy, soundfile", _middle(line["by_imports"])) for line in of(lines, "cold")]
    rows += [(f"{line['files']:,} files of 1 s, {line['threads']} threads, {line['model']}",
              f"{_spent(line)}, wall time", "", f"{line['files_a_second']:g} files a second")
             for line in of(lines, "small_files")]
    return _table(("around the encoder", "ms of CPU time", "by", "ratio"), rows) if rows else ""


def _spent(line: Line) -> str:
    return f"{line['median_ms']:g}"


def _middle(ratio: dict) -> str:
    return f"{ratio['median']:.3f} ({{:.3f}}, {{:.3f}})".format(*ratio["quartiles"])


def _millions(count: int) -> str:
    return f"{1e-6 * count:.1f}" if count else ""


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
