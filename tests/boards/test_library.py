"""What the library asks of a system, and the checks of the library on another machine."""

from __future__ import annotations

import re
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


def test_the_stack_is_within_what_the_header_says(out):
    """Of the call graphs that the compiler for a Cortex-M4F writes, as docs/porting.md asks."""
    require_tools("mps2_an386")
    compiler = "arm-none-eabi-gcc -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard -mthumb"
    done = subprocess.run(
        ["make", "--no-print-directory", "-s", "-C", str(PORTS.parent), f"OUT={out / 'stack'}",
         f"CC={compiler} -DEE_NO_THREADS", "stack"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    needed = int(re.search(r"^stack: (\d+) bytes$", done.stdout, re.MULTILINE)[1])
    header = (PORTS.parent / "include" / "ee_image.h").read_text()
    assert 1000 < needed <= int(re.search(r"EE_STACK_BYTES = (\d+)", header)[1])


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
