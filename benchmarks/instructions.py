"""Instructions of the firmware on the boards of kernels/ports, by op, counted under QEMU.

    python benchmarks/instructions.py               # a minute; writes results/instructions.json

Each board recognises the demo clip with the model `commands`. The counts are the same in every run
of one compiler, so nothing else on the machine matters. Needs what `.ci/boards` installs; prints
what it writes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common import RESULTS, ROOT, Line, cache, commit, emit, parser_of

RESULT = RESULTS / "instructions.json"
PORTS = ROOT / "kernels" / "ports"
RUNS = (("mps2_an386", "Cortex-M4F", 1), ("mps2_an500", "Cortex-M7", 1),
        ("mps2_an505", "Cortex-M33", 1), ("mps3_an547", "Cortex-M55", 1),
        ("mps3_an547", "Cortex-M55", 6), ("mps2_an385", "Cortex-M3", 1),
        ("virt_rv32", "RV32IMAFC", 1))
"""Board, its core, the last exit that is computed."""

PRODUCTS = "int8 products"
OPS = {
    PRODUCTS: r"ee_linear_(digits_)?qs8_(c|dsp|mve)|add_products",
    "front end": r"features(\.part\.\d+)?|ee_mel_.*",
    "checksum of the image": r"ee_crc32_.*",
    "SiLU": r"ee_silu_.*",
    "quantise, one digit or two": r"ee_quantize_.*|quantize_(keys|values)",
    "softmax of attention": r"ee_softmax_.*",
    "layer norm": r"ee_layer_norm_.*",
    "depthwise convolution": r"ee_depthwise_conv_.*",
    "GLU": r"ee_glu_.*",
    "floats in software": r"__.*",
    "all else": r".*",
}
"""Op, and the functions of the firmware that are it: the first that fits a function counts."""


def by_op(counts: str) -> tuple[int, dict[str, int]]:
    """(all instructions, those of each op) of what kernels/ports/plugin writes. Each instruction
    belongs to one op. Raises ValueError where the functions do not add up to the whole."""
    total, found = 0, dict.fromkeys(OPS, 0)
    for kind, *rest in map(str.split, counts.splitlines()):
        if kind == "total":
            total = int(rest[0])
        elif kind == "function":
            name, count = " ".join(rest[:-1]), int(rest[-1])
            found[next(op for op, names in OPS.items() if re.fullmatch(names, name))] += count
    if sum(found.values()) != total:
        raise ValueError(f"counts: expected functions of {total} instructions in all, "
                         f"found {sum(found.values())}")
    return total, found


def measure() -> Iterator[Line]:
    """One line a run."""
    out = cache() / "ports"
    for board, core, exit_ in RUNS:
        printed = _make(f"OUT={out}", f"PYTHON={sys.executable}", f"POLICY=exit={exit_}",
                        f"run-{board}")
        total, found = by_op((out / board / "board" / "counts.txt").read_text())
        products = re.search(r"^multiply-adds of matrix products: (\d+)$", printed, re.MULTILINE)
        if products is None:
            raise SystemExit(f"instructions: {board} printed no multiply-adds:\n{printed}")
        compiler, emulator = _make(f"BOARD={board}", "tools").split()
        yield {"benchmark": "instructions", "board": board, "core": core, "exit": exit_,
               "total": total, "by_op": found, "multiply_adds": int(products[1]),
               "compiler": _version(compiler), "emulator": _version(emulator),
               "commit": commit()}


def _make(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "--no-print-directory", "-s", "-C", str(PORTS), *arguments],
                          stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"instructions: make {' '.join(arguments)} failed (its error is above)")
    return done.stdout


def _version(program: str) -> str:
    """The line in which a program says its version."""
    done = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def read(path: Path = RESULT) -> list[Line]:
    """The lines of the file."""
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser_of(__doc__).parse_args()
    lines = emit(measure())
    RESULT.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
