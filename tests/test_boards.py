"""Boards under QEMU give the bytes of the desk (docs/porting.md).

Each board is skipped, with the reason, where its compiler or its emulator is missing; with
EE_REF_REQUIRE_BOARDS=1 in the environment, as in `.ci/boards`, that is a failure. What is built
lies in a temporary folder, or in EE_REF_BOARDS_OUT, so that a second run is quick. EE_REF_CLIPS
names a folder of audio files that are run besides the demo clip.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import wave
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from ee_ref import audio
from ee_ref.conformance import manifest, report, runner, transport
from ee_ref.conformance.cases import cases_of
from ee_ref.conformance.draw import SMALL, Stream, random_features, random_int8_model
from ee_ref.conformance.suite import Suite
from ee_ref.decode import greedy
from ee_ref.encoder import ReferenceEncoder
from ee_ref.exits import frame_entropy
from ee_ref.tokens import Tokens
from tests.support import assert_close
from weights_io import flash_image, model_file

pytestmark = pytest.mark.slow  # compilers and emulators

ROOT = Path(__file__).resolve().parent.parent
PORTS = ROOT / "kernels" / "ports"
ASSETS = ROOT / "ee_ref" / "assets"

spec = importlib.util.spec_from_file_location("ee_ref_ports_vectors", PORTS / "vectors.py")
vectors = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = vectors
spec.loader.exec_module(vectors)

ISAS = {
    "mps2_an385": ("c",),
    "mps2_an386": ("c", "dsp"),
    "mps2_an500": ("c", "dsp"),
    "mps3_an547": ("c", "mve"),
    "virt_rv32": ("c",),
    "linux_aarch64": ("c", "neon", "dot", "i8mm"),
}
PARTS = ("mps2_an386", "mps2_an500")
"""The boards that are also cut to a part with 2 MB of flash and 1 MB of RAM."""
BARE_METAL = tuple(board for board in ISAS if not board.startswith("linux"))
FAULT_STATUS = 70
F32_PRIMITIVES = ("depthwise_conv", "glu", "layer_norm", "linear", "log_softmax", "silu", "softmax")


def make(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "-s", "-C", str(PORTS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="session")
def out(tmp_path_factory) -> Path:
    folder = os.environ.get("EE_REF_BOARDS_OUT")
    return Path(folder).resolve() if folder else tmp_path_factory.mktemp("ports")


@lru_cache(maxsize=None)
def missing_tools(board: str) -> tuple[str, ...]:
    """What would have to be installed for a board."""
    if not shutil.which("make"):
        return ("make",)
    tools = make(f"BOARD={board}", "tools").stdout.split()
    missing = tuple(tool for tool in tools if not shutil.which(tool))
    if not missing and make(f"BOARD={board}", "c-library", check=False).returncode != 0:
        return (f"a C library for {tools[0]}",)
    return missing


def require_tools(board: str) -> None:
    """Skip the test, or fail it with EE_REF_REQUIRE_BOARDS=1, when tools of a board are missing."""
    missing = missing_tools(board)
    if not missing:
        return
    reason = f"{board} needs {', '.join(missing)}"
    if os.environ.get("EE_REF_REQUIRE_BOARDS") in ("1", "all"):
        pytest.fail(f"EE_REF_REQUIRE_BOARDS=1, and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(params=ISAS)
def board(request) -> str:
    require_tools(request.param)
    return request.param


class Desk:
    """A model as this machine computes it, and its flash image."""

    def __init__(self, file: model_file.ModelFile, seconds: float | None = None):
        self.config = file.config
        self.image = flash_image.build(file, seconds=seconds)
        self.encoder = ReferenceEncoder(file.config, file.tensors)
        self.tokens = Tokens(file.tokens, file.special, file.config.blank)
        self.tensors = file.tensors

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Those of the C front end on this machine."""
        from ee_ref.native._frontend import NativeFrontend

        mean, scale = (self.tensors.get(f"frontend.{name}") for name in ("mean", "scale"))
        return NativeFrontend(self.config, mean, scale).extract(samples)

    def utterance(self, name: str, samples: np.ndarray, exit: int = 0, threshold: float = 0.0):
        """Samples to text: the C front end, then the NumPy encoder, Python policies and decoder."""
        features = self.features(samples)
        for found in self.encoder.exits(features):
            score = float(found.exit) if exit else frame_entropy(found.log_probs)
            if (found.exit >= exit > 0) or (exit == 0 and score <= np.float32(threshold)):
                break
        best = greedy(found.log_probs, self.config.blank)
        text = self.tokens.text(best.tokens).encode()
        expected = [
            features, found.log_probs, np.int32(found.exit), np.float32(score),
            np.array([best.tokens, best.frames], np.int32).T.reshape(-1, 2),
            np.frombuffer(text, np.int8),
        ]
        arguments = [samples, np.int32(exit), np.float32(threshold)]
        return vectors.Vector("utterance", f"{name}: samples to text", arguments, expected)


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Desk:
    """A model of another shape in everything, made of random numbers."""
    config = dataclasses.replace(
        SMALL, frontend="logmel", n_fft=512, win_length=400, pad=1600, mels=37, max_frames=80)
    config, tensors = random_int8_model(config, 11)
    tokens = ("<blank>", "▁", *(chr(ord("A") + i) for i in range(config.vocab - 2)))
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    model_file.write(path, config, tokens, frozenset(), tensors)
    return Desk(model_file.read(path))


