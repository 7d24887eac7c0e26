"""`ee-ref wyoming`: a server for Home Assistant, tried with the client of the library wyoming."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("wyoming", reason="needs the extra wyoming")

from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping

import ee_ref
from ee_ref import audio
from ee_ref.cli import main
from ee_ref.cli import wyoming as command
from ee_ref.errors import ArgumentError, AudioError, FileError
from ee_ref.loading import bundled_model
from ee_ref.wyoming_server import Service, serving
from tests.test_interruption import ended, started

RATE = 16000
DOCS = Path(__file__).parent.parent / "docs"
PATIENCE = 30  # seconds for what takes far less


@pytest.fixture(scope="module")
def model():
    return ee_ref.load("commands")


@pytest.fixture(scope="module")
def service(model):
    return Service(model, model.policy())


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    """The demo clip as 16-bit samples."""
    return (audio.read(bundled_model().with_name("demo.wav"), RATE) * 32768).astype("<i2")


def events(data: bytes, rate: int = RATE, width: int = 2, channels: int = 1, size: int = 1024
           ) -> Iterator[Event]:
    """An utterance in chunks of so many frames, as Home Assistant sends it."""
    yield Transcribe(language="en").event()
    yield AudioStart(rate, width, channels).event()
    step = size * width * channels
    for at in range(0, len(data), step):
        yield AudioChunk(rate, width, channels, data[at : at + step]).event()
    yield AudioStop().event()


async def send(client: AsyncClient, sent: Iterator[Event]) -> None:
    for event in sent:
        await client.write_event(event)


async def answer(client: AsyncClient) -> list[Event]:
    """All events until the transcript is over, or the connection."""
    found: list[Event] = []
    while (event := await asyncio.wait_for(client.read_event(), PATIENCE)) is not None:
        found.append(event)
        if event.type == "transcript-stop":
            break
    return found


def text_of(found: list[Event]) -> str:
    """The transcript, after a check that chunks spell it."""
    types = [event.type for event in found]
    [text] = [Transcript.from_event(e).text for e in found if Transcript.is_type(e.type)]
    chunks = [TranscriptChunk.from_event(e).text for e in found if TranscriptChunk.is_type(e.type)]
    assert "".join(chunks) == text
    assert types == (["transcript-start"] * bool(chunks) + ["transcript-chunk"] * len(chunks)
                     + ["transcript", "transcript-stop"])
    return text


@contextlib.asynccontextmanager
async def connected(uri: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_uri(uri) as client:
        yield client


async def heard(uri: str, sent: Iterator[Event]) -> list[Event]:
    async with connected(uri) as client:
        await send(client, sent)
        return await answer(client)


def served(service: Service, use, log=lambda line: None):
    """What `use(uri)` gives while the service is served."""
    async def both():
        async with serving(service, "tcp://127.0.0.1:0", log) as uri:
            return await asyncio.wait_for(use(uri), PATIENCE)

    return asyncio.run(both())


# ---- What is asked and answered ----


def test_describe(service):
    async def asked(uri: str) -> tuple[Event, Event]:
        async with connected(uri) as client:
            await client.write_event(Describe().event())
            await client.write_event(Event("of-a-later-version", {"x": 1}))
            await client.write_event(Ping("x").event())
            return await client.read_event(), await client.read_event()

    described, pong = served(service, asked)
    [program] = Info.from_event(described).asr
    assert program.supports_transcript_streaming and program.version == ee_ref.__version__
    assert [(m.name, m.languages, m.installed) for m in program.models] == [
        ("commands", ["en"], True)]
    assert (pong.type, pong.data) == ("pong", {"text": "x"})


@pytest.mark.parametrize("rate, dtype, channels", [
    (16000, "<i2", 1), (8000, "<i2", 1), (44100, "<i2", 2), (48000, "<i4", 1), (16000, "u1", 1)])
def test_the_transcript_is_that_of_transcribe(service, model, words, rate, dtype, channels):
    """Whatever the rate, the width and the channels."""
    from scipy.signal import resample_poly

    samples = resample_poly(words / 32768, rate, RATE)
    whole = {"<i2": samples * 2**15, "<i4": samples * 2**31, "u1": samples * 128 + 128}[dtype]
    whole = np.repeat(whole.astype(dtype)[:, None], channels, axis=1)
    expected = model.transcribe((whole, rate)).text
    assert len(expected.split()) >= 4
    found = served(service, lambda uri: heard(uri, events(
        whole.tobytes(), rate, whole.itemsize, channels)))
    assert text_of(found) == expected


def test_a_rate_may_be_written_as_a_float(service, words):
    service = replace(service, live=True)
    found = [served(service, lambda uri: heard(uri, events(words[::2].tobytes(), rate)))
             for rate in (8000, 8000.0)]
    assert text_of(found[0]) == text_of(found[1]) != ""


def test_samples_of_24_bits(words):
    wide = (words.astype("<i4") << 8).reshape(-1, 1).view("u1")[:, :3].tobytes()
    assert np.array_equal(audio.from_pcm(wide, 3), audio.from_pcm(words.tobytes()))
    low = audio.from_pcm(bytes([1, 0, 0x80, 0xFF, 0xFF, 0x7F]), 3)
    assert low.tolist() == [np.float32((1 - 2**23) / 2**23), np.float32((2**23 - 1) / 2**23)]


@pytest.mark.parametrize("data, width, channels", [
    (b"123", 2, 1), (b"12", 5, 1), (b"12", 0, 1), (b"12", "2", 1), (b"12", True, 1),
    (b"12", 2, 65), (b"12", 2, None)])
def test_pcm_that_is_none(data, width, channels):
    with pytest.raises(AudioError, match="samples: expected"):
        audio.from_pcm(data, width, channels)


@pytest.mark.parametrize("options", [{}, {"live": True}], ids=["whole", "live"])
def test_a_long_recording(service, model, words, options):
    """Heard as a stream: chunks come before the end, and spell the transcript."""
    long = np.tile(np.concatenate([words, np.zeros(RATE, "<i2")]), 15)
    assert len(long) > 40 * RATE
    expected = model.transcribe((long, RATE)).text
    if options:
        stream = model.stream()
        said = stream.feed(audio.from_pcm(long.tobytes())) + stream.finish()
        expected = " ".join(event.text for event in said if event.final and event.text)
    found = served(replace(service, **options), lambda uri: heard(uri, events(long.tobytes())))
    assert text_of(found) == expected
    assert sum(event.type == "transcript-chunk" for event in found) > 10


def test_words_come_while_they_are_said(service, words):
    async def use(uri: str) -> Event:
        async with connected(uri) as client:
            sent = list(events(words.tobytes() + bytes(8 * RATE)))
            await send(client, iter(sent[:-1]))  # and no end
            await asyncio.wait_for(client.read_event(), PATIENCE)
            return await asyncio.wait_for(client.read_event(), PATIENCE)

    assert served(replace(service, live=True), use).type == "transcript-chunk"


def test_phrases(service, model, words, tmp_path):
    (tmp_path / "all.yaml").write_text(
        "language: en\nintents:\n  Go:\n    data:\n      - sentences:\n"
        "          - 'computer go (forward|backward) nine stop'\n")
    phrases = model.phrase_decoder(tmp_path / "all.yaml")
    of_phrases = replace(service, phrases=phrases, policy=model.policy(phrases=True))
    found = served(of_phrases, lambda uri: heard(uri, events(words.tobytes())))
    assert text_of(found).upper() == "COMPUTER GO FORWARD NINE STOP"


def test_one_connection_and_many_utterances(service, model, words):
    async def use(uri: str) -> list[str]:
        found = []
        async with connected(uri) as client:
            for data in (words.tobytes(), b"", words[:RATE].tobytes()):
                await send(client, events(data))
                found.append(text_of(await answer(client)))
        return found

    assert served(service, use) == [
        model.transcribe((piece, RATE)).text for piece in (words, words[:0], words[:RATE])]


def test_a_chunk_begins_an_utterance_too(service, model, words):
    sent = [event for event in events(words.tobytes()) if event.type.startswith("audio")][1:]
    found = served(service, lambda uri: heard(uri, iter(sent)))
    assert text_of(found) == model.transcribe((words, RATE)).text


def test_eight_clients_at_once(service, model, words):
    """Each another recording, again and again; then nothing is left of them."""
    clips = [np.roll(words, -2000 * n)[: (n + 2) * RATE // 2] for n in range(8)]
    expected = [model.transcribe((clip, RATE)).text for clip in clips]
    before = threading.active_count()

    async def one(uri: str, number: int) -> None:
        for turn in range(4):
            async with connected(uri) as client:
                clip = (number + turn) % 8
                await send(client, events(clips[clip].tobytes(), size=320))
                assert text_of(await answer(client)) == expected[clip]

    async def use(uri: str) -> int:
        await asyncio.gather(*(one(uri, number) for number in range(8)))
        return threading.active_count()

    told: list[str] = []
    assert served(service, use, told.append) <= before + 8
    assert told == []


def test_a_unix_socket(service, model, words, tmp_path):
    path = tmp_path / "s"

    async def use() -> list[Event]:
        async with serving(service, f"unix://{path}") as uri:
            return await heard(uri, events(words.tobytes()))

    assert text_of(asyncio.run(use())) == model.transcribe((words, RATE)).text
    assert not path.exists()


# ---- Clients that do not keep to it ----


def refused(service: Service, sent: Iterator[Event] | bytes) -> tuple[str, str, list[Event]]:
    """The text of the error that ends a connection, what was logged, and the events before it."""
    told: list[str] = []

    async def use(uri: str) -> list[Event]:
        async with connected(uri) as client:
            if isinstance(sent, bytes):
                client._writer.write(sent)
            else:
                await send(client, sent)
            found = []
            while (event := await client.read_event()) is not None:
                found.append(event)
            return found

    *before, error = served(service, use, told.append)
    assert error.type == "error" and len(told) == 1
    return error.data["text"], told[0], before


@pytest.mark.parametrize("sent, message", [
    (b"GET / HTTP/1.1\r\n\r\n", "expected an event of the Wyoming protocol"),
    (b"\x16\x03\x01" + bytes(range(256)) * 20 + b"\n", "expected an event of the Wyoming protocol"),
    (b"x" * (1 << 17), "expected an event of the Wyoming protocol"),
    (b"[]\n", "expected an event"), (b"{}\n", "expected an event"), (b"17\n", "expected an event"),
    (b"[" * 60000 + b"\n", "expected an event"),
    (b'{"type": 5}\n', "expected a type and data"),
    (b'{"type": "x", "data": [1]}\n', "expected a type and data"),
    (b'{"type": "x", "data_length": "9"}\n', "expected an event"),
    (b'{"type": "x", "data_length": 3}\n[1]', "expected an event"),
    (b'{"type": "x", "payload_length": 1000000000000}\n', "parts of at most 1048576 bytes"),
    (b'{"type": "audio-start"}\n', "found None"),
    (b'{"type": "audio-stop"}\n', "expected audio-start before it"),
    (b'{"type": "audio-start", "data": {"rate": 16000}}\n' * 2, "expected audio-stop before"),
    (b'{"type": "audio-start", "data": {"rate": 1e999}}\n', "whole sample rate"),
    (b'{"type": "audio-start", "data": {"rate": "16000"}}\n', "whole sample rate"),
    (b'{"type": "audio-start", "data": {"rate": 5}}\n', "1000..1000000 Hz"),
    (b'{"type": "transcribe", "data": {"language": "de"}}\n', "expected the language en"),
    (b'{"type": "transcribe", "data": {"language": {"a": 1}}}\n', "expected the language en"),
    (b'{"type": "transcribe", "data": {"name": "large"}}\n', "expected the model commands"),
], ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None)
def test_garbage(service, sent, message):
    text, told, _ = refused(service, sent)
    assert message in text and text in told and text.isprintable()


@pytest.mark.parametrize("change, message", [
    ({"rate": 8000}, "expected 16000 Hz as before"), ({"width": 9}, "1..4 bytes a sample"),
    ({"channels": 0}, "1..64 channels"), ({"channels": 3}, "frames of 6 bytes")])
def test_a_format_that_changes(service, words, change, message):
    def sent() -> Iterator[Event]:
        for number, event in enumerate(events(words.tobytes())):
            yield Event(event.type, {**event.data, **(change if number == 9 else {})},
                        event.payload)
            if number == 9:
                return

    text, _, before = refused(service, sent())
    assert message in text
    assert [event.type for event in before][-2:] == ["transcript", "transcript-stop"]


def test_a_rate_that_streams_cannot_have(service):
    """Found only when the recording turns out to be long."""
    short, long = bytes(2000 * 2 * 2), bytes(2000 * 2 * 60)
    assert text_of(served(service, lambda uri: heard(uri, events(short, 2000)))) == ""
    text, _, _ = refused(service, events(long, 2000))
    assert "8000..1000000 Hz" in text


@pytest.mark.parametrize("options, chunks, message", [
    ({"longest": 4.0}, 63, "expected audio-stop within 4 s of audio"),
    ({"patience": 0.5}, 40, "expected an event within 0.5 s")],
    ids=["never-stops", "stops-sending"])
def test_a_client_that_never_ends(service, model, words, options, chunks, message):
    """Is told what was said until then, and why that is all."""
    long = np.tile(words, 3)
    sent = list(events(long.tobytes()))[: 2 + chunks]
    text, _, before = refused(replace(service, **options), iter(sent))
    assert message in text
    assert text_of(before) == model.transcribe((long[: chunks * 1024], RATE)).text != ""


def test_one_client_too_many(service):
    async def use(uri: str) -> Event:
        async with connected(uri) as first:
            await first.write_event(Ping().event())
            await first.read_event()
            async with connected(uri) as second:
                event = await asyncio.wait_for(second.read_event(), PATIENCE)
        async with connected(uri) as third:
            while True:  # until the server has seen the first one go
                await third.write_event(Ping().event())
                found = await third.read_event()
                if found is not None and found.type == "pong":
                    return event
                await third.connect()

    found = served(replace(service, clients=1), use)
    assert "at most 1 clients" in found.data["text"]


@pytest.mark.parametrize("count", [1, 2, 20, -1])
@pytest.mark.parametrize("live", [False, True])
def test_clients_that_vanish(service, model, words, count, live):
    """In the middle of an event, of the audio, or before the answer: the next ones are heard."""
    sent = list(events(words.tobytes()))[:count if count > 0 else None]

    async def use(uri: str) -> str:
        for torn in (b"", b'{"type": "audio-ch', b'{"type": "audio-chunk", "data_length": 99}\n{'):
            async with connected(uri) as client:
                await send(client, iter(sent))
                client._writer.write(torn)
                client._writer.transport.abort()
        return text_of(await heard(uri, events(words.tobytes())))

    told: list[str] = []
    assert served(replace(service, live=live, clients=4), use, told.append).startswith("COMPUTER")
    assert told == []


def test_a_client_that_reads_nothing(service, words):
    """Its connection is closed when it has not taken an answer for long."""
    async def use(uri: str) -> None:
        with contextlib.suppress(ConnectionError):
            async with connected(uri) as client:
                while True:
                    await client.write_event(Ping("x" * 500_000).event())

    served(replace(service, patience=0.2), use)


def test_the_server_ends_in_the_middle(service, words):
    """No thread is left that waits for audio."""
    before = threading.active_count()

    async def use(uri: str) -> None:
        client = AsyncClient.from_uri(uri)
        await client.connect()
        await send(client, iter(list(events(words.tobytes()))[:5]))
        await asyncio.sleep(0.1)

    served(service, use)
    for thread in threading.enumerate():
        if thread.name.startswith("utterance"):
            thread.join(PATIENCE)
    assert threading.active_count() <= before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("live", [False, True])
def test_an_hour_of_silence(service, live):
    """As fast as it can be sent, in memory that does not grow with it."""
    silence = bytes(2 * 16384)
    sizes: list[int] = []

    async def use(uri: str) -> str:
        async with connected(uri) as client:
            await client.write_event(AudioStart(RATE, 2, 1).event())
            chunk = AudioChunk(RATE, 2, 1, silence).event()
            for number in range(3600 * RATE // 16384):
                await client.write_event(chunk)
                if number % 1000 == 999:
                    sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
            await client.write_event(AudioStop().event())
            return text_of(await answer(client))

    assert served(replace(service, live=live), use) == ""
    assert (sizes[-1] - sizes[0]) * os.sysconf("SC_PAGESIZE") < 8 << 20


# ---- The command ----


@pytest.mark.parametrize("uri", ["tcp://127.0.0.1", "http://127.0.0.1:80", "tcp://:x", "stdio://",
                                 "tcp://127.0.0.1:99999", "unix://", "tcp://[::1", "10300"])
def test_uris_that_cannot_be(service, uri):
    async def use() -> None:
        async with serving(service, uri):
            raise AssertionError

    with pytest.raises(ArgumentError, match="expected tcp://HOST:PORT or unix://PATH"):
        asyncio.run(use())


@pytest.mark.parametrize("uri", ["tcp://192.0.2.1:10300", "unix:///nowhere/s", "tcp://a..b:10300",
                                 "unix:///tmp/a\0b"])
def test_places_that_cannot_be_served(service, uri):
    async def use() -> None:
        async with serving(service, uri):
            raise AssertionError

    with pytest.raises(FileError, match="cannot be served"):
        asyncio.run(use())


@pytest.mark.parametrize("options", [{"clients": 0}, {"longest": 0}, {"patience": float("nan")}])
def test_limits_that_cannot_be(service, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        replace(service, **options)


def test_without_the_library(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wyoming.asr", None)
    assert main(["wyoming"]) == 1
    assert capsys.readouterr().err == ("ee-ref: expected the library wyoming, found none: pip "
                                       "install 'ee-ref[wyoming]'\n")


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_command(number, words):
    """In the middle of an utterance, at once."""
    process = started("wyoming", "--model", "commands", "--uri", "tcp://127.0.0.1:0")
    line = process.stderr.readline().decode()
    port = int(re.fullmatch(r"ee-ref: commands listens at tcp://127.0.0.1:(\d+)\n", line)[1])

    async def use() -> None:
        async with connected(f"tcp://127.0.0.1:{port}") as client:
            await send(client, iter(list(events(words.tobytes()))[:20]))
            await client.write_event(Ping().event())
            await client.read_event()
            process.send_signal(number)
            assert await client.read_event() is None

    with contextlib.suppress(ConnectionError):
        asyncio.run(use())
    code, _, err = ended(process)
    assert code == 128 + number and err.startswith("ee-ref: ") and err.count("\n") == 1


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["wyoming", "--model", "commands", "--uri", uri]) == 1
    assert "cannot be served: " in capsys.readouterr().err


def test_the_service_file_runs_the_command():
    unit = configparser.ConfigParser()
    unit.optionxform = str
    unit.read(DOCS / "ee-ref-wyoming.service")
    program, name, *options = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, name) == ("ee-ref", "wyoming")
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(options).uri == "tcp://0.0.0.0:10300"
    # `ee-ref` ends so when systemd stops it.
    assert unit["Service"]["SuccessExitStatus"] == str(128 + signal.SIGTERM)


def test_an_event_of_the_page_is_one():
    """docs/home-assistant.md shows how to ask from a shell."""
    page = (DOCS / "home-assistant.md").read_text()
    [line] = re.findall(r"echo '(\{.*\})'", page)
    assert Describe.is_type(json.loads(line)["type"])


