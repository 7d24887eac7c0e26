"""The module under Node: the events of Python, of either kernels; audio; what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref import audio, flash_image
from ee_ref.exits import Entropy, Fixed
from ee_ref.loading import bundled_model
from ee_ref.stream import LIVE, Endpoint, Windows
from tests.web.support import KERNELS, node

RATE = 16000
DEMO = bundled_model().with_name("demo.wav")
SPOKEN = Path(__file__).parent.parent / "boards" / "house.wav"
HOUSE = Path(__file__).parent.parent / "phrases" / "house.phrases"
PHRASES = "go: [computer] go (forward | backward) [{n = 0..9}] [and] stop\nleft: turn left\n"

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(scope="module")
def commands() -> ee_ref.Model:
    return ee_ref.load("commands")


@pytest.fixture(scope="module")
def image(commands, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("web") / "commands.bin"
    path.write_bytes(flash_image.build(commands.file))
    return path


def recording() -> np.ndarray:
    """The demo clip, silence, noise, and the clip again."""
    demo = audio.read(DEMO, RATE)
    noise = 0.05 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    return np.concatenate([demo, np.zeros(2 * RATE, np.float32), noise, demo])


def floats(folder: Path, samples: np.ndarray) -> Path:
    path = folder / "samples.f32"
    path.write_bytes(samples.astype("<f4").tobytes())
    return path


def at(seconds: float) -> float:
    """Quotients of samples, of which the last bit may differ."""
    return round(seconds, 9)


def in_javascript(event: ee_ref.stream.Event) -> dict:
    words = [{"word": w.word, "start": at(w.start), "end": at(w.end),
              "confidence": float(w.confidence)} for w in event.words]
    return {"text": event.text, "final": event.final, "endpoint": event.endpoint,
            "exit": event.exit, "start": at(event.start), "end": at(event.end),
            "confidence": float(event.confidence), "words": words,
            "accepted": event.intent is not None, "intent": event.intent,
            "slots": {name: str(value) for name, value in event.slots.items()}}


def given(found: dict) -> list[dict]:
    """The events of a job, with such times."""
    for event in found["events"]:
        for timed in (event, *event["words"]):
            timed["start"], timed["end"] = at(timed["start"]), at(timed["end"])
    return found["events"]


@pytest.mark.parametrize("isa", KERNELS)
@pytest.mark.parametrize("policy, options", [
    (Fixed(2), {"exit": 2}), (Entropy(0.02), {"entropy": 0.02}),
], ids=["exit", "entropy"])
def test_events_are_those_of_python(commands, image, isa, policy, options, tmp_path):
    view = Windows(24, 8, 8)
    stream = commands.stream(policy, view=view, endpoint=Endpoint(None, 0.4, 2.0))
    samples = recording()
    expected = [in_javascript(event) for event in stream.feed(samples) + stream.finish()]
    found = node("stream", kernels=KERNELS[isa], image=image, sizes=[7001, 333, 40000],
                 samples=floats(tmp_path, samples),
                 options=options | {"view": vars(view), "after": 10, "longest": 50})
    assert given(found) == expected and len(expected) > 4
    assert (found["kernels"], found["exits"], found["sampleRate"]) == (isa, 6, RATE)
    counts = [sum(row["count"] for row in found["rows"] if row["exit"] == exit)
              for exit in range(7)]
    assert counts[1:] == stream.work.exits and counts[0] == stream.work.rows - sum(counts[1:])
    deepest = max(exit for exit in range(7) if counts[exit])
    taken = [exit for exit, spent in enumerate(found["milliseconds"]) if spent > 0]
    assert taken == list(range(deepest + 1)), "time is counted by exit"


def test_defaults_are_those_of_python(commands, image, tmp_path):
    samples = audio.read(DEMO, RATE)
    stream = commands.stream(exit=6, view=LIVE)
    found = node("stream", kernels=KERNELS["simd128"], image=image, sizes=[1600],
                 samples=floats(tmp_path, samples), options={})
    assert given(found) == [in_javascript(e) for e in stream.feed(samples) + stream.finish()]


def test_phrases(tmp_path):
    model = ee_ref.load("english")
    decoder = model.phrase_decoder(HOUSE)
    image, section = tmp_path / "image.bin", tmp_path / "house.bin"
    image.write_bytes(flash_image.build(model.file, exits=2))
    section.write_bytes(decoder.packed())
    view = Windows(48, 40, 16)
    found = node("stream", kernels=KERNELS["simd128"], image=image, phrases=section, sizes=[8000],
                 samples=floats(tmp_path, audio.read(SPOKEN, RATE)),
                 options={"exit": 1, "view": vars(view)})
    last = found["events"][-1]
    assert (last["text"], last["intent"]) == (
        "TODAY TURN ALL THE GREEN LIGHTS IN THE KITCHEN TO TWENTY PERCENT", "light_plan")
    assert last["slots"] == {"day": "today", "color": "green", "room": "kitchen", "n": "20"}


def test_errors_say_what_was_found(commands, image, tmp_path):
    """And the model can be used after them."""
    data = image.read_bytes()
    (tmp_path / "cut.bin").write_bytes(data[:-64])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "file.phrases").write_text(PHRASES)
    english = ee_ref.load("english")
    (tmp_path / "english.bin").write_bytes(flash_image.build(english.file, exits=1))
    (tmp_path / "commands-phrases.bin").write_bytes(
        commands.phrase_decoder(tmp_path / "file.phrases").packed())
    found = node("errors", kernels=KERNELS["simd128"], image=image, cut=tmp_path / "cut.bin",
                 noise=tmp_path / "noise.bin", other=tmp_path / "english.bin",
                 phrases=tmp_path / "commands-phrases.bin")
    expected = {
        "cut": "model of 1.7 MB: the flash image ends early",
        "noise": "model of 0.0 MB: .*not a flash image",
        "limit": "model: needs 1.7 MB, more than this tab may take",
        "kernels": "kernels: not what this engine runs: ",
        "phrases": "phrases .*: ",
        "phrases of another model": "phrases .*for one model.*: ",
        "no phrases": "phrases: expected some, found none",
        "view": "stream: ", "entropy": "stream: ",
        "over": "stream: over", "replaced": "stream: over", "nan": "stream: .*NaN",
        "rate": "sample rate: expected whole numbers, 8000 or more, found 44100.5",
    }
    assert found.keys() == expected.keys()
    for name, pattern in expected.items():
        assert found[name] and re.match(pattern, found[name]), (name, found[name])
        assert "\n" not in found[name]


@pytest.mark.parametrize("isa", KERNELS)
def test_memory_that_is_not_given_is_no_address(isa):
    *refused, place = node("place", kernels=KERNELS[isa])
    assert refused == [0, 0] and place % 64 == 0 < place


def test_node_has_vectors():
    assert node("vectors") is True


def test_wav_files_are_those_of_python(tmp_path):
    draw = np.random.default_rng(2)
    files = {"mono.wav": (8000, 1, "PCM_16"), "stereo.wav": (44100, 2, "PCM_16"),
             "float.wav": (16000, 1, "FLOAT"), "deep.wav": (16000, 1, "PCM_24")}
    for name, (rate, channels, subtype) in files.items():
        soundfile.write(tmp_path / name, draw.uniform(-1, 1, (500, channels)), rate, subtype)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "mono.wav").read_bytes()[:401])
    (tmp_path / "head.wav").write_bytes((tmp_path / "mono.wav").read_bytes()[:30])
    (tmp_path / "text.wav").write_bytes(b"no audio")
    found = node("wav", files=[tmp_path / name for name in
                               (*files, "cut.wav", "head.wav", "text.wav")])
    for name, wav in zip([*list(files)[:2], "cut.wav"], [*found[:2], found[4]]):
        rate = files.get(name, (8000,))[0]
        expected = audio.read(tmp_path / name, rate)
        assert wav["rate"] == rate
        np.testing.assert_allclose(wav["samples"], expected[: len(wav["samples"])], atol=1e-7)
        assert len(wav["samples"]) == len(expected) > 0
    assert found[2:4] == [None, None] and found[5:] == [None, None]


def test_damaged_wav_files_are_read_as_far_as_they_go(tmp_path):
    """Whatever the header says: no error, and no more samples than the file has."""
    draw = np.random.default_rng(4)
    soundfile.write(tmp_path / "good.wav", draw.uniform(-1, 1, (100, 2)), RATE, "PCM_16")
    good = (tmp_path / "good.wav").read_bytes()
    paths = []
    for number in range(300):
        data = bytearray(good[: draw.integers(1, len(good))] if number % 3 == 0 else good)
        for _ in range(draw.integers(1, 5)):
            data[draw.integers(min(44, len(data)))] = draw.choice([0, 1, 127, 128, 255])
        paths.append(tmp_path / f"{number}.wav")
        paths[-1].write_bytes(data)
    found = node("wav", files=paths)
    assert len(found) == 300 and any(found) and not all(found)
    assert all(len(wav["samples"]) <= 100 * 2 for wav in found if wav)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_resampling_is_that_of_python(rate, tmp_path):
    samples = np.random.default_rng(3).uniform(-1, 1, 9000).astype(np.float32)
    found = node("resample", samples=floats(tmp_path, samples), **{"from": rate}, to=RATE,
                 sizes=[128, 1, 1024, 7])
    expected = audio.read((samples, rate), RATE)
    np.testing.assert_allclose(found["whole"], expected, atol=2e-6)
    assert found["pieces"] == found["whole"]