@pytest.fixture(scope="session")
def bundled() -> Desk:
    return Desk(model_file.read(next(ASSETS.glob("*.gguf"))), seconds=4.0)


def demo() -> np.ndarray:
    return vectors.read_clip(ASSETS / "demo.wav")


def clips(config) -> list[tuple[str, np.ndarray]]:
    """Names and 16-bit samples: ten stretches of the demo clip, and the files of EE_REF_CLIPS."""
    samples, rate = demo(), config.sample_rate
    found = [("demo", samples[: 4 * rate])]
    for number in range(9):
        first = number * len(samples) // 12
        length = int((0.2 + 0.15 * number) * rate)
        found.append((f"demo from {first}", samples[first : first + length]))
    folder = os.environ.get("EE_REF_CLIPS")
    for path in sorted(Path(folder).iterdir()) if folder else ():
        values = np.round(audio.read(path, rate).astype(np.float64) * 32768)
        found.append((path.name, np.clip(values, -32768, 32767).astype(np.int16)[: 4 * rate]))
    return found


def run(board: str, cases: list, tmp_path: Path, out: Path, **options) -> list[str]:
    """What differs when a board computes the cases."""
    settings = {"OUT": str(out), **options.pop("settings", {})}
    results = vectors.compute(board, cases, tmp_path, settings=settings, **options)
    return vectors.differences(cases, results)


# ---- Bytes ----


@pytest.fixture(scope="session")
def op_vectors() -> list:
    return vectors.op_vectors()


@pytest.mark.parametrize("board, isa", [(b, isa) for b, isas in ISAS.items() for isa in isas])
def test_ops(board, isa, op_vectors, tmp_path, out):
    require_tools(board)
    wrong = run(board, op_vectors, tmp_path, out, isa=isa)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("op", F32_PRIMITIVES)
@pytest.mark.parametrize("isa", ["c", "neon"])
def test_float32_ops(isa, op, tmp_path, out):
    require_tools("linux_aarch64")
    cases = vectors.op_vectors([op])
    results = vectors.compute("linux_aarch64", cases, tmp_path, isa=isa, settings={"OUT": str(out)})
    assert len(results) == len(cases)
    for vector, case, (status, outputs) in zip(cases, cases_of(op), results):
        assert status == 0, f"{vector.name}: status {status}"
        expected = np.atleast_2d(vector.expected[0])
        assert_close(outputs[0], expected, case.tolerance, f"{vector.name} on {isa}")


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


@pytest.mark.parametrize("cpu, best, lacking", [
    ("cortex-a72", "neon", "dot"), ("neoverse-n1", "dot", "i8mm"), ("max", "i8mm", None),
])
def test_aarch64_cpus(cpu, best, lacking, tmp_path, out):
    """The instruction sets that a CPU has are found, and no others."""
    require_tools("linux_aarch64")
    settings = {"EMULATED": cpu}
    cases = vectors.op_vectors(["linear_qs8"])
    for isa in (best, None):
        wrong = run("linux_aarch64", cases, tmp_path, out, isa=isa, settings=dict(settings))
        assert not wrong, "\n".join(wrong)
    if lacking:
        with pytest.raises(vectors.BoardError, match="no instruction set of this CPU"):
            run("linux_aarch64", cases, tmp_path, out, isa=lacking, settings=dict(settings))


