"""Streams: docs/streaming.md, part by part, and the whole under any slicing."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

import ee_ref
from ee_ref import audio
from ee_ref.conformance.draw import random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.errors import (
    ArgumentError,
    AudioError,
    ModelFileError,
    StateError,
    TooLongError,
)
from ee_ref.exits import Patience
from ee_ref.families.conformer import Config
from ee_ref.frontend import front_end
from ee_ref.loading import bundled_model
from ee_ref.model import WHOLE_SECONDS
from ee_ref.model_file import store_operating_points, write
from ee_ref.quantize import quantize
from ee_ref.stream import LIVE, LONG, Chunks, Endpoint, Event, Stream, Windows
from ee_ref.stream.gate import Gate
from ee_ref.stream.hearing import PAUSE_ROWS, Block, Hearing, _seam
from ee_ref.stream.signal import Signal, frames_of_row
from ee_ref.stream.speech import Speech, Spoken
from ee_ref.tokens import Tokens

RATE = 16000
DEMO = bundled_model().with_name("demo.wav")
SMALL = Config(
    exits=3, layers_per_exit=(1, 2, 1), dim=16, heads=2, ff=24, kernel=5, vocab=6, mels=20,
    frontend="logmel", n_fft=512, win_length=400, pad=800, positions="none", max_frames=0)
VIEWS = {"windows": Windows(6, 5, 8), "no seam": Windows(3, 2, 1), "chunks": Chunks(4, 8)}


def noise(seconds: float, seed: int = 3, loud: float = 0.3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.uniform(-loud, loud, int(seconds * RATE)).astype(np.float32)


def speechlike(seconds: float, seed: int = 3) -> np.ndarray:
    """Noise that comes and goes, with silence of about a second now and then."""
    x = noise(seconds, seed)
    t = np.arange(len(x)) / RATE
    return (x * np.square(np.sin(2.2 * t)) * (np.sin(0.9 * t + seed) > -0.6)).astype(np.float32)


def knocks(seconds: float) -> np.ndarray:
    """Knocks over a murmur of noise: they keep the gate open, and are no words."""
    draw = np.random.default_rng(4)
    samples = draw.normal(0, 30, int(seconds * RATE))
    for start in range(RATE // 5, len(samples) - RATE // 10, 4 * RATE // 10):
        samples[start : start + RATE // 25] += draw.normal(0, draw.integers(200, 3000), RATE // 25)
    return samples.astype(np.int16)


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    return audio.read(DEMO, RATE)


@pytest.fixture(scope="module")
def commands() -> ee_ref.Model:
    return ee_ref.load("commands")


@pytest.fixture(scope="module", params=["f32", "qs8"])
def small_path(request, tmp_path_factory):
    """A random model whose blank is not always best, of either dtype."""
    state = random_state_dict(SMALL, 5)
    names = ("heads", "frontend", "n_fft", "win_length", "pad", "positions")
    config, tensors = convert_state_dict(
        state, extras={name: getattr(SMALL, name) for name in names})
    for exit in range(1, 4):
        tensors[f"head.{exit}.weight"] = 12 * tensors[f"head.{exit}.weight"]
        tensors[f"head.{exit}.bias"] = np.array([4, 0, 0, 0, 0, 0], np.float32)
    if request.param == "qs8":
        config, tensors = quantize(config, tensors)
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    write(path, config, ("@", "▁a", "b", "▁c", "d", "▁"), (), tensors)
    return path


@pytest.fixture(params=["numpy", "native"])
def small(request, small_path):
    if request.param == "native":
        pytest.importorskip("ee_ref.native._lib")
    return ee_ref.load(small_path, backend=request.param)


@pytest.fixture(scope="module")
def move(tmp_path_factory):
    path = tmp_path_factory.mktemp("phrases") / "move.phrases"
    path.write_text("move: computer go {way = forward | backward}\nnumber: seven eight\n")
    return path


@pytest.fixture(scope="module")
def english() -> ee_ref.Model:
    return ee_ref.load("english")


def events_of(stream: Stream, samples: np.ndarray, sizes=(10**9,)) -> list[Event]:
    found, start, number = [], 0, 0
    while start < len(samples):
        size = sizes[number % len(sizes)]
        found += stream.feed(samples[start : start + size])
        start, number = start + size, number + 1
    return found + stream.finish()


def said(events: list[Event]) -> str:
    return " ".join(event.text for event in events if event.final and event.text)


# ---- Slices ----


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_any_slices_give_the_same_events(small, view):
    samples = speechlike(3.0 if small.backend == "native" else 2.0)
    how = {"view": view, "policy": Patience(1), "endpoint": Endpoint(1.0, 0.3, 2.0)}
    expected = events_of(small.stream(**how), samples)
    assert len([event for event in expected if event.final]) >= 1
    for sizes in ((1,), (160,), (1600,), (16000,), (1, 7000, 333)):
        assert events_of(small.stream(**how), samples, sizes) == expected, sizes


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=6), st.integers(0, 3))
def test_slices_of_the_bundled_model(commands, sizes, seed):
    samples = speechlike(1.0, seed)
    how = {"view": Windows(8, 4, 4), "exit": 2}
    assert events_of(commands.stream(**how), samples, sizes) == events_of(
        commands.stream(**how), samples)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_numpy_gives_the_events_of_c_for_int8(view):
    pytest.importorskip("ee_ref.native._lib")
    samples = audio.read(DEMO, RATE)[: 2 * RATE]
    found = [events_of(ee_ref.load("commands", backend).stream(view=view, exit=2), samples)
             for backend in ("numpy", "native")]
    assert found[0] == found[1] and len(found[0]) > 2


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 44100])
def test_slices_at_another_rate(commands, rate):
    samples = resample_poly(audio.read(DEMO, RATE), rate // 50, RATE // 50).astype(np.float32)
    found = [events_of(commands.stream(exit=6, view=LONG, rate=rate), samples, sizes)
             for sizes in ((10**9,), (441,), (1000, 3))]
    assert found[0] == found[1] == found[2] and said(found[0]).endswith("FORWARD NINE STOP")


# ---- The signal ----


@pytest.mark.parametrize("config", [
    SMALL, replace(SMALL, pad=0), replace(SMALL, pad=100, frontend="mel", n_fft=1024,
                                          win_length=320)], ids=["padded", "bare", "mel"])
@pytest.mark.parametrize("samples", [1, 300, 2000, 20000])
def test_the_features_are_those_of_the_whole(config, samples):
    values = noise(samples / RATE)
    qs8 = replace(config, dtype="qs8")  # the exact ones
    whole = front_end(qs8, {}, "numpy")(values)
    signal = Signal(config, front_end(replace(qs8, pad=0), {}, "numpy"))
    powers, first, parts = [], 0, []
    rows = config.encoder_frames(len(whole))
    for piece in np.array_split(values, 7):
        powers += signal.feed(piece)
        while signal.rows - first >= 3:
            begin = max(0, first - 1)
            features = signal.features(begin, first + 2)
            parts.append(features[4 * (first - begin) :][:8])
            first += 2
            signal.forget(first - 1)
    powers += signal.finish()
    if first < rows:
        parts.append(signal.features(first, rows))
    assert signal.rows == rows == len(powers)
    if rows:
        expected = whole[: 4 * (rows - 1) + frames_of_row(config)]
        found = np.concatenate(parts)
        np.testing.assert_array_equal(found[: len(expected)], expected)
    padded = np.zeros(640 * (rows + 20) + 2 * config.pad + samples, np.int64)
    padded[config.pad : config.pad + samples] = np.rint(values * np.float32(32768))
    assert powers == np.square(padded).reshape(-1)[: 640 * rows].reshape(-1, 640).sum(1).tolist()


def test_a_row_comes_with_its_last_value():
    signal = Signal(SMALL, lambda samples: np.zeros((0, 20), np.float32))
    needed = signal.missing
    assert needed == 6 * 160 + 200 - SMALL.pad
    assert signal.feed(noise((needed - 1) / RATE)) == [] and signal.missing == 1
    assert len(signal.feed(noise(1 / RATE))) == 1 and signal.missing == 640


def test_nothing_gives_nothing(commands):
    stream = commands.stream()
    assert stream.feed(np.zeros(0, np.float32)) == [] and stream.finish() == []
    assert stream.work.rows == 0 and stream.seconds == 0


# ---- The gate ----


def loud_rows(powers: list[int], values: int = 640) -> list[bool]:
    gate = Gate(values)
    return [gate(power) for power in powers]


def test_the_gate_is_open_until_there_is_a_floor():
    least = 64 * 640
    assert loud_rows([least, least + 1, 0]) == [False, True, False]
    steady = loud_rows([10 * least] * 200)
    assert steady == [True] * 64 + [False] * 136


def test_what_is_twice_the_background_is_loud():
    floor = 10**6
    found = loud_rows([floor] * 64 + [2 * floor, 2 * floor + 1])
    assert found[64:] == [False, True]


def test_silence_is_no_background():
    """Zeros before a steady noise: it is measured by itself."""
    found = loud_rows([0] * 64 + [10**6] * 128)
    assert found[:64] == [False] * 64 and found[64:128] == [True] * 64
    assert not any(found[128:])


def test_a_background_that_rose_is_known_in_5_seconds():
    found = loud_rows([10**6] * 65 + [10**7] * 64 * 4)
    assert all(found[65 : 64 * 3]) and not any(found[64 * 3 :])


def test_a_background_that_fell_is_known_at_once():
    """As when a quiet speaker follows a loud fan."""
    found = loud_rows([10**7] * 64 + [3 * 10**6, 10**6, 2 * 10**6 + 1])
    assert found[64:] == [False, False, True]


def test_runs_begin_before_what_is_loud_and_end_behind_it(commands):
    """Rows outside are not heard, and cost nothing."""
    values = np.concatenate([np.zeros(3 * RATE), noise(0.4), np.zeros(3 * RATE)])
    hearing = Hearing(commands, commands.policy(1), LONG)
    blocks = [*hearing.feed(values.astype(np.float32)), *hearing.finish()]
    assert [block.first for block in blocks] == list(
        np.cumsum([0, *(block.final for block in blocks)])[:-1])
    heard = [block for block in blocks if block.exit]
    first_loud, last_loud = (3 * RATE + 1600) // 640, (3 * RATE + 1600 + 6400 - 1) // 640
    assert heard[0].first == first_loud - 5
    assert heard[-1].first + heard[-1].final == last_loud + 1 + 5
    assert hearing.work.exits[0] == sum(block.final for block in heard)


# ---- Views ----


def test_a_short_clip_is_heard_as_a_whole(small):
    samples = noise(1.0)
    whole = small.transcribe(samples, exit=3)
    events = events_of(small.stream(exit=3, view=LONG), samples)
    assert said(events) == whole.text != ""
    words = [word for event in events if event.final for word in event.words]
    assert words == whole.words


def heard_rows(model, samples, view, policy) -> np.ndarray:
    hearing = Hearing(model, policy, view)
    blocks = [block for block in (*hearing.feed(samples), *hearing.finish()) if block.exit]
    assert blocks[0].first == 0
    return np.concatenate([block.log_probs[: block.final] for block in blocks]), blocks


def in_turn(*exits: int):
    """A policy that takes these exits, one for each block, again and again."""
    blocks = -1

    def policy(out):
        nonlocal blocks
        blocks += out.exit == 1
        return out.exit >= exits[blocks % len(exits)], 0.0

    return policy


def test_chunks_are_the_rows_of_a_model_with_that_view(small):
    """Of a run from the first row on; groups that were left out catch up to the same rows."""
    samples, view = noise(2.0), Chunks(4, 8)
    encoder = small.encoder_of(view)
    outputs = [out.log_probs for out in encoder.exits(small.features(samples))]
    # Libraries of float32 add in an order that depends on where in memory a row lies.
    tolerance = 1e-4 if small.config.dtype == "f32" else 0
    deep, _ = heard_rows(small, samples, view, small.policy(3))
    np.testing.assert_allclose(deep, outputs[2][: len(deep)], rtol=0, atol=tolerance)
    mixed, blocks = heard_rows(small, samples, view, in_turn(2, 1, 3, 1))
    assert {block.exit for block in blocks} == {1, 2, 3}
    np.testing.assert_allclose(mixed, np.concatenate([
        outputs[block.exit - 1][block.first : block.first + block.final] for block in blocks]),
        rtol=0, atol=tolerance)


def test_windows_are_computed_with_their_neighbours(small):
    samples, view = noise(3.0), Windows(9, 8, 8)  # which look back farther than they decide
    _, blocks = heard_rows(small, samples, view, small.policy(2))
    assert len(blocks) > 5
    tolerance = 1e-4 if small.config.dtype == "f32" else 0
    for block, following in zip(blocks[:-1], blocks[1:]):
        assert len(block.log_probs) == 16 and 4 <= block.final <= 10
        assert block.final == _seam(block.log_probs.argmax(axis=1) == 0, view)[0]
        start = max(0, block.first - 9)
        out = list(small.exits(small.features(samples)[4 * start : 4 * (block.first + 15) + 7]))
        np.testing.assert_allclose(out[1].log_probs[block.first - start :], block.log_probs,
                                   rtol=0, atol=tolerance)
        assert following.first == block.first + block.final


@pytest.mark.parametrize("blank, expected", [
    ("....####....#.##", (6, 4)),  # rows 4 to 7: in their middle
    ("....#.####......", (8, 4)),
    ("....#.#.#.......", (5, 1)),  # the first of equals
    ("..####..##......", (5, 2)),  # what lies before row 4 does not count
    ("....####.#####..", (6, 4)),  # nor from row 10 on
    ("####......######", (8, 0)),
])
def test_a_block_ends_in_the_middle_of_the_longest_pause(blank, expected):
    assert _seam(np.array([row == "#" for row in blank]), Windows(9, 8, 8)) == expected


def test_of_a_long_pause_six_rows_are_left_to_the_next_block():
    assert _seam(np.ones(48, bool), Windows(41, 32, 16)) == (30, 20)


def test_windows_do_not_look_back_over_a_pause(commands, demo, monkeypatch):
    """The words are the same, and are heard for less."""
    pause = (0.003 * np.random.default_rng(1).standard_normal(2 * RATE)).astype(np.float32)
    samples = np.concatenate([demo, pause, demo])
    costs = []
    for rows in (PAUSE_ROWS, 1000):
        monkeypatch.setattr("ee_ref.stream.hearing.PAUSE_ROWS", rows)
        stream = commands.stream(exit=6, view=Windows(71, 70, 20))
        assert said(events_of(stream, samples)).count("FORWARD") == 2
        costs.append(stream.work.multiply_accumulates)
    assert costs[0] < costs[1]


@pytest.mark.parametrize("most, expected", [(0, LONG), (1000, LONG), (100, Windows(15, 72, 11)),
                                            (3, Windows(0, 2, 0)), (1, Windows(0, 1, 0))])
def test_windows_within_what_a_model_admits(most, expected):
    assert LONG.within(most) == expected


def stored(model: ee_ref.Model, view, path) -> ee_ref.Model:
    points = {"stream": {"policy": {"kind": "fixed", "n": 1}, "view": view}}
    store_operating_points(model.file, path, points)
    return ee_ref.load(path, model.backend)


def test_a_model_file_may_say_which_view_its_streams_have(commands, tmp_path):
    assert commands.stream_view(None, LONG) == LONG
    own = stored(commands, {"left": 5, "hop": 4, "ahead": 3}, tmp_path / "w.gguf")
    assert own.stream_view(None, LIVE) == Windows(5, 4, 3) and own.stream_view(None, LONG) == LONG
    assert stored(commands, {"chunk": 8, "left": 9}, tmp_path / "c.gguf").stream_view(
        None, LIVE) == Chunks(8, 9)
    for wrong in ({"left": -1, "hop": 4, "ahead": 3}, {"left": 1}, {"chunk": 8, "left": 9, "x": 1},
                  "8,9", 3):
        with pytest.raises(ModelFileError, match="operating point stream: view"):
            stored(commands, wrong, tmp_path / f"{hash(str(wrong))}.gguf").stream()


def test_views_that_a_model_has_not(commands, small):
    with pytest.raises(ArgumentError, match="at most 1000 rows, found .* of 1001"):
        commands.stream(view=Windows(1, 500, 500))
    for wrong in ({"left": -1, "hop": 1, "ahead": 0}, {"left": 0, "hop": 0, "ahead": 0}):
        with pytest.raises(ArgumentError):
            Windows(**wrong)
    with pytest.raises(ArgumentError):
        Chunks(0, 1)


# ---- The ear, and what it saves ----


def test_deeper_groups_run_only_where_something_is_heard(commands, demo):
    """Noise that is no speech stays at exit 1; before and after it the demo takes the last one."""
    rest = noise(4.0, loud=0.004)
    stream = commands.stream(exit=6, view=LIVE)
    events = events_of(stream, np.concatenate([demo, rest]))
    alone = commands.stream(exit=6, view=LIVE)
    events_of(alone, demo)
    assert stream.work.exits[5] <= alone.work.exits[5] + 40
    assert stream.work.rows > alone.work.rows + 90
    assert said(events).startswith("COMP")


def test_silence_costs_nothing(commands):
    stream = commands.stream(exit=6)
    stream.feed(np.zeros(20 * RATE, np.float32))
    assert stream.work.multiply_accumulates == 0 and stream.work.rows > 480


def test_an_hour_of_silence_is_no_work_and_no_memory(commands):
    stream, piece = commands.stream(), np.zeros(60 * RATE, np.float32)
    stream.feed(piece)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(59):
        assert stream.feed(piece) == []
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.finish() == [] and stream.seconds == 3600
    assert stream.work.multiply_accumulates == 0 and after - before < 100_000


def test_work_in_chunks_counts_what_was_caught_up_with(small):
    """Chunks at exit 1 and then one at exit 3 cost what the state computes, not less."""
    view = Chunks(4, 8)
    config = small.encoder_of(view).config
    samples = noise(2.0)
    hearing = Hearing(small, small.policy(3), view)
    blocks = [block for block in (*hearing.feed(samples), *hearing.finish()) if block.exit]
    deep = hearing.work.multiply_accumulates
    rows = sum(block.final for block in blocks)
    frames = 4 * (rows - 1) + 7
    # The first rows of a run see less than those that the price is of.
    assert config.costs(frames)[2] <= deep <= 1.1 * config.costs(frames)[2]
    shallow = Hearing(small, small.policy(1), view)
    list(shallow.feed(samples)), list(shallow.finish())
    assert shallow.work.multiply_accumulates < 0.6 * deep
    last_only = Hearing(small, in_turn(*[1] * (len(blocks) - 1), 3), view)
    list(last_only.feed(samples)), list(last_only.finish())
    assert shallow.work.multiply_accumulates < last_only.work.multiply_accumulates < deep
    caught = last_only.work.multiply_accumulates - shallow.work.multiply_accumulates
    assert caught > 2 * (deep - shallow.work.multiply_accumulates) * 4 / rows


# ---- Words, utterances, endpoints ----

LABELS = Tokens(("@", "▁a", "b", "▁c", "d", "▁"), (), 0)


def block(first: int, labels: str, ahead: str = "", exit: int = 1) -> Block:
    """Rows whose best labels are these digits, each with probability 0.8; of label 0 it is sure."""
    rows = np.full((len(labels + ahead), 6), np.log(0.04), np.float32)
    for row, label in enumerate(labels + ahead):
        rows[row, int(label)] = np.log(0.8)
    return Block(first, len(labels), exit, rows)


def speech(endpoint: Endpoint | None = None, **how) -> Speech:
    endpoint = endpoint or Endpoint(None, 0.2, 100.0)
    return Speech(replace(SMALL, vocab=6), LABELS, endpoint, **how)


def fed(speech: Speech, *parts: str, ahead: str = "") -> list[tuple]:
    """(text, final, endpoint) of the events of blocks of these labels."""
    first, found = 0, []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        found += speech.feed(block(first, part, ahead if last else ""))
        first += len(part)
    return [(event.text, event.final, event.endpoint) for event in found]


def test_a_word_is_final_when_the_next_one_has_begun():
    assert fed(speech(), "0112", "2003", "30") == [
        ("ab", False, False), ("ab c", False, False), ("ab", True, False), ("c", False, False)]


def test_rows_ahead_are_shown_and_may_be_taken_back():
    heard = speech()
    assert fed(heard, "00", ahead="012") == [("ab", False, False)]
    assert [(e.text, e.final) for e in heard.feed(block(2, "000"))] == [("", False)]
    assert not list(heard.finish())


def test_a_label_that_goes_on_over_a_seam_is_one_token():
    assert fed(speech(), "011", "110", "0300", "00000") == [
        ("a", False, False), ("a", True, False), ("c", False, False), ("c", True, True)]


@pytest.mark.parametrize("cuts", [(9,), (1,) * 9, (2, 3, 4), (8, 1)])
def test_the_endpoint_lies_at_the_same_row(cuts):
    labels, parts, at = "010000030", [], 0
    for cut in cuts:
        parts.append(labels[at : at + cut])
        at += cut
    finals = [event for event in fed(speech(), *parts) if event[1]]
    assert finals == [("a", True, True)]


def test_an_utterance_that_is_too_long_keeps_its_open_word():
    heard = speech(Endpoint(None, 9.0, 0.2))
    assert [event for event in fed(heard, "1", "2", "3", "4", "0", "0", "1", "0", "3", "00")
            if event[1]] == [("ab", True, False), ("cd", True, True), ("a", True, True)]
    one_word = speech(Endpoint(None, 9.0, 0.2))
    assert [event for event in fed(one_word, "12", "40", "20", "00") if event[1]] == [
        ("abdb", True, True)]


def test_silence_before_speech_is_an_endpoint_only_when_asked_for():
    assert fed(speech(), "0" * 50) == []
    asked = speech(Endpoint(0.4, 0.2, 100.0))
    assert fed(asked, "0" * 25) == [("", True, True)] * 2
    assert [event for event in fed(asked, "01000000000000000000") if event[1]] == [
        ("a", True, True), ("", True, True)]


def test_boundaries_alone_are_no_utterance():
    heard = speech()
    assert fed(heard, "0500000000000") == [] and not list(heard.finish())


def test_rows_that_were_not_heard_are_blank():
    heard = speech()
    assert fed(heard, "011") == [("a", False, False)]
    nothing = np.zeros((0, 0), np.float32)
    assert [(e.text, e.final, e.endpoint) for e in heard.feed(Block(3, 5, 0, nothing))] == [
        ("a", True, True)]


def test_a_decoder_is_given_the_rows_of_an_utterance():
    given_rows = []

    def decode(log_probs):
        given_rows.append(log_probs)
        return Spoken(ee_ref.decode.greedy(log_probs), (0.5,) * 9, None)

    heard = speech(decode=lambda rows: decode(rows)._replace(
        confidences=[0.5] * len(ee_ref.decode.greedy(rows).tokens)))
    events = [e for part in ("0000000000", "1200000") for e in heard.feed(block(0, part))]
    assert [(e.text, e.final, e.endpoint) for e in events] == [
        ("ab", False, False), ("ab", True, True)] or [
        (e.text, e.final) for e in events] == [("ab", True)]
    assert len(given_rows) == 1 and len(given_rows[0]) == 5 + 2 + 5
    assert events[-1].words[0].start == pytest.approx(SMALL.frame_time(10) - 0.02)
    assert events[-1].confidence == 0.5


def test_the_exit_of_a_word_is_that_of_the_block_of_its_last_token():
    heard = speech()
    events = [*heard.feed(block(0, "010", exit=3)), *heard.feed(block(3, "20", exit=1)),
              *heard.feed(block(5, "03000000", exit=2))]
    finals = [event for event in events if event.final]
    assert [(e.text, e.exit) for e in finals] == [("ab c", 3)]


def test_times_never_exceed_the_audio_and_never_go_back(commands, demo):
    stream = commands.stream()
    words = [w for e in events_of(stream, demo[:-4000]) if e.final for w in e.words]
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times) and 0 <= times[0] and times[-1] <= stream.seconds


def test_finals_are_the_words_of_the_partials_that_stayed(commands, demo):
    """Each final word once: joined they are one text, whatever was shown between."""
    events = events_of(commands.stream(view=LONG), demo)
    assert said(events) == "COMPUTER GO FORWARD NINE STOP"
    assert [event.endpoint for event in events if event.final][-1]


def test_a_word_is_shown_soon_after_it_ends(english, demo):
    """At most one hop after its last row and those ahead have come."""
    stream, shown = english.stream(), {}
    for start in range(0, len(demo), 160):
        for event in stream.feed(demo[start : start + 160]):
            for word in event.words:
                shown.setdefault(word.word, (stream.seconds, word.end))
    assert {"COMPUTER", "GO", "FORWARD"} <= set(shown)
    assert all(seen - end <= 0.32 + 0.12 for seen, end in shown.values())


# ---- Phrases, decoders ----


def test_phrases_come_with_what_they_mean(commands, demo, move):
    gap = np.zeros(2 * RATE, np.float32)
    part = demo[: int(1.65 * RATE)]
    stream = commands.stream(phrases=move, view=LONG)
    events = events_of(stream, np.concatenate([part, gap, demo[int(1.7 * RATE) :], gap]))
    assert all(event.final and event.endpoint for event in events)
    assert (events[0].text, events[0].intent, events[0].slots) == (
        "COMPUTER GO FORWARD", "move", {"way": "forward"})
    assert [event.intent for event in events[1:]] == [None] * (len(events) - 1)


def test_a_decoder_of_words(commands, demo):
    beam = commands.stream(
        decoder=lambda rows: ee_ref.decode.beam_search(rows, 8, blank=commands.config.blank),
        view=LONG)
    assert said(events_of(beam, demo)) == "COMPUTER GO FORWARD NINE STOP"


# ---- What is no audio, and the wrong moment ----


@pytest.mark.parametrize("samples, message", [
    (np.array([0.0, np.nan], np.float32), "NaN or infinite"),
    (np.zeros(4, np.int16), "int16"),
    (np.zeros((4, 2), np.float32), "mono"),
    (np.full(4, 1e9, np.float32), "full scale"),
])
def test_what_is_refused_changes_nothing(commands, demo, samples, message):
    stream, other = commands.stream(), commands.stream()
    stream.feed(demo[:9999])
    with pytest.raises(AudioError, match=message):
        stream.feed(samples)
    other.feed(demo[:9999])
    assert stream.feed(demo[9999:]) == other.feed(demo[9999:])
    assert stream.finish() == other.finish()


def test_the_caller_may_change_what_was_fed(commands, demo):
    expected = events_of(commands.stream(), demo)
    stream, found, memory = commands.stream(), [], np.zeros(100, np.float32)
    for start in range(0, len(demo), 100):
        piece = demo[start : start + 100]
        memory[: len(piece)] = piece
        found += stream.feed(memory[: len(piece)])
        memory[:] = 9
    assert found + stream.finish() == expected


def test_nothing_comes_after_the_end(commands):
    stream = commands.stream()
    stream.finish()
    for late in (lambda: stream.feed(np.zeros(1, np.float32)), stream.finish):
        with pytest.raises(StateError, match="after finish"):
            late()


def failing_at(call: int):
    """A policy for the first exit, which fails at this block."""
    calls = itertools.count(1)

    def policy(out):
        if next(calls) == call:
            raise ZeroDivisionError
        return True, 0.0

    return policy


@pytest.mark.parametrize("call", [1, 2, 6])
def test_an_error_ends_the_stream_and_loses_no_event(commands, demo, call):
    samples, view = repeated(demo, 3), Windows(48, 24, 16)
    whole = commands.stream(policy=failing_at(0), view=view).feed(samples)
    stream = commands.stream(policy=failing_at(call), view=view)
    with pytest.raises(ZeroDivisionError):
        stream.feed(samples)
    with pytest.raises(StateError, match="after an error"):
        stream.feed(samples)
    found = stream.finish()
    before = found[:-1]  # the last one ends the utterance with what is left of it
    assert before == whole[: len(before)] and len(before) >= call - 1
    assert said(whole).startswith(said(found))
    with pytest.raises(StateError, match="after finish"):
        stream.finish()


def test_an_error_in_the_last_block_loses_no_event(commands, demo):
    stream = commands.stream(policy=failing_at(3), view=Windows(96, 24, 16))
    found = stream.feed(demo)
    with pytest.raises(ZeroDivisionError):
        stream.finish()
    assert not any(event.endpoint for event in found)
    found += stream.finish()
    assert said(found) and found[-1].endpoint


def test_a_decoder_that_fails_loses_one_utterance(commands, demo):
    failing = itertools.count(1)

    def decoder(log_probs):
        if next(failing) == 2:
            raise ZeroDivisionError
        return commands.decode(log_probs)

    stream = commands.stream(decoder=decoder, view=LONG)
    with pytest.raises(ZeroDivisionError):
        stream.feed(repeated(demo, 3))
    first = commands.stream(decoder=commands.decode, view=LONG)
    assert said(stream.finish()) == said(events_of(first, repeated(demo, 1)))


def test_a_second_thread_is_refused(commands, demo):
    inside, leave, raised = threading.Event(), threading.Event(), []

    def waits(out):
        inside.set()
        leave.wait(20)
        return True, 0.0

    stream = commands.stream(policy=waits)
    thread = threading.Thread(target=stream.feed, args=(demo,))
    thread.start()
    assert inside.wait(20)
    for late in (lambda: stream.feed(demo), stream.finish):
        with pytest.raises(StateError, match="one thread") as error:
            late()
        raised.append(error)
    leave.set()
    thread.join()
    assert len(raised) == 2


@pytest.mark.parametrize("rate", [7999, 4000, 0, 16000.5])
def test_rates_at_which_no_speech_is_heard(commands, rate):
    with pytest.raises(AudioError, match="sample rate"):
        commands.stream(rate=rate)


@pytest.mark.parametrize("wrong", [{"after": -1.0}, {"after": float("nan")}, {"before": -0.1},
                                   {"longest": 1e9}])
def test_endpoints_that_cannot_be(wrong):
    with pytest.raises(ArgumentError):
        Endpoint(**wrong)


def test_a_decoder_and_phrases(commands):
    with pytest.raises(ArgumentError, match="both"):
        commands.stream(decoder=ee_ref.decode.greedy, phrases="x")


# ---- Long recordings ----


def repeated(demo: np.ndarray, times: int) -> np.ndarray:
    gap = np.zeros(RATE, np.float32)
    return np.concatenate([piece for _ in range(times) for piece in (demo, gap)])


def test_no_word_is_doubled_or_lost_at_a_seam(english, demo):
    """Without a pause between them, so that seams lie anywhere."""
    for view in (LONG, Windows(64, 37, 20)):
        found = said(events_of(english.stream(exit=5, view=view), np.tile(demo, 12)))
        assert found == " ".join(["COMPUTER GO FORWARD NINE STOP"] * 12), view


def test_a_long_recording_is_transcribed_as_a_stream(english, demo):
    samples, seen = repeated(demo, 15), []
    result = english.transcribe(samples, heard=lambda *told: seen.append(told))
    assert result.text == " ".join(["COMPUTER GO FORWARD NINE STOP"] * 15)
    assert result.duration == len(samples) / RATE > WHOLE_SECONDS
    assert np.isnan(result.score) and result.margin is None and result.exit > 1
    assert result.n_best[0].text == result.text
    assert [e for events, _, _ in seen for e in events if e.final][-1].endpoint
    assert seen[-1][1:] == (result.duration, result.duration)
    assert {"audio", "encoder", "policy", "decode", "total"} <= set(result.timing)
    words = result.words
    assert all(a.end <= b.start for a, b in zip(words, words[1:]))
    assert abs(words[5].start - words[0].start - len(demo) / RATE - 1) < 0.1


def test_what_is_not_long_is_heard_as_a_whole(commands, demo):
    whole = np.tile(demo, 13)
    assert len(whole) / RATE < commands.config.max_seconds
    expected = commands.text([*commands.exits(commands.features(whole))][-1].log_probs)
    assert commands.transcribe(whole, exit=6).text == expected


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_that_grows_or_is_cut_while_it_is_heard(commands, demo, tmp_path, name):
    """No word before the cut is lost; whether it is an error is for the format to say."""
    path, samples, kept = tmp_path / name, repeated(demo, 30), []

    def heard(change):
        soundfile.write(path, samples, RATE)
        kept.clear()

        def then(events, _seconds, _of):
            if not kept:
                change()
            kept.append(said(events))
        return commands.transcribe(path, exit=2, heard=then)

    def grow():
        with open(path, "ab") as file:
            file.write(bytes(100_000))

    def cut():
        os.truncate(path, os.path.getsize(path) * 9 // 10)

    whole = heard(lambda: None)
    assert whole.duration == len(samples) / RATE
    assert whole.text == commands.transcribe(samples, exit=2).text
    for change in (grow, cut):
        try:
            result = heard(change)
            if name == "a.wav":
                seconds = whole.duration * (0.9 if change is cut else 1)
                assert result.duration == pytest.approx(seconds, abs=0.01)
        except AudioError as error:
            assert name == "a.flac" and "damaged or cut short" in str(error)
        words = " ".join(filter(None, kept)).split()
        # With what cannot be decoded, the few seconds before it are lost.
        assert 0.8 * len(whole.words) < len(words) <= len(whole.words)
        assert words[:-2] == whole.text.split()[: len(words) - 2]


def test_a_long_recording_with_phrases(commands, demo, move):
    samples = np.concatenate([repeated(demo[: int(1.65 * RATE)], 12), np.zeros(20 * RATE)])
    result = commands.transcribe(samples.astype(np.float32), phrases=move)
    assert (result.intent, result.slots) == ("move", {"way": "forward"})
    assert set(result.text.split()) == {"COMPUTER", "GO", "FORWARD"}


def test_memory_does_not_grow(commands):
    """Ten minutes of what comes and goes, at exit 1."""
    stream, piece = commands.stream(exit=1, view=LONG), speechlike(10.0)
    for _ in range(6):
        stream.feed(piece)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(54):
        stream.feed(piece)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.seconds == 600 and after - before < 1_000_000


def test_exits_are_of_one_utterance(commands):
    with pytest.raises(TooLongError):
        list(commands.exits(np.zeros((5000, 80), np.float32)))


# ---- Another rate ----


@pytest.mark.parametrize("rates", [(48000, RATE), (44100, RATE), (8000, RATE), (22050, RATE),
                                   (11025, 16000), (16001, 16000), (8000.0, RATE)])
def test_a_resampler_gives_what_scipy_gives_of_the_whole(rates):
    samples = noise(0.7)
    made = audio.Resampler(*rates)
    parts = [made.feed(piece) for piece in np.array_split(samples, 50)] + [made.finish()]
    down, up = map(int, rates)
    divisor = np.gcd(down, up)
    expected = resample_poly(samples, up // divisor, down // divisor)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)
