"""The stream in C gives the events of the stream in Python, and of int8 models the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ee_ref
from ee_ref import audio
from ee_ref.exits import Entropy, Fixed
from ee_ref.loading import bundled_model
from ee_ref.stream import LIVE, Chunks, Endpoint, Event, Windows

pytest.importorskip("ee_ref.native._lib")

from ee_ref.native._lib import lib  # noqa: E402
from tests.native_stream import NativeStream, Rows, Said  # noqa: E402

RATE = 16000
DEMO = bundled_model().with_name("demo.wav")
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
VIEWS = {"windows": Windows(24, 8, 8), "no seam": Windows(9, 3, 2), "no left": Windows(0, 7, 4),
         "one row": Windows(3, 1, 0), "live": LIVE, "chunks": Chunks(16, 32),
         "small chunks": Chunks(3, 6)}


@pytest.fixture(scope="module")
def commands() -> ee_ref.Model:
    return ee_ref.load("commands")


def recording(seconds: float = 12.0, seed: int = 1) -> np.ndarray:
    """The demo clip, silence, a hum that the gate lets through, noise; then the clip, louder."""
    draw = np.random.default_rng(seed)
    demo = audio.read(DEMO, RATE)
    parts = [demo, np.zeros(RATE * 2, np.float32),
             0.02 * np.sin(np.arange(RATE) * 0.05, dtype=np.float32),
             0.05 * draw.standard_normal(RATE).astype(np.float32),
             np.zeros(RATE // 2, np.float32), 1.5 * demo]
    return np.concatenate(parts)[: int(seconds * RATE)].astype(np.float32)


def in_python(model, samples, how) -> tuple[list[Said], list[Rows]]:
    """Events and final rows of the stream in Python."""
    stream = model.stream(**how)
    rows: list[Rows] = []
    feed = stream._speech.feed

    def noted(block):
        data = np.ascontiguousarray(block.log_probs[: block.final]).tobytes()
        rows.append(Rows(block.first, block.exit, block.final, data if block.exit else b""))
        return feed(block)

    stream._speech.feed = noted
    events = stream.feed(samples) + stream.finish()
    return [as_in_c(event, model.config.sample_rate) for event in events], merged(rows)


def merged(rows: list[Rows]) -> list[Rows]:
    """With all rows outside of runs that follow each other in one."""
    found: list[Rows] = []
    for part in rows:
        if found and found[-1].exit == part.exit == 0:
            found[-1] = found[-1]._replace(count=found[-1].count + part.count)
        else:
            found.append(part)
    return found


def as_in_c(event: Event, rate: int) -> Said:
    def at(seconds: float) -> int:
        assert abs(seconds * rate - round(seconds * rate)) < 1e-6
        return round(seconds * rate)

    words = tuple((w.word, at(w.start), at(w.end), w.confidence) for w in event.words)
    return Said(event.final, event.text, words, event.exit, at(event.start), at(event.end),
                event.confidence, event.endpoint, event.intent,
                {name: str(value) for name, value in event.slots.items()})


def in_c(model, samples, how, sizes=(10**9,)) -> tuple[list[Said], list[Rows]]:
    stream = NativeStream(model, **how)
    start, number = 0, 0
    while start < len(samples):
        size = sizes[number % len(sizes)]
        assert stream.feed(samples[start : start + size]) == lib.EE_OK
        start, number = start + size, number + 1
    assert stream.finish() == lib.EE_OK
    return stream.events, merged(stream.rows)


def how_of(view, policy=Fixed(3), endpoint=Endpoint(1.0, 0.4, 2.0)):  # noqa: B008  # frozen
    return {"view": view, "policy": policy, "endpoint": endpoint}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_events_and_bytes_are_those_of_python(commands, view):
    samples = recording(5.0 if view in (LIVE, VIEWS["one row"]) else 12.0)
    how = how_of(view)
    events, rows = in_python(commands, samples, how)
    assert in_c(commands, samples, how) == (events, rows)
    assert len({event.final for event in events}) == 2
    assert {row.exit for row in rows} >= {0, 3}


@pytest.mark.parametrize("view", [VIEWS["windows"], VIEWS["chunks"]], ids=["windows", "chunks"])
def test_any_slices_give_the_same(commands, view):
    samples, how = recording(), how_of(view)
    expected = in_c(commands, samples, how)
    for sizes in ((160,), (1600,), (1, 7000, 333)):
        assert in_c(commands, samples, how, sizes) == expected, sizes
    short = samples[:RATE]
    assert in_c(commands, short, how, (1,)) == in_c(commands, short, how)
