"""The firmware of a board: samples to text, in so much flash, RAM and instructions; faults."""

from __future__ import annotations

import re
import wave
from importlib import resources

import numpy as np
import pytest

from ee_ref import model_file
from ee_ref.conformance.suite import Reference, demo
from tests.boards.support import BARE_METAL, make, require_tools

PARTS = ("mps2_an386", "mps2_an500")
"""The boards that are also cut to a part with 2 MB of flash and 1 MB of RAM."""
FAULT_STATUS = 70
CLIP_SECONDS = 4.0


def bundled_model(name: str = "commands") -> model_file.ModelFile:
    with resources.as_file(resources.files("ee_ref") / "assets" / f"{name}.gguf") as path:
        return model_file.read(path)


@pytest.fixture(scope="session")
def bundled() -> Reference:
    return Reference("commands", bundled_model(), CLIP_SECONDS)


def clip(model: Reference) -> np.ndarray:
    """As many int16 samples as the image is for."""
    return np.resize(demo(), int(CLIP_SECONDS * model.config.sample_rate))


def text_line(model: Reference, samples: np.ndarray) -> str:
    """What the firmware prints of the last exit."""
    log_probs = model.log_probs(model.features(samples))
    decided = model.decide(log_probs, exit=model.config.exits)
    return f"text: {decided['text'].tobytes().decode()}\n"


@pytest.fixture(scope="session")
def bundled_files(bundled, tmp_path_factory) -> dict[str, str]:
    """Variables of make: the image of the bundled model, and 4 s of the demo clip."""
    folder = tmp_path_factory.mktemp("bundled")
    (folder / "image.bin").write_bytes(bundled.image)
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(bundled.config.sample_rate)
        file.writeframes(clip(bundled).astype("<i2").tobytes())
    return {"IMAGE": str(folder / "image.bin"), "CLIP": str(folder / "clip.wav")}


def transcribe(board: str, settings, files: dict[str, str], *more: str) -> str:
    """What `make run-BOARD` prints."""
    variables = [f"{key}={value}" for key, value in files.items()]
    return make(*settings, *variables, *more, f"run-{board}").stdout


def number(printed: str, name: str) -> float:
    return float(re.search(rf"^ *{re.escape(name)}:? +([\d.]+)", printed, re.MULTILINE)[1])


def test_transcribe(board, bundled, bundled_files, settings):
    printed = transcribe(board, settings, bundled_files)
    assert text_line(bundled, clip(bundled)) in printed
    assert number(printed, "flash bytes") > len(bundled.image)
    # Kernels of hosts pack weights on the stack (kernels/README.md); those of firmware do not.
    assert number(printed, "stack") < (8192 if board in BARE_METAL else 65536)
    assert board not in BARE_METAL or number(printed, "instructions") > 0


def test_run_without_variables(bundled, settings):
    """The bundled model and the demo clip are what `make run-BOARD` takes by itself."""
    require_tools("linux_host")
    printed = make(*settings, "run-linux_host").stdout
    assert text_line(bundled, demo()) in printed


@pytest.mark.parametrize("board", PARTS)
def test_part_with_2_mb_of_flash_and_1_mb_of_ram(board, bundled_files, settings):
    require_tools(board)
    printed = transcribe(board, settings, bundled_files, "LAYOUT=part_2m_1m")
    whole = transcribe(board, settings, bundled_files)
    assert re.findall("^text: .*", printed, re.MULTILINE) == (
        re.findall("^text: .*", whole, re.MULTILINE))
    assert number(printed, "flash bytes") <= 2 << 20
    assert number(printed, "RAM bytes") <= 1 << 20


@pytest.mark.parametrize("board, exit_, instructions, products", [
    ("mps2_an386", 1, 86e6, 1.0),
    ("mps2_an500", 1, 86e6, 1.0),
    ("mps2_an505", 1, 86e6, 1.0),
    ("mps3_an547", 1, 30e6, 0.24),
    ("mps3_an547", 6, 66e6, 0.24),
])
def test_instructions_of_the_demo_clip(board, exit_, instructions, products, settings):
    """In all, and of matrix products for each multiply-add: a little more than measured."""
    require_tools(board)
    printed = transcribe(board, settings, {"POLICY": f"exit={exit_}"})
    again = transcribe(board, settings, {"POLICY": f"exit={exit_}"})
    assert again == printed, "instruction counts are repeatable"
    assert number(printed, "instructions") <= instructions
    assert number(printed, "matrix products") <= products


def test_an_installed_image_is_opened_without_its_checksums(settings):
    require_tools("mps2_an386")
    checked, installed = (
        transcribe("mps2_an386", settings, {"POLICY": "exit=1"}, f"INSTALLED={installed}")
        for installed in ("no", "yes"))
    text = re.search("^text: .*", checked, re.MULTILINE)[0]
    assert text in installed
    saved = number(checked, "instructions") - number(installed, "instructions")
    assert saved > 0.8 * number(checked, "open") > 0


@pytest.mark.parametrize("kind", ["flash", "undefined", "stack"])
def test_faults_are_reported(board, kind, settings):
    if board.startswith("wasm") and kind == "flash":
        pytest.skip("WebAssembly has no memory that cannot be written")
    done = make(f"BOARD={board}", *settings, "execute", "PROGRAM=faults",
                f"ARGUMENTS=kind={kind}", check=False)
    assert "fault: " in done.stdout
    assert f"Error {FAULT_STATUS}" in done.stderr
