"""What all benchmarks share: the yardstick model, its files, results as JSON lines, peaks."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache as cached
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from ee_ref import bench
from ee_ref.conformance.draw import random_state_dict
from ee_ref.plan import multiply_accumulates
from tests.support import FULL, FULL_SEED, FULL_SPLITFORMER

Line = dict[str, Any]

RESULTS = ROOT / "benchmarks" / "results"

PEAK_OF = {
    "f32": {"c": "fma_f32_256", "avx2": "fma_f32_256", "avx512": "fma_f32_512",
            "vnni": "fma_f32_512", "amx": "fma_f32_512", "neon": "fma_f32_128",
            "dot": "fma_f32_128", "i8mm": "fma_f32_128"},
    "qs8": {"c": "madd_i16_256", "avx2": "madd_i16_256", "avx512": "madd_i16_512",
            "vnni": "dpbusd_512", "amx": "tdpbssd", "neon": "adalp_i8_128", "dot": "sdot_128",
            "i8mm": "sdot_128"},
}
"""The peak of `peak.c` by which kernels of a dtype and instruction set are measured.

SMMLA, of i8mm, has none of its own: its kernels can pass 100 % of SDOT's."""


def have(*modules: str) -> bool:
    """Whether these modules are installed."""
    return all(importlib.util.find_spec(module) for module in modules)


def frames_of(seconds: float) -> int:
    """Mel frames of the yardstick model for audio of `seconds`."""
    return 1 + int(seconds * FULL.sample_rate) // FULL.hop_length


def operations(seconds: float) -> tuple[int, ...]:
    """Operations up to each exit: two a multiply-accumulate."""
    return tuple(2 * macs for macs in multiply_accumulates(FULL, seconds))


def cache() -> Path:
    """A folder for what is expensive to make and may be thrown away."""
    path = Path(tempfile.gettempdir()) / f"ee_ref-benchmarks-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


CONFORMER, SPLITFORMER = "conformer", "splitformer"
SHAPES = {CONFORMER: FULL, SPLITFORMER: FULL_SPLITFORMER}
"""The published shapes of which there are forward passes. The yardstick is the first one, of which
everything is that does not say otherwise."""


@cached
def yardstick(dtype: str, shape: str = CONFORMER):
    """(config, tensors) of a published shape, random weights, "f32" or "qs8"."""
    from ee_ref.convert import convert_state_dict
    from ee_ref.quantize import quantize

    config, tensors = convert_state_dict(random_state_dict(SHAPES[shape], FULL_SEED))
    return (config, tensors) if dtype == "f32" else quantize(config, tensors)


def model_name(dtype: str) -> str:
    """Name of the model file of `yardstick(dtype)`."""
    return f"full-{FULL_SEED}-{dtype}.gguf"


def model_path(dtype: str) -> Path:
    """A model file of `yardstick(dtype)`, made when it is missing."""
    from ee_ref import model_file

    path = cache() / model_name(dtype)
    if not path.exists():
        config, tensors = yardstick(dtype)
        tokens = [f"\u2581{number}" for number in range(config.vocab)]
        model_file.write(path, config, tokens, {0}, tensors, name="benchmark")
    return path


@cached
def _peak_program() -> Path:
    program = cache() / "peak"
    compiler = os.environ.get("CC") or ("cc" if shutil.which("cc") else "gcc")
    source = str(ROOT / "benchmarks" / "peak.c")
    subprocess.run([*compiler.split(), "-O2", "-std=gnu99", source, "-o", str(program)], check=True)
    return program


def peaks() -> Line:
    """What one core can do now (peak.c), in 1e9 operations and bytes a second; takes a second."""
    done = subprocess.run([_peak_program()], check=True, capture_output=True, text=True)
    return {"benchmark": "peaks", **json.loads(done.stdout), **load()}


def parser_of(page: str, runs: int = 0, seconds: float = 0) -> argparse.ArgumentParser:
    """The parser of a script with this docstring; runs, seconds: defaults of these options."""
    parser = argparse.ArgumentParser(description=page.partition("\n")[0])
    if runs:
        parser.add_argument("--runs", type=_runs, default=runs, metavar="N",
                            help=f"2 or more, after a warm-up (default: {runs})")
    if seconds:
        parser.add_argument("--seconds", type=float, default=seconds, metavar="S",
                            help=f"length of the audio (default: {seconds})")
    return parser


def _runs(text: str) -> int:
    if int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2, found {text}")
    return int(text)


def load() -> dict[str, float]:
    """Load average of the last minute."""
    return {"load": round(os.getloadavg()[0], 1)}


def machine() -> Line:
    """The line that begins every list of results."""
    return {"benchmark": "machine", **bench.machine(), "commit": commit()}


def commit() -> str:
    """Git's name for the checkout, "+" added when it has changes; "unknown" outside of git."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def ratio(above: list[float], below: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios of runs that followed each other."""
    low, middle, high = quantiles((a / b for a, b in zip(above, below)), n=4, method="inclusive")
    return {"median": round(middle, 4), "quartiles": [round(low, 4), round(high, 4)]}


def emit(lines: Iterable[Line]) -> list[Line]:
    """Print each line as it comes; return them all."""
    kept = []
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), flush=True)
        kept.append(line)
    return kept


def read(path: Path) -> list[Line]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def results() -> list[tuple[Path, list[Line]]]:
    """The results file of each machine, and its lines."""
    return [(path, read(path)) for path in sorted(RESULTS.glob("*.jsonl"))]


def write(path: Path, lines: Iterable[Line]) -> None:
    """A results file of these lines."""
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def file_name(cpu: str, isa: str | None) -> str:
    """Name of the results file of a machine: AMD EPYC, avx2 -> amd-epyc-avx2.jsonl"""
    words = re.sub(r"\(\w+\)|@.*|\bcpu\b|\bprocessor\b", " ", f"{cpu}".lower())
    return "-".join(re.findall(r"[a-z0-9.]+", f"{words} {isa or 'numpy'}")) + ".jsonl"


def of(lines: Iterable[Line], benchmark: str, **fields: Any) -> list[Line]:
    """The lines of one benchmark whose fields have these values."""
    return [line for line in lines if line["benchmark"] == benchmark
            and all(line.get(name) == value for name, value in fields.items())]