def test_small_model(board, small, tmp_path, out, native_library):
    cases = [vectors.image_vector("small", small.image)]
    for frames in (0, 6, 7, 8, 70, 230):
        features = random_features(frames, frames, small.config.mels)
        cases.append(vectors.exits_vector(f"{frames} frames", small.encoder, features))
    noise = (Stream(5)(20000) * 3000).astype(np.int16)
    cases += [small.utterance(f"exit {n}", noise, exit=n) for n in (1, 2, 3)]
    cases += [small.utterance(f"threshold {x}", noise, threshold=x) for x in (0.0, 0.18, 1.0)]
    wrong = run(board, cases, tmp_path, out)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "board, isa", [*((board, isas[-1]) for board, isas in ISAS.items()),
                   ("linux_aarch64", "neon"), ("linux_aarch64", "dot")]
)
def test_bundled_model(board, isa, bundled, tmp_path, out, native_library):
    require_tools(board)
    cases = [vectors.image_vector("bundled", bundled.image)]
    for number, (name, samples) in enumerate(clips(bundled.config)):
        log_probs = vectors.exits_vector(name, bundled.encoder, bundled.features(samples))
        # The score of an exit as the threshold: one bit less, and it would not stop there.
        threshold = frame_entropy(log_probs.expected[number % bundled.config.exits])
        cases += [log_probs, bundled.utterance(name, samples, threshold=threshold)]
    wrong = run(board, cases, tmp_path, out, isa=isa)
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def suite() -> manifest.Vectors:
    return manifest.computed(Suite())


@pytest.mark.parametrize("board, isa", [(b, isa) for b, isas in ISAS.items() for isa in isas])
def test_conformance(board, isa, suite, out):
    """The host judges every case; of the exact tiers none but the float32 model is left out.

    Nine tenths of a board's time go into the bundled model, which test_bundled_model has run: but
    for one board its cases are asked only where EE_REF_REQUIRE_BOARDS is "all".
    """
    require_tools(board)
    whole = ((board, isa) == ("mps2_an386", "dsp")
             or os.environ.get("EE_REF_REQUIRE_BOARDS") == "all")
    cases = [case for case in suite.cases if whole or case.model != "commands"]
    port = transport.board(board, isa, PORTS.parent,
                           [f"OUT={out}", f"PYTHON={sys.executable}"])
    try:
        done = runner.run(suite, port, cases, timeout=120)
    finally:
        port.close()
    assert not done.failed(), report.table(done)
    left_out = [result.case for result in done.results if result.status == "unsupported"
                and result.tier != "f32" and "/small-f32_" not in result.case]
    assert (done.port.name, done.port.isa, left_out) == (board, isa, [])
    assert suite.models["commands"].sha256 in done.port.models, "the image is sent every time"


@pytest.mark.parametrize("kernel", vectors.FAULTS)
def test_one_wrong_bit_is_caught(board, kernel, op_vectors, tmp_path, out):
    """A kernel that gets the lowest bit of one output wrong fails each of its cases."""
    own = [vector for vector in op_vectors
           if vector.op == kernel and any(output.size for output in vector.expected)]
    wrong = run(board, own, tmp_path, out, fault=kernel)
    assert own and len(wrong) == len(own), f"{len(own)} cases, {len(wrong)} differ"


# ---- Bad input ----


def test_bad_input(board, small, tmp_path, out):
    """The status that the library has a name for, and nothing written outside the arena."""
    from ee_ref.native import _lib

    status = {name: getattr(_lib.lib, name) for name in dir(_lib.lib) if name.startswith("EE_ERR_")}
    image = small.image
    features = random_features(30, 1, small.config.mels)
    samples = np.zeros(4000, np.float32)
    not_finite = features.copy()
    not_finite[3, 2] = np.nan

    def changed(offset: int, value: int) -> bytes:
        return image[:offset] + bytes([value]) + image[offset + 1 :]

    def bad(op: str, name: str, error: str, *arguments: np.ndarray):
        return vectors.Vector(op, name, arguments, (), status[error])

    def nan_at(index: int) -> np.ndarray:
        with_nan = samples.copy()
        with_nan[index] = np.nan
        return with_nan

    cases = [
        vectors.image_vector("cut", image[:-64], status["EE_ERR_IMAGE_TRUNCATED"]),
        vectors.image_vector("head only", image[:1000], status["EE_ERR_IMAGE_TRUNCATED"]),
        vectors.image_vector("misaligned", image + bytes(16), status["EE_ERR_ALIGNMENT"], shift=16),
        vectors.image_vector("other magic", changed(0, 0), status["EE_ERR_IMAGE_MAGIC"]),
        vectors.image_vector("other ABI", changed(4, 99), status["EE_ERR_IMAGE_ABI"]),
        vectors.image_vector("bad header", changed(40, image[40] ^ 1),
                             status["EE_ERR_IMAGE_CHECKSUM"]),
        vectors.image_vector("bad tensor", changed(len(image) - 100, image[-100] ^ 1),
                             status["EE_ERR_IMAGE_CHECKSUM"]),
        vectors.Vector("image", "too many exits",
                       [np.frombuffer(image, np.int8), np.int32(0), np.int32(4)], (),
                       status["EE_ERR_IMAGE_EXITS"]),
        vectors.image_vector("good", image),
        bad("exits", "arena one byte too small", "EE_ERR_ARENA_TOO_SMALL", features, np.int32(-1)),
        bad("exits", "too many frames", "EE_ERR_TOO_MANY_FRAMES",
            random_features(4 * small.config.max_frames + 8, 1, small.config.mels)),
        bad("exits", "NaN features", "EE_ERR_NOT_FINITE", not_finite),
        bad("features", "NaN sample", "EE_ERR_NOT_FINITE", nan_at(1234)),
        vectors.exits_vector("after all that", small.encoder, features),
    ]
    wrong = run(board, cases, tmp_path, out)
    assert not wrong, "\n".join(wrong)


