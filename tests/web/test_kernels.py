"""The kernels in the package are those of the source tree."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.boards.support import make, require, require_tools
from tests.web.support import KERNELS

CLANG = "14"
"""The major version that made them, of which others may choose other instructions."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("web")]


@pytest.mark.parametrize("isa", KERNELS)
def test_they_can_be_made_again(isa, tmp_path):
    """To the byte: `make -C kernels/ports web-wasm web-wasm_simd128` after a change of the C."""
    board = "wasm" if isa == "c" else "wasm_simd128"
    require_tools(board)
    said = subprocess.run(["clang", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"clang version (\d+)", said)
    require(f"clang {CLANG}", found is not None and found[1] == CLANG)
    make(f"web-{board}", f"OUT={tmp_path / 'ports'}", f"WEB={tmp_path}")
    assert (tmp_path / KERNELS[isa].name).read_bytes() == KERNELS[isa].read_bytes()


def test_a_kernel_holds_no_path_and_asks_for_nothing_else():
    require("node", shutil.which("node") is not None)
    script = """
        const module = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));
        const names = (list) => list.map(({ name }) => name).sort().join(' ');
        console.log(names(WebAssembly.Module.imports(module)));
        console.log(WebAssembly.Module.customSections(module, 'name').length);
        """
    for path in KERNELS.values():
        done = subprocess.run(["node", "-e", script, str(path)], capture_output=True, text=True,
                              check=True)
        assert done.stdout.split("\n")[:2] == ["heard now rows slot word", "0"]
        assert b"/kernels/" not in path.read_bytes()
