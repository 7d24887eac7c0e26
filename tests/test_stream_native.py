"""The stream in C gives the events of the stream in Python, and of int8 models the same bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import ee_ref
from ee_ref import audio
from ee_ref.exits import Entropy, Fixed
from ee_ref.loading import bundled_model
from ee_ref.stream import LIVE, Chunks, Endpoint, Event, Windows

pytest.importorskip("ee_ref.native._lib")

from ee_ref.native._lib import ffi, lib  # noqa: E402
from tests.native_stream import NativeStream, Rows, Said  # noqa: E402
from tests.test_stream import knocks, small_path, speechlike  # noqa: E402

__all__ = ["small_path"]  # a fixture

RATE = 16000
DEMO = bundled_model().with_name("demo.wav")
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


@pytest.mark.parametrize("view", [Windows(41, 40, 12), Windows(12, 44, 16), Windows(41, 40, 0)],
                         ids=["far back", "not far back", "pauses just long enough"])
def test_pauses_that_windows_do_not_look_back_over(commands, view):
    """What the gate lets through, and is no speech, goes on ahead of words and behind them."""
    sounds = knocks(5.0) / np.float32(32768)
    samples = np.concatenate([sounds, audio.read(DEMO, RATE), sounds])
    how = how_of(view)
    assert in_c(commands, samples, how, (1600,)) == in_python(commands, samples, how)


def test_policies_and_integers(commands):
    """A policy by scores; samples of 16 bits stand for samples / 32768."""
    integers = np.round(recording() * 20000).astype(np.int16)
    how = how_of(VIEWS["windows"], Entropy(0.012), Endpoint(None, 0.8, 20.0))
    events, rows = in_python(commands, integers / np.float32(32768), how)
    assert in_c(commands, integers, how, (160,)) == (events, rows)
    assert len({row.exit for row in rows}) > 3


@pytest.mark.parametrize("view", [Windows(32, 24, 16), Chunks(16, 32)], ids=["windows", "chunks"])
def test_labels_that_are_pieces_of_words(view):
    model = ee_ref.load("english")
    how = how_of(view, Fixed(2), Endpoint(None, 0.8, 1.5))
    events, rows = in_python(model, recording(7.0), how)
    assert in_c(model, recording(7.0), how, (999,)) == (events, rows)
    assert len([event for event in events if event.final]) > 2


@pytest.mark.parametrize("view", [Windows(6, 5, 8), Chunks(4, 8)], ids=["windows", "chunks"])
@pytest.mark.parametrize("longest", [0.1, 2.0])
def test_labels_from_nowhere(small_path, view, longest):
    """A random model of either dtype: utterances that are too long, boundaries alone."""
    model = ee_ref.load(small_path, backend="native")
    how = how_of(view, Fixed(2), Endpoint(0.5, 0.2, longest))
    for seed in range(3):
        samples = speechlike(5.0, seed)
        events, rows = in_python(model, samples, how)
        assert in_c(model, samples, how, (777,)) == (events, rows)
        assert len(events) > 10


def test_nothing_and_next_to_nothing(commands):
    how = how_of(VIEWS["windows"])
    for count in (0, 1, 100, 1000, 3000):
        samples = recording()[:count]
        assert in_c(commands, samples, how) == in_python(commands, samples, how), count


def test_phrases(commands, tmp_path):
    """As in Python, but for times: C knows when the utterance ended, not when words were said."""
    path = tmp_path / "said.phrases"
    path.write_text("move: computer go {way = forward | backward} nine stop\nhalt: no\n")
    decoder = commands.phrase_decoder(path)
    how = how_of(Windows(32, 24, 16), Fixed(6), Endpoint(1.0, 0.3, 20.0))
    samples = recording()
    expected, _ = in_python(commands, samples, {**how, "phrases": decoder})
    how |= {"phrases": decoder.phrases, "filler": decoder.filler, "confidence": decoder.confidence}
    events, _ = in_c(commands, samples, how, (1600,))
    assert [event._replace(start=0, end=0) for event in events] == [
        event._replace(start=0, end=0, words=()) for event in expected]
    assert {event.intent for event in events} == {"move", None}
    # Utterances that are too long, and streams that end in the middle of one.
    for count in range(RATE // 2, 2 * RATE, 640):
        short = {"endpoint": Endpoint(None, 0.3, 0.2)}
        found, _ = in_c(commands, samples[:count], how | short)
        expected_of_short, _ = in_python(
            commands, samples[:count], how_of(how["view"], Fixed(6)) | short | {"phrases": decoder})
        assert [event.text for event in found] == [event.text for event in expected_of_short]
    assert {"way": "forward"} in [event.slots for event in events]
    for event, python in zip(events, expected):
        assert event.start == event.end >= python.end
    with pytest.raises(ee_ref.EeError):
        NativeStream(commands, **{**how, "filler": float("nan")})


def recorded(source: str) -> np.ndarray:
    """Three recordings of a source of the list that EE_REF_RECORDINGS names, or the demo clip."""
    if "EE_REF_RECORDINGS" not in os.environ:
        return audio.read(DEMO, RATE)
    path = Path(os.environ["EE_REF_RECORDINGS"])
    lines = map(json.loads, path.read_text().splitlines())
    paths = [path.parent / line["path"] for line in lines if line["source"] == source][:3]
    return np.concatenate([audio.read(path, RATE) for path in paths])


@pytest.mark.parametrize("name, source, exit, view", [
    ("commands", "speech-commands", 6, Windows(41, 40, 12)),
    ("commands", "wake-words", 1, LIVE),
    ("english", "librispeech-dev-clean", 5, Windows(64, 60, 32)),
    ("english", "common-voice", 1, Chunks(32, 64)),
])
def test_recordings(name, source, exit, view):
    model = ee_ref.load(name)
    samples, how = recorded(source), how_of(view, Fixed(exit), Endpoint())
    assert in_c(model, samples, how, (160,)) == in_python(model, samples, how)


def resident() -> int:
    """Bytes of memory of this process."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_hours_move_no_memory(small_path):
    """Six hours of sound and silence, in slices of 0.1 s: neither the process nor what the arena is
    surrounded by changes."""
    model = ee_ref.load(small_path, backend="native")
    stream = NativeStream(model, **how_of(Windows(6, 5, 8), Fixed(3)), beyond=4096)
    stream.config.heard = stream.config.rows = ffi.NULL
    stream.open()
    minute = np.concatenate([speechlike(20.0, 1), np.zeros(20 * RATE, np.float32),
                             speechlike(20.0, 2)])
    pieces = minute.reshape(-1, RATE // 10)
    after_a_minute = 0
    for _ in range(6 * 60):
        for piece in pieces:
            assert stream.feed(piece) == lib.EE_OK
        after_a_minute = after_a_minute or resident()
    assert resident() - after_a_minute <= 1 << 16
    assert (stream.beyond == 0xA5).all()
    assert stream.finish() == lib.EE_OK
