"""The boards, and `make` in kernels/ports.

Each board is skipped, with the reason, where its compiler or its emulator is missing; with
EE_REF_REQUIRE_BOARDS=1 in the environment, as in `.ci/boards`, that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PORTS = Path(__file__).resolve().parent.parent.parent / "kernels" / "ports"

ISAS = {
    "mps2_an385": ("c",),
    "mps2_an386": ("c", "dsp"),
    "mps2_an500": ("c", "dsp"),
    "mps2_an505": ("c", "dsp"),
    "mps3_an547": ("c", "mve"),
    "virt_rv32": ("c",),
    "linux_aarch64": ("c", "neon", "dot", "i8mm"),
    "wasm": ("c",),
    "wasm_simd128": ("c", "simd128"),
}
"""Boards, and their kernels from the portable to the best."""
BARE_METAL = tuple(board for board in ISAS if not board.startswith(("linux", "wasm")))
"""Those with flash, and start-up code; of these the plugin counts instructions."""


def make(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "-s", "-C", str(PORTS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


@cache
def missing_tools(board: str) -> tuple[str, ...]:
    """What would have to be installed for a board."""
    if not shutil.which("make"):
        return ("make",)
    tools = make(f"BOARD={board}", "tools").stdout.split()
    missing = tuple(tool for tool in tools if not shutil.which(tool))
    if not missing and make(f"BOARD={board}", "c-library", check=False).returncode != 0:
        return (f"a C library for {tools[0]}",)
    return missing


def require(what: str, is_there: bool) -> None:
    """Skip the test, or fail it with EE_REF_REQUIRE_BOARDS=1, unless it is there."""
    if is_there:
        return
    if os.environ.get("EE_REF_REQUIRE_BOARDS") in ("1", "all"):
        pytest.fail(f"EE_REF_REQUIRE_BOARDS=1, and needs {what}", pytrace=False)
    pytest.skip(f"needs {what}")


def require_tools(board: str) -> None:
    """Skip the test, or fail it, when tools of a board are missing."""
    missing = missing_tools(board)
    require(f"{', '.join(missing)} for {board}", not missing)
