"""The firmware of a board with phrases in its image: from samples to intent and slots."""

from __future__ import annotations

import dataclasses
import wave
from pathlib import Path

import numpy as np
import pytest

from ee_ref import flash_image
from ee_ref.conformance.suite import INT8_CONFIG, Reference
from ee_ref.decode import graph
from ee_ref.exits import CONFIDENCE, Confidence, phrase_scores
from ee_ref.model_file import ModelFile
from ee_ref.phrases import Phrases, load, packed
from tests.boards.support import require_tools
from tests.boards.test_firmware import (
    CLIP_SECONDS,
    bundled,
    bundled_model,
    clip,
    number,
    transcribe,
)

__all__ = ["bundled"]  # a fixture

PHRASES = Path(__file__).parent.parent / "phrases"
SPOKEN = Path(__file__).parent / "house.wav"
"""A sentence of house.phrases, by `flite -voice rms`, at 16 kHz."""


def printed_of(model: Reference, phrases: Phrases, confidence: Confidence, samples: np.ndarray,
               exit_: int) -> str:
    """What the firmware prints of the phrase at an exit."""
    exits = model.encoder.exits(model.features(samples))
    with np.errstate(under="ignore"):
        log_probs = next(out.log_probs for out in exits if out.exit == exit_)
    found = graph.search(phrases.compile(model.tokens), log_probs)
    words = phrases.sentence(found[0][1])
    scores = phrase_scores([score for score, _ in found], sum(map(len, words)), confidence)
    lines = [f"confidence: {scores.confidence:.6f}"]
    if scores.confidence < np.float32(confidence.threshold):
        return "\n".join([*lines, "phrase: none\n"])
    intent, slots = phrases.meaning(words)
    lines += [f"phrase: {' '.join(words)}", f"intent: {intent}"]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in slots.items()), ""])


def spoken(count: int) -> np.ndarray:
    """(count,) int16: the sentence, and silence after it."""
    with wave.open(str(SPOKEN), "rb") as file:
        samples = np.frombuffer(file.readframes(count), "<i2")
    return np.pad(samples, (0, count - len(samples)))


def image_files(folder: Path, image: bytes, samples: np.ndarray) -> dict[str, str]:
    """Variables of make: an image, and a clip."""
    (folder / "image.bin").write_bytes(image)
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(INT8_CONFIG.sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return {"IMAGE": str(folder / "image.bin"), "CLIP": str(folder / "clip.wav")}


def image_of(file: ModelFile, model: Reference, phrases: Phrases, confidence: Confidence,
             exits: int) -> bytes:
    section = packed.pack(
        phrases, phrases.compile(model.tokens), dataclasses.astuple(confidence))
    return flash_image.build(file, exits, CLIP_SECONDS, section)


@pytest.fixture(scope="module")
def rover() -> Phrases:
    return load(PHRASES / "rover.phrases")


ACCEPTING, REJECTING = Confidence(20, 1, 0.1, 0.5), Confidence(-9000, 0, 0, 1)


@pytest.mark.parametrize("confidence", [ACCEPTING, REJECTING], ids=["accepted", "rejected"])
def test_intent_and_slots(board, bundled, rover, confidence, settings, tmp_path):
    if confidence == REJECTING and board != "mps2_an386":
        pytest.skip("one board shows what is rejected")
    exits = bundled.config.exits
    files = image_files(tmp_path, image_of(bundled_model(), bundled, rover, confidence, exits),
                        clip(bundled))
    expected = printed_of(bundled, rover, confidence, clip(bundled), exits)
    assert ("intent: move" in expected) == (confidence == ACCEPTING)
    assert expected in transcribe(board, settings, files)


@pytest.mark.parametrize("board", ["mps2_an386", "mps2_an505"])
def test_part_with_4_mb_of_flash_and_512_kb_of_ram(board, settings, tmp_path):
    """Four seconds through the first exit of the English model, and a house of phrases."""
    require_tools(board)
    phrases = load(PHRASES / "house.phrases")
    file = bundled_model("english")
    model = Reference("english", file, CLIP_SECONDS)
    samples = spoken(int(CLIP_SECONDS * model.config.sample_rate))
    expected = printed_of(model, phrases, CONFIDENCE, samples, exit_=1)
    assert expected.endswith("""\
phrase: TODAY TURN ALL THE GREEN LIGHTS IN THE KITCHEN TO TWENTY PERCENT
intent: light_plan
day: today
color: green
room: kitchen
n: 20
""")
    files = image_files(tmp_path, image_of(file, model, phrases, CONFIDENCE, exits=1), samples)
    printed = transcribe(board, settings, files, "LAYOUT=part_4m_512k")
    assert expected in printed
    flash, ram = number(printed, "flash bytes"), number(printed, "RAM bytes")
    print(f"flash {flash:,.0f} bytes, RAM {ram:,.0f} bytes")
    assert flash <= 4 << 20
    assert ram <= 512 << 10
    assert number(printed, "search") <= 1.5e6 * CLIP_SECONDS  # 1.2e6 measured
