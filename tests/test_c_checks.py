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


# ---- Faults of the attention decoder, which its check has to notice ----

DECODER = Path(__file__).parent.parent / "kernels" / "src" / "decode" / "ee_decoder.c"
DECODER_FAULTS = {
    # what it does: (the text of the file, what is put in its place)
    "sees what pads": ("if (labels[n] != c->pad_token) {", "if (labels[n] < c->vocab) {"),
    "copies the labels of another one": ("copy_place(d, place, from);",
                                         "copy_place(d, place, d->place[0]);"),
    "lets two share a place": ("d->taken[from] == 1", "d->taken[from]"),
    "leaves the rectifier out": ("d->wide[i] > 0.0f ? d->wide[i] : 0.0f", "d->wide[i]"),
    "counts positions from 1": ("d->steps, 0);", "d->steps + 1, 0);"),
    "scores by the width of all heads": ("sqrtf((float)width)", "sqrtf((float)dim)"),
    "has the keys of one head for all": ("keys + h * width, count", "keys, count"),
    "takes keys for queries": ("&own.cross.in, d->count, dim, dim, 0)",
                               "&own.cross.in, d->count, dim, dim, dim)"),
    "says what another exit says": ("d->exit = exit - 1;", "d->exit = 0;"),
}
RENAMED = "".join(f"#define ee_decoder_{name} faulty_{name}\n" for name in ("size", "open", "step"))


@pytest.mark.parametrize("fault", DECODER_FAULTS)
def test_the_check_of_decoders_notices(fault, c_programs, tmp_path):
    text, planted = DECODER_FAULTS[fault]
    code = DECODER.read_text()
    assert code.count(text) == 1
    faulty, check = tmp_path / "faulty.c", tmp_path / "check.c"
    faulty.write_text(RENAMED + code.replace(text, planted))
    (original,) = (source for source in CHECKS if source.stem == "check_decoder")
    check.write_text(RENAMED + original.read_text().replace(
        '"check_model.h"', f'"{original.with_name("check_model.h")}"'))
    done = subprocess.run(link_to_installed(tmp_path, "faulty", [faulty, check]),
                          capture_output=True, text=True)
    assert "other bytes than elsewhere" in done.stderr, done.stdout + done.stderr
