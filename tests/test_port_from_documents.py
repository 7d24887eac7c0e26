"""The port of `port_from_documents/`: from the documents alone, so it shows that they suffice.

Whoever changes what a document says changes the port after it, not after the package. The tests are
skipped where rustc is missing; with EE_REF_REQUIRE_RUST=1 or EE_REF_REQUIRE_BOARDS in the
environment they fail instead.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest

from ee_ref.cli import main

SOURCE = Path(__file__).resolve().parent / "port_from_documents" / "main.rs"

# It is compiled anew with each mistake; in one process the port without one is compiled once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rust")]

TIERS = ("integer", "int8", "f32", "frontend", "model", "decision", "status")
OF_THE_CALLER = {"offset", "memory", "arena"}
"""Parameters of memory that a caller gives; this port takes none."""


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Compiles the port, with a mistake when one is named."""
    if not shutil.which("rustc"):
        if {"EE_REF_REQUIRE_RUST", "EE_REF_REQUIRE_BOARDS"} & os.environ.keys():
            pytest.fail("rustc is required, and missing", pytrace=False)
        pytest.skip("rustc is missing")
    folder = tmp_path_factory.mktemp("port")
    built: dict[str, Path] = {}

    def compile_port(fault: str = "") -> Path:
        if fault not in built:
            exe = folder / f"port{fault}"
            subprocess.run(["rustc", "--edition", "2021", "-O", "-C", "strip=symbols", "--cfg",
                            f'fault="{fault}"', SOURCE, "-o", exe], check=True)
            built[fault] = exe
        return built[fault]

    return compile_port


def judged(exe: Path, output: Path, *arguments: str) -> tuple[int, list[dict]]:
    """Exit code and results of the command, as a user runs it."""
    code = main(["conformance", "run", "--exe", shlex.quote(str(exe)), *arguments,
                 "--format", "json", "--output", str(output)])
    return code, json.loads(output.read_text("utf-8"))["results"]


def test_every_case_of_every_tier_passes(build, vectors, tmp_path):
    code, results = judged(build(), tmp_path / "report.json")
    assert {r["case"]: r["message"] for r in results
            if r["status"] not in ("pass", "unsupported")} == {}
    assert code == 0
    assert {r["case"] for r in results if r["status"] == "unsupported"} == {
        case.name for case in vectors.cases
        if case.tier == "status" and OF_THE_CALLER & case.parameters.keys()}
    counts = Counter(r["tier"] for r in results)
    assert set(counts) == set(TIERS) and min(counts.values()) > 0


def test_the_front_end_as_documented_gives_the_bytes(build, tmp_path):
    _, results = judged(build(), tmp_path / "report.json", "--tier", "frontend")
    assert results and all(r["ulp"] == 0 for r in results)


@pytest.mark.parametrize("fault, noticed, unharmed", [
    ("round", "integer/quantize_qs8/ties_to_even", "integer/linear_qs8/"),
    ("sum", "int8/layer_norm_exact/", "integer/"),
])
def test_a_mistake_is_noticed_where_it_is_made(build, tmp_path, fault, noticed, unharmed):
    code, results = judged(build(fault), tmp_path / "report.json",
                           "--tier", "integer", "--tier", "int8", "--tier", "model")
    failed = [r["case"] for r in results if r["status"] == "fail"]
    assert code == 1 and {r["status"] for r in results} == {"pass", "fail"}
    assert any(case.startswith(noticed) for case in failed)
    assert any(case.startswith("model/exits/commands") for case in failed)
    assert not any(case.startswith(unharmed) for case in failed)


# ---- Damage on the way: conformance-protocol.md ----

HELLO, MODEL, CASE, BYE = 0x01, 0x02, 0x03, 0x04
PORT, RESULT, UNSUPPORTED, ERROR, END = 0x81, 0x82, 0x83, 0x84, 0x85


def frame(kind: int, sequence: int, payload: bytes) -> bytes:
    header = struct.pack("<4sBBHI", b"EECF", kind, 0, sequence, len(payload))
    crcs = [struct.pack("<I", zlib.crc32(part)) for part in (header, payload)]
    return header + crcs[0] + payload + crcs[1]


def body(name: bytes = b"", dtype: bytes = b"f", axes: int = 2) -> bytes:
    """A body; with a name, that of a case with a tensor x of one value."""
    if not name:
        return bytes(8)
    head = struct.pack("<4H", len(name), 0, 1, 0) + name
    head += struct.pack("<BcBx", 1, dtype, axes) + struct.pack("<I", 1) * axes + b"x"
    return head + bytes(-len(head) % 64) + struct.pack("<f", 1.0)


def damaged(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]


def answers(exe: Path, *questions: bytes) -> list[tuple[int, int, bytes]]:
    """Types, sequence numbers and payloads of what the port says until it ends."""
    done = subprocess.run([exe], input=b"".join(questions), capture_output=True, timeout=60,
                          check=True)
    assert done.stderr == b""
    found, rest = [], done.stdout
    while rest:
        kind, sequence, size = struct.unpack("<4xBxHI", rest[:12])
        payload = rest[16:16 + size]
        assert rest.startswith(frame(kind, sequence, payload))
        found.append((kind, sequence, payload))
        rest = rest[20 + size:]
    return found


def test_what_is_no_frame_is_passed_over(build):
    silu = frame(CASE, 7, body(b"silu_exact"))
    found = answers(build(), b"booting EECF EEC", damaged(silu, 4), b"EE", silu, silu, b"EECF",
                    frame(BYE, 8, body()), silu)
    assert [a[:2] for a in found] == [(RESULT, 7), (RESULT, 7), (END, 8)]
    assert found[0] == found[1]


def test_a_damaged_payload_is_asked_for_again(build):
    silu = frame(CASE, 7, body(b"silu_exact"))
    for at in (16, len(silu) - 5, len(silu) - 1):
        found = answers(build(), damaged(silu, at), silu)
        assert [a[:2] for a in found] == [(ERROR, 0), (RESULT, 7)]
        assert b"code" + struct.pack("<i", 1) in found[0][2]


@pytest.mark.parametrize("kind, payload, code", [
    (CASE, b"", 2),
    (CASE, body(b"silu_exact")[:-1], 2),
    (CASE, body(b"silu_exact") + b"\0", 2),
    (CASE, body(b"silu_exact", axes=5), 2),
    (CASE, body(b"silu_exact", dtype=b"i"), 3),
    (CASE, body(b"silu_exact", axes=1), 3),
    (CASE, body(b"layer_norm_exact"), 3),
    (CASE, body(b"exits"), 3),
    (0x77, body(), 3),
    (MODEL, body(b"a digest"), None),
    (CASE, body(b"another_op"), None),
])
def test_what_cannot_be_answered_is_said_and_the_port_goes_on(build, kind, payload, code):
    found = answers(build(), frame(kind, 3, payload), frame(HELLO, 4, body()))
    assert [a[:2] for a in found] == [(UNSUPPORTED if code is None else ERROR, 3), (PORT, 4)]
    assert code is None or b"code" + struct.pack("<i", code) in found[0][2]


def test_a_question_cut_short_ends_the_port(build):
    silu = frame(CASE, 7, body(b"silu_exact"))
    assert [a[:2] for a in answers(build(), silu, silu[:-1])] == [(RESULT, 7)]
    assert answers(build()) == []
