"""The firmware that listens: a clip in blocks of 10 ms gives the events of a stream in Python."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import numpy as np
import pytest

import ee_ref
from ee_ref.conformance.suite import demo
from ee_ref.stream import Endpoint, Event, Windows
from tests.boards.support import make
from tests.boards.test_firmware import bundled, number
from tests.test_stream import knocks

__all__ = ["bundled"]  # a fixture

RATE = 16000
VIEW, ENDPOINT = Windows(41, 40, 12), Endpoint(None, 0.8, 10.0)
"""What listen.c has."""


def lines_of(events: list[Event]) -> str:
    """What the firmware prints of events."""
    lines = []
    for event in events:
        lines.append(f"{'final' if event.final else 'so far'}: {event.text}")
        if event.final:
            confidence = int(np.float32(event.confidence) * np.float32(1e6)) / 1e6
            lines += [f"  exit: {event.exit}", f"  start ms: {milliseconds(event.start)}",
                      f"  end ms: {milliseconds(event.end)}", f"  confidence: {confidence:.6f}"]
            lines += ["endpoint"] * event.endpoint
    return "\n".join([*lines, ""])


def milliseconds(seconds: float) -> int:
    return round(seconds * RATE) * 1000 // RATE


def listen(board: str, settings, files: dict[str, str], *more: str) -> str:
    """What `make listen-BOARD` prints."""
    variables = [f"{key}={value}" for key, value in files.items()]
    return make(*settings, *variables, *more, f"listen-{board}").stdout


def files_of(folder: Path, image: bytes, samples: np.ndarray) -> dict[str, str]:
    """Variables of make."""
    (folder / "image.bin").write_bytes(image)
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return {"IMAGE": str(folder / "image.bin"), "CLIP": str(folder / "clip.wav")}


def test_events_are_those_of_python(board, bundled, settings, tmp_path):
    samples = np.concatenate([demo(), np.zeros(RATE // 2, np.int16)])
    stream = ee_ref.load("commands").stream(exit=2, view=VIEW, endpoint=ENDPOINT)
    events = stream.feed(samples / np.float32(32768)) + stream.finish()
    assert sum(event.final for event in events) > 1
    printed = listen(board, settings, files_of(tmp_path, bundled.image, samples), "POLICY=exit=2")
    assert lines_of(events) in printed
    assert number(printed, "arena") <= 256 << 10


def test_what_is_kept_does_not_grow(bundled, settings, tmp_path):
    files = files_of(tmp_path, bundled.image, demo())
    once, thrice = (listen("mps3_an547", settings, files, f"POLICY=exit=6 times={times}")
                    for times in (1, 3))
    for what in ("RAM bytes", "arena", "stack"):
        assert number(once, what) == number(thrice, what), what
    assert number(thrice, "samples") == 3 * number(once, "samples")
    assert number(once, "arena") <= 256 << 10


LIMITS = {"silence": 0.7e6, "ear": 12e6, "exit=1": 15.5e6, "exit=6": 49e6}
"""Instructions a second of audio on a Cortex-M55, with some room."""


@pytest.mark.parametrize("what", LIMITS)
def test_instructions_a_second(what, bundled, settings, tmp_path):
    samples = {"silence": np.zeros(3 * RATE, np.int16), "ear": knocks(6.0)}.get(what, demo())
    policy = what if what.startswith("exit") else "exit=6"
    printed = listen("mps3_an547", settings, files_of(tmp_path, bundled.image, samples),
                     f"POLICY={policy}")
    exits = [int(exit) for exit in re.findall(r"^exit: (\d+)", printed, re.MULTILINE)]
    assert max(exits) == {"silence": 0, "ear": 1, "exit=1": 1, "exit=6": 6}[what]
    assert 1e5 < number(printed, "instructions a second of audio") <= LIMITS[what]
