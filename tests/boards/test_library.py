"""What the library asks of a system, and the checks of the library on another machine."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.boards.support import PORTS, make, require_tools


@pytest.mark.parametrize("program", ["check_ops", "check_qs8_ops"])
def test_checks_of_the_library(program, out):
    """Sizes around the tiles, guard pages, equal rows: what `make check` does, on aarch64."""
    require_tools("linux_aarch64")
    built = out / "aarch64-checks"
    subprocess.run(
        ["make", "--no-print-directory", "-s", "-C", str(PORTS.parent), f"OUT={built}",
         "CC=aarch64-linux-gnu-gcc", "AR=aarch64-linux-gnu-ar", "CFLAGS=-O2 -static",
         str(built / program)], check=True)
    emulator = shutil.which("qemu-aarch64") or "qemu-aarch64-static"
    done = subprocess.run([emulator, "-cpu", "max", str(built / program)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_symbols(board, settings):
    make(*settings, f"symbols-{board}")


@pytest.mark.parametrize("code, symbol", [
    ("#include <stdlib.h>\nvoid *f(void) { return malloc(3); }", "malloc"),
    ("#include <stdio.h>\nvoid f(void) { puts(\"x\"); }", "puts"),
    ("#include <math.h>\nfloat f(float x) { return expf(x); }", "expf"),
])
def test_symbols_are_checked(code, symbol, tmp_path):
    if not shutil.which("cc"):
        pytest.skip("needs cc")
    (tmp_path / "ee_bad_qs8_c.c").write_text(code)
    commands = ["cc", "-c", "ee_bad_qs8_c.c"], ["ar", "rcs", "libbad.a", "ee_bad_qs8_c.o"]
    for command in commands:
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([PORTS / "symbols.sh", "nm", tmp_path / "libbad.a"], cwd=PORTS,
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert f"not allowed: {symbol} in ee_bad_qs8_c" in done.stdout
