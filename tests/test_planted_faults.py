"""The conformance suite notices each fault of tests/faults.py, in the tier where it belongs."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from ee_ref.conformance import runner
from ee_ref.conformance.transport import Program
from tests.conftest import EMULATED_ISAS, ISAS
from tests.faults import FAULTS, Fault
from tests.support import EMULATION, KERNELS, cases_with_values, make_desk
from tests.test_conformance_protocol import Lossy

ROOT = Path(__file__).resolve().parent.parent
BELOW = {
    "integer": (),
    "int8": ("integer/*",),
    "f32": ("integer/*", "int8/*"),
    "frontend": ("integer/*", "int8/*"),
    "model": ("integer/*", "int8/*", "f32/*", "frontend/features/*"),
    "decision": ("model/*",),
    "status": ("model/*",),
}
"""What a fault of a tier leaves as it is. Transcripts, of tier frontend, come of all of a model."""

TIMEOUT = 20.0


# Each fault takes a compiler and a part of the suite; in one process they share a library.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]

HERE = [fault for fault in FAULTS if fault.isa in (*ISAS, *EMULATED_ISAS)]
"""Those whose kernels this CPU can run, or emulate."""

FLAGS = f"CFLAGS=-O2 {EMULATION if EMULATED_ISAS else ''}"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """What the port is built of: one more FAULT compiles no more than its file."""
    out = tmp_path_factory.mktemp("workshop")
    make_desk(out, FLAGS)
    return out


def program(workshop: Path, fault: Fault, folder: Path | None) -> list[str]:
    """The command of the port, with the file of the fault in `folder`, or without."""
    make_desk(workshop, FLAGS, f"FAULT={folder or ''}")
    return [str(workshop / "ee_conformance_desk"), fault.isa]


def run(vectors, command: list[str], line: str, patterns: tuple[str, ...]) -> dict[str, str]:
    """Name -> status of the cases of such names, over such a line."""
    return run_cases(vectors, command, line, [
        case for case in vectors.cases
        if any(fnmatchcase(case.name, pattern) for pattern in patterns)])


def run_cases(vectors, command: list[str], line: str, cases) -> dict[str, str]:
    """Name -> status of these cases, over such a line."""
    transport = Program(command)
    if line:
        transport = Lossy(transport, sent=(2,))  # HELLO is the first
        transport.kind = line
    try:
        done = runner.run(vectors, transport, cases, TIMEOUT)
    finally:
        transport.close()
    return {result.case: result.status for result in done.results}


def with_headers_of(text: str, folder: Path) -> str:
    """The text of a header of this folder, to lie elsewhere."""
    def found(include: re.Match[str]) -> str:
        path = folder / include[1]
        return f'#include "{path}"' if path.exists() else include[0]

    return re.sub(r'#include "([^"]+)"', found, text)


def plant_beside(folder: Path, header: str) -> None:
    """Copies of the files that include a header, which they find beside themselves in `folder`."""
    for path in (ROOT / "kernels" / "src").rglob("*.c"):
        text, count = re.subn(rf'#include "[^"]*\b{header}"', f'#include "{header}"',
                              path.read_text())
        if count:
            (folder / path.name).write_text(text)


def identity(fault: Fault) -> str:
    return f"{fault.isa}: {fault.name}"


def test_each_is_another():
    assert len(set(map(identity, FAULTS))) == len(FAULTS)
    assert {fault.tier for fault in FAULTS} == BELOW.keys()


@pytest.mark.parametrize("fault", HERE, ids=identity)
def test_a_fault_is_noticed_where_it_belongs(fault, vectors, workshop, tmp_path):
    source = ROOT / fault.file
    text = source.read_text()
    assert text.count(fault.text) == 1, f"{fault.file} changed: plant this fault anew"
    planted = text.replace(fault.text, fault.planted)
    if source.suffix == ".h":
        planted = with_headers_of(planted, source.parent)
        plant_beside(tmp_path, source.name)
    (tmp_path / source.name).write_text(planted)
    found = run(vectors, program(workshop, fault, tmp_path), fault.line,
                (*BELOW[fault.tier], fault.cases))
    own = {name: status for name, status in found.items() if fnmatchcase(name, fault.cases)}
    assert own and set(own.values()) == {"fail"}, own
    below = {name: status for name, status in found.items() if name not in own}
    assert [name for name, status in below.items() if status != "pass"] == []


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", KERNELS)
def test_one_wrong_bit_is_noticed(op, isa, vectors, desk):
    """A kernel that gets the lowest bit of its last value wrong fails each of its cases."""
    own = cases_with_values(vectors, op)
    found = run_cases(vectors, [*desk, isa, op], "", own)
    assert own and set(found.values()) == {"fail"}


def test_only_kernels_can_be_wrong(desk):
    done = subprocess.run([*desk, "c", "feed_forward_qs8"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "no kernel of that name" in done.stderr


@pytest.mark.parametrize("fault", [fault for fault in HERE if fault.line], ids=identity)
def test_a_bad_line_alone_fails_nothing(fault, vectors, workshop):
    found = run(vectors, program(workshop, fault, None), fault.line, (fault.cases,))
    assert set(found.values()) == {"pass"}


def test_firmware_meets_no_other_names(workshop):
    """What the files of a port and the library define for the linker begins with ee."""
    objects = [path for path in workshop.glob("*.o") if path.name != "desk.o"]
    listed = subprocess.run(["nm", "-g", "--defined-only", *objects], capture_output=True,
                            text=True, check=True).stdout
    names = re.findall(r"^[0-9a-f]+ \S (\S+)$", listed, re.MULTILINE)
    assert {"eec_fail", "ee_conformance_serve", "ee_linear_qs8_c"} <= set(names)
    assert [name for name in names if not name.startswith("ee")] == []


@pytest.mark.parametrize("isa", ("c", *EMULATED_ISAS))
def test_without_a_fault_all_pass(isa, vectors, workshop):
    found = run(vectors, program(workshop, FAULTS[0]._replace(isa=isa), None), "", ("*",))
    assert len(found) == len(vectors.cases) and set(found.values()) == {"pass"}
