"""The firmware of a board with phrases in its image: from samples to intent and slots."""

from __future__ import annotations

import dataclasses
import wave
from pathlib import Path

import numpy as np
import pytest

from ee_ref import flash_image
from ee_ref.conformance.draw import random_int8_model
from ee_ref.conformance.suite import INT8_CONFIG, Reference, written
from ee_ref.decode import graph
from ee_ref.exits import Confidence, phrase_scores
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
from tests.support import letter_pairs

__all__ = ["bundled"]  # a fixture

PHRASES = Path(__file__).parent.parent / "phrases"
ENGLISH = dataclasses.replace(
    INT8_CONFIG, exits=1, layers_per_exit=(4,), dim=192, ff=768, kernel=15, vocab=256, mels=80,
    max_frames=128)
"""The size of a large-vocabulary model up to its fourth layer."""


def printed_of(model: Reference, phrases: Phrases, confidence: Confidence, samples: np.ndarray
               ) -> str:
    """What the firmware prints of the phrase at the last exit."""
    log_probs = model.log_probs(model.features(samples))[-1]
    found = graph.search(phrases.compile(model.tokens), log_probs)
    words = phrases.sentence(found[0][1])
    scores = phrase_scores([score for score, _ in found], sum(map(len, words)), confidence)
    lines = [f"confidence: {scores.confidence:.6f}"]
    if scores.confidence < np.float32(confidence.threshold):
        return "\n".join([*lines, "phrase: none\n"])
    intent, slots = phrases.meaning(words)
    lines += [f"phrase: {' '.join(words)}", f"intent: {intent}"]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in slots.items()), ""])


def image_files(folder: Path, image: bytes, samples: np.ndarray) -> dict[str, str]:
    """Variables of make: an image, and a clip."""
    (folder / "image.bin").write_bytes(image)
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(INT8_CONFIG.sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return {"IMAGE": str(folder / "image.bin"), "CLIP": str(folder / "clip.wav")}


def image_of(file: ModelFile, model: Reference, phrases: Phrases, confidence: Confidence) -> bytes:
    section = packed.pack(
        phrases, phrases.compile(model.tokens), dataclasses.astuple(confidence))
    return flash_image.build(file, seconds=CLIP_SECONDS, phrases=section)


@pytest.fixture(scope="module")
def rover() -> Phrases:
    return load(PHRASES / "rover.phrases")


ACCEPTING, REJECTING = Confidence(20, 1, 0.1, 0.5), Confidence(-9000, 0, 0, 1)


@pytest.mark.parametrize("confidence", [ACCEPTING, REJECTING], ids=["accepted", "rejected"])
def test_intent_and_slots(board, bundled, rover, confidence, settings, tmp_path):
    if confidence == REJECTING and board != "mps2_an386":
        pytest.skip("one board shows what is rejected")
    files = image_files(tmp_path, image_of(bundled_model(), bundled, rover, confidence),
                        clip(bundled))
    expected = printed_of(bundled, rover, confidence, clip(bundled))
    assert ("intent: move" in expected) == (confidence == ACCEPTING)
    assert expected in transcribe(board, settings, files)


def test_part_with_4_mb_of_flash_and_512_kb_of_ram(settings, tmp_path):
    """Four seconds through four layers of a large-vocabulary model, and a house of phrases."""
    require_tools("mps2_an386")
    phrases = load(PHRASES / "house.phrases")
    file = written(*random_int8_model(ENGLISH, 7), letter_pairs(phrases.words, ENGLISH.vocab))
    model = Reference("english", file, CLIP_SECONDS)
    accepting = Confidence(9000, 0, 0, 0)
    samples = clip(model)
    files = image_files(tmp_path, image_of(file, model, phrases, accepting), samples)
    printed = transcribe("mps2_an386", settings, files, "LAYOUT=part_4m_512k")
    assert printed_of(model, phrases, accepting, samples) in printed
    assert len(samples) == CLIP_SECONDS * model.config.sample_rate
    assert number(printed, "flash bytes") <= 4 << 20
    assert number(printed, "RAM bytes") <= 512 << 10
    # No phrase fits such labels, so that nothing can be dropped; speech that is one takes 1 to 2.
    assert number(printed, "search") <= 40e6 * CLIP_SECONDS
