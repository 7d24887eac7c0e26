"""The conformance suite on every board: what proves a port (docs/conformance.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

from ee_ref import audio
from ee_ref.conformance import report, runner, transport
from ee_ref.conformance.suite import INT8, suite
from ee_ref.conformance.vector import Vector
from ee_ref.exits import frame_entropy
from tests.boards.support import ISAS, PORTS, make, require_tools
from tests.support import KERNELS, cases_with_values

TIMEOUT = 120.0
EVERY_ISA = [(board, isa) for board, isas in ISAS.items() for isa in isas]
BUNDLED = ("frontend/features/commands_demo", "frontend/transcribe/commands_entropy",
           "model/exits/commands_one_word", "decision/decide/commands_demo_entropy_equal")
"""Of the cases of the bundled model, into which nine tenths of a board's time go, those that every
board is asked; the others only mps2_an386 is, or all where EE_REF_REQUIRE_BOARDS is "all"."""


def judged(vectors, cases, board: str, isa: str | None, settings, wrong: str | None = None
           ) -> runner.Run:
    port = transport.board(board, isa, PORTS.parent, settings, wrong)
    try:
        return runner.run(vectors, port, cases, TIMEOUT)
    finally:
        port.close()


def statuses(done: runner.Run) -> set[str]:
    return {result.status for result in done.results}


@pytest.mark.parametrize("board, isa", EVERY_ISA)
def test_conformance(board, isa, vectors, settings):
    """The host judges every case; of the exact tiers none but the float32 models are left out."""
    require_tools(board)
    whole = ((board, isa) == ("mps2_an386", "dsp")
             or os.environ.get("EE_REF_REQUIRE_BOARDS") == "all")
    cases = [case for case in vectors.cases
             if whole or case.model != "commands" or case.name in BUNDLED]
    done = judged(vectors, cases, board, isa, settings)
    assert not done.failed(), report.table(done)
    left_out = [result.case for result in done.results if result.status == "unsupported"
                and result.tier != "f32" and "-f32_" not in result.case]
    assert (done.port.name, done.port.isa, left_out) == (board, isa, [])
    assert vectors.models["commands"].sha256 in done.port.models, "the image is sent every time"
    # Boards follow the order of docs/numerics.md, so that their features are those to the byte.
    assert {result.ulp for result in done.results
            if result.tier == "frontend" and result.status == "pass"} == {0.0}


@pytest.mark.parametrize("isa", ISAS["linux_aarch64"])
def test_float32(isa, vectors, settings):
    """The board that has float32 mode leaves nothing out."""
    require_tools("linux_aarch64")
    cases = [case for case in vectors.cases
             if case.tier == "f32" or fnmatchcase(case.name, "*-f32_*")]
    done = judged(vectors, cases, "linux_aarch64", isa, settings)
    assert cases and statuses(done) == {"pass"}, report.table(done)


@pytest.mark.parametrize("op", KERNELS)
def test_one_wrong_bit_is_noticed(board, op, vectors, settings):
    """A kernel that gets the lowest bit of its last value wrong fails each of its cases."""
    own = cases_with_values(vectors, op)
    done = judged(vectors, own, board, None, settings, wrong=op)
    assert own and statuses(done) == {"fail"}, report.table(done)


@pytest.mark.parametrize("board", ["mps2_an386", "mps2_an500", "mps2_an505", "mps3_an547"])
def test_one_wrong_bit_of_both_digits_is_noticed(board, vectors, settings):
    """Of a kernel that only some instruction sets have, by ops whose result is its own."""
    require_tools(board)
    own = [case for op in ("linear_digits_qs8", "stem_conv_qs8")
           for case in cases_with_values(vectors, op)]
    done = judged(vectors, own, board, None, settings, wrong="linear_digits_qs8")
    passed = {result.case for result in done.results if result.status != "fail"}
    # Of more values each digit is multiplied by itself.
    assert passed == {case.name for case in own if case.name.endswith("_1041")}


def execute(board: str, settings, *arguments: str):
    return make(f"BOARD={board}", *settings, "execute", "PROGRAM=conformance",
                f"ARGUMENTS={' '.join(arguments)}", check=False)


def test_a_wrong_argument_is_an_error(board, settings):
    for argument, message in (("in=missing.bin", "missing.bin: cannot be opened"),
                              ("isa=avx2", "avx2: no instruction set of this CPU"),
                              ("wrong=feed_forward_qs8", "feed_forward_qs8: no kernel of that")):
        done = execute(board, settings, argument)
        assert f"error: {message}" in done.stdout
        assert re.search(r"Error 1$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("cpu, best, lacking", [
    ("cortex-a72", "neon", "dot"), ("neoverse-n1", "dot", "i8mm"), ("max", "i8mm", None),
])
def test_aarch64_cpus(cpu, best, lacking, vectors, settings):
    """The instruction sets that a CPU has are found, and no others."""
    require_tools("linux_aarch64")
    settings = (*settings, f"EMULATED={cpu}")
    cases = [case for case in vectors.cases if case.op == "linear_qs8"]
    done = judged(vectors, cases, "linux_aarch64", None, settings)
    assert (done.port.isa, statuses(done)) == (best, {"pass"}), report.table(done)
    if lacking:
        found = execute("linux_aarch64", settings, f"isa={lacking}")
        assert f"error: {lacking}: no instruction set of this CPU" in found.stdout


# ---- Clips of one's own ----


def clip_vectors(folder: Path) -> Iterator[Vector]:
    """Every exit and a decision of each audio file of a folder, as the bundled model has them."""
    model = suite().models["commands"]
    rate = model.config.sample_rate
    for number, path in enumerate(sorted(folder.iterdir())):
        values = np.round(audio.read(path, rate).astype(np.float64) * 32768)
        samples = np.clip(values, -32768, 32767).astype(np.int16)[: 4 * rate]
        log_probs = model.log_probs(model.features(samples))
        found = {f"log_probs_{exit}": values for exit, values in enumerate(log_probs, start=1)}
        inputs = {"features": model.features(samples)}
        yield Vector(f"model/exits/{path.name}", "model", "exits", inputs, found,
                     dict.fromkeys(found, INT8), {"exits": len(log_probs)}, model.name)
        # The score of an exit as the threshold: one bit less, and it would not stop there.
        threshold = frame_entropy(log_probs[number % len(log_probs)])
        decided = model.decide(log_probs, threshold=threshold)
        del decided["margin"], decided["frames"]
        yield Vector(f"frontend/transcribe/{path.name}", "frontend", "transcribe",
                     {"samples": samples}, decided, dict.fromkeys(decided, INT8),
                     {"threshold": float(np.float32(threshold))}, model.name)


@pytest.mark.skipif("EE_REF_CLIPS" not in os.environ, reason="EE_REF_CLIPS names no folder")
@pytest.mark.parametrize("board, isa", [(board, isas[-1]) for board, isas in ISAS.items()])
def test_clips(board, isa, vectors, settings):
    """Audio files of the folder EE_REF_CLIPS, samples to text, by their bytes."""
    require_tools(board)
    cases = list(clip_vectors(Path(os.environ["EE_REF_CLIPS"])))
    done = judged(vectors, cases, board, isa, settings)
    assert cases and statuses(done) == {"pass"}, report.table(done)