# ---- Firmware ----


@pytest.fixture(scope="session")
def bundled_files(bundled, tmp_path_factory) -> dict[str, str]:
    """Variables of make: the image of the bundled model, and 4 s of the demo clip."""
    folder = tmp_path_factory.mktemp("bundled")
    (folder / "image.bin").write_bytes(bundled.image)
    rate = bundled.config.sample_rate
    samples = np.resize(demo(), 4 * rate)
    with wave.open(str(folder / "clip.wav"), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(rate)
        clip.writeframes(samples.astype("<i2").tobytes())
    return {"IMAGE": str(folder / "image.bin"), "CLIP": str(folder / "clip.wav")}


def transcribe(board: str, out: Path, files: dict[str, str], *settings: str) -> str:
    """What `make run-BOARD` prints."""
    variables = [f"{key}={value}" for key, value in files.items()]
    return make(f"OUT={out}", *variables, *settings, f"run-{board}").stdout


def number(printed: str, name: str) -> float:
    return float(re.search(rf"^ *{re.escape(name)}:? +([\d.]+)", printed, re.MULTILINE)[1])


def test_transcribe(board, bundled, bundled_files, out, native_library):
    printed = transcribe(board, out, bundled_files)
    samples = vectors.read_clip(bundled_files["CLIP"])
    expected = bundled.utterance("clip", samples, exit=bundled.config.exits).expected
    assert f"text: {expected[-1].tobytes().decode()}\n" in printed
    assert number(printed, "flash bytes") > len(bundled.image)
    # Kernels of hosts pack weights on the stack (kernels/README.md); those of firmware do not.
    assert number(printed, "stack") < (8192 if board in BARE_METAL else 65536)
    assert number(printed, "instructions") > 0 or board == "linux_aarch64"


def test_run_without_variables(bundled, out, native_library):
    """The bundled model and the demo clip are what `make run-BOARD` takes by itself."""
    require_tools("linux_host")
    printed = make(f"OUT={out}", f"PYTHON={sys.executable}", "run-linux_host").stdout
    expected = bundled.utterance("demo", demo(), exit=bundled.config.exits).expected
    assert f"text: {expected[-1].tobytes().decode()}\n" in printed


@pytest.mark.parametrize("board", PARTS)
def test_part_with_2_mb_of_flash_and_1_mb_of_ram(board, bundled_files, out):
    require_tools(board)
    printed = transcribe(board, out, bundled_files, "LAYOUT=part_2m_1m")
    whole = transcribe(board, out, bundled_files)
    assert re.findall("^text: .*", printed, re.MULTILINE) == (
        re.findall("^text: .*", whole, re.MULTILINE))
    assert number(printed, "flash bytes") <= 2 << 20
    assert number(printed, "RAM bytes") <= 1 << 20


@pytest.mark.parametrize("board, limit", [("mps3_an547", 0.35), ("mps2_an386", 3.2)])
def test_instructions_of_matrix_products(board, limit, bundled_files, out):
    require_tools(board)
    printed = transcribe(board, out, bundled_files)
    assert transcribe(board, out, bundled_files) == printed, "instruction counts are repeatable"
    assert number(printed, "matrix products") <= limit


@pytest.mark.parametrize("kind", ["flash", "undefined", "stack"])
def test_start_up_reports_faults(board, kind, out):
    done = make(f"BOARD={board}", f"OUT={out}", "execute", "PROGRAM=faults",
                f"ARGUMENTS=kind={kind}", check=False)
    assert "fault: " in done.stdout
    assert f"Error {FAULT_STATUS}" in done.stderr


def test_a_missing_file_is_an_error(board, out):
    done = make(f"BOARD={board}", f"OUT={out}", "execute", "PROGRAM=vectors",
                "ARGUMENTS=cases=missing.bin results=r.bin", check=False)
    assert "error: missing.bin: cannot be opened" in done.stdout
    assert "Error 1" in done.stderr


# ---- What the library asks of a system ----


def test_symbols(board, out):
    make(f"OUT={out}", f"symbols-{board}")


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
