"""The checks of tests/c, each a program, run on the C library that is installed.

`make -C kernels check` compiles a library for them, with warnings as errors and under sanitizers.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import link_to_installed

CHECKS = sorted((Path(__file__).parent / "c").glob("check_*.c"))


@pytest.mark.parametrize("source", CHECKS, ids=lambda path: path.stem)
def test_a_plain_c_check(source, c_programs, tmp_path):
    command = link_to_installed(tmp_path, source.stem, [source])
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{source.stem}: " in done.stdout and ", 0 failed" in done.stdout
