"""Speech to text for Home Assistant: a server of the Wyoming protocol (docs/home-assistant.md).

    client: [transcribe] audio-start audio-chunk* audio-stop
    server: transcript-start transcript-chunk* transcript transcript-stop

Events and their framing are those of the library wyoming (the extra of that name), which puts no
limit to what a client sends; the limits are here. Every utterance is heard in a thread of its own,
which takes the audio as it comes; all threads share one model.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from . import __version__, audio
from .checks import check_count, check_number
from .errors import ArgumentError, AudioError, EeError, FileError, shown
from .model import attends

if TYPE_CHECKING:
    from wyoming.event import Event, Eventable

    from .exits import AnyPolicy
    from .model import AnyDecoder, Model
    from .phrase_decoder import PhraseDecoder
    from .stream import Event as Heard

T = TypeVar("T")

URI = "tcp://127.0.0.1:10300"
"""The port is the one that Home Assistant's own servers for speech to text take."""

MAX_LINE = 1 << 16
"""Bytes of the line of an event."""

MAX_PART = 1 << 20
"""Bytes of what follows the line: more JSON, samples."""

MAX_CLIENTS = 1024
_WAITING = 64  # chunks that may wait for a busy machine; then the client waits
_LINGER = 2.0  # seconds for a client to take what was written before its connection is closed
_SOURCE = "https://arxiv.org/abs/2309.09546"


class WyomingUnavailable(EeError, ImportError):
    """The library wyoming is not installed."""


class WyomingError(EeError, ValueError):
    """What a client sends is no event of the protocol, or comes at the wrong time."""


class _Gone(Exception):
    """The client is no longer there."""


class _TooMuch(Exception):
    """An event is too large; unlike a ValueError it passes through the library."""


def require() -> None:
    """Raise WyomingUnavailable without the library."""
    try:
        import wyoming.asr  # noqa: F401
    except ImportError:
        raise WyomingUnavailable("expected the library wyoming, found none: "
                                 "pip install 'ee-ref[wyoming]'") from None


@dataclass(frozen=True)
class Service:
    """What is served, and to whom.

    model, policy, decoder, phrases: of `Model.transcribe`, or with `live` of `Model.stream`.
    language: the only one that clients may ask for. live: words are told while they are said, as a
    stream hears them; otherwise an utterance is heard as `Model.transcribe` does, when it is over.
    clients: connections at once. longest: seconds of audio in an utterance, and patience: seconds
    without an event, after which it is over and the connection is closed.
    Raises ArgumentError for numbers out of range, and for `live` where model or decoder hear whole
    utterances alone.
    """

    model: Model
    policy: AnyPolicy
    decoder: AnyDecoder | None = None
    phrases: PhraseDecoder | None = None
    language: str = "en"
    live: bool = False
    clients: int = 32
    longest: float = 3600.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        check_count("clients", self.clients, 1, MAX_CLIENTS)
        if self.live and attends(self.decoder):
            raise ArgumentError("live: expected a decoder of log-probabilities, found attention "
                                "decoders, which hear whole utterances")
        if self.live and not self.model.config.has_streams:
            raise ArgumentError("live: expected a model of a family that has streams, found "
                                f"{self.model.config.architecture}, which hears whole utterances")
        for name in ("longest", "patience"):
            check_number(name, getattr(self, name), 0.001)

    @property
    def name(self) -> str:
        """Of the model."""
        return Path(self.model.file.path).stem

    def info(self) -> Eventable:
        """What `describe` is answered."""
        from wyoming.info import AsrModel, AsrProgram, Attribution, Info

        common: dict[str, Any] = {
            "attribution": Attribution("ee_ref", _SOURCE), "installed": True,
            "version": __version__}
        config = self.model.config
        model = AsrModel(
            name=self.name, languages=[self.language],
            description=f"{config.exits} exits, {sum(config.layers_per_exit)} layers of "
            f"{config.dim}, {config.dtype}", **common)
        return Info(asr=[AsrProgram(
            name="ee-ref", description="Early-exit speech recognition", models=[model],
            supports_transcript_streaming=True, **common)])

    def hear(self, recording: audio.Recording, say: Callable[[str], None]) -> str:
        """The words of an utterance that may still be coming; `say` is told them as they are final.

        Raises as `Model.transcribe` does, and what the recording raises.
        """
        said: list[str] = []

        def tell(events: Sequence[Heard]) -> None:
            for event in events:
                if event.final and event.text:
                    say(" " * bool(said) + event.text)
                    said.append(event.text)

        if not self.live:
            text = self.model.transcribe(
                recording, policy=self.policy, decoder=self.decoder, phrases=self.phrases,
                heard=lambda events, _seconds, _of: tell(events)).text
            if text and not said:
                say(text)
            return text
        stream = self.model.stream(self.policy, self.phrases, decoder=self.decoder,
                                   rate=recording.rate)
        for piece in recording.pieces():
            tell(stream.feed(piece))
        tell(stream.finish())
        return " ".join(said)


@contextlib.asynccontextmanager
async def serving(service: Service, uri: str = URI, log: Callable[[str], None] = lambda line: None
                  ) -> AsyncIterator[str]:
    """Serve until the context is left. Gives the URI, with the port that the system chose for 0.

    uri: tcp://HOST:PORT or unix://PATH. log: is told of clients that got an error.
    Raises WyomingUnavailable, ArgumentError for another URI, FileError where it cannot be served.
    """
    require()
    parts, port = _parts(uri)
    tasks: set[asyncio.Task[None]] = set()
    pool = ThreadPoolExecutor(service.clients, "utterance")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this in one
        tasks.add(task)
        try:
            await _Client(service, reader, writer, pool, log).run(len(tasks) > service.clients)
        except asyncio.CancelledError:
            pass  # by the end of the server; asyncio would report it as an error
        finally:
            tasks.discard(task)

    try:
        if port is None:
            server = await asyncio.start_unix_server(connected, parts.path, limit=MAX_LINE)
        else:
            server = await asyncio.start_server(connected, parts.hostname, port, limit=MAX_LINE)
            port = server.sockets[0].getsockname()[1]
    except (OSError, ValueError) as error:  # ValueError: no name of a host, a NUL in the path
        raise FileError(f"{shown(uri)}: cannot be served: "
                        f"{getattr(error, 'strerror', None) or error}") from error
    try:
        yield uri if port is None else f"tcp://{parts.netloc.rpartition(':')[0]}:{port}"
    finally:
        server.close()
        while tasks:  # before Python 3.12 a `wait_for` that has just ended swallows a cancellation
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)
        pool.shutdown(wait=False, cancel_futures=True)
        if port is None:
            Path(parts.path).unlink(missing_ok=True)


def _parts(uri: str) -> tuple[Any, int | None]:
    """The parts of a URI, and its port if it has one."""
    expected = f"uri: expected tcp://HOST:PORT or unix://PATH, found {shown(uri)!r}"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise ArgumentError(expected) from None
    if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path:
        return parts, port
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return parts, None
    raise ArgumentError(expected)


class _Bounded:
    """What the library reads an event from. A line is bounded by the reader itself."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        if line and not line.endswith(b"\n"):
            raise _Gone
        return line

    async def readexactly(self, count: int) -> bytes:
        if not 0 <= count <= MAX_PART:
            raise _TooMuch(f"event: expected parts of at most {MAX_PART} bytes, found "
                           f"{shown(count)}")
        return await self._reader.readexactly(count)

    def at_end(self) -> bool:
        """Whether the client will send no more."""
        return self._reader.at_eof()


class _Client:
    """One connection."""

    def __init__(self, service: Service, reader: asyncio.StreamReader,
                 writer: asyncio.StreamWriter, pool: ThreadPoolExecutor, log: Callable[[str], None]
                 ) -> None:
        self._service, self._pool, self._log = service, pool, log
        self._reader, self._writer = _Bounded(reader), writer
        self._utterance: _Utterance | None = None

    async def run(self, is_one_too_many: bool) -> None:
        """Answer until the client goes, or breaks the protocol."""
        try:
            if is_one_too_many:
                raise WyomingError(f"expected at most {self._service.clients} clients, found "
                                   "another one")
            while (event := await self._next()) is not None:
                await self._answer(event)
        except EeError as error:
            await self._refuse(error)
        except MemoryError as error:
            await self._refuse(WyomingError(f"not enough memory: {error}"))
        except (_Gone, OSError, EOFError, asyncio.TimeoutError):
            pass  # nobody is there to be told
        finally:
            if self._utterance is not None:
                self._utterance.abandon()
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Close the connection; a client that does not take what was written loses it."""
        self._writer.close()
        try:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), _LINGER)
        finally:
            self._writer.transport.abort()

    async def _next(self) -> Event | None:
        """The next event, None where the client goes. Raises WyomingError for what is none."""
        from wyoming.event import async_read_event

        try:
            event = await asyncio.wait_for(
                async_read_event(self._reader), self._service.patience)  # type: ignore[arg-type]
        except asyncio.TimeoutError:
            raise WyomingError(f"expected an event within {self._service.patience:g} s, found "
                               "none") from None
        except _TooMuch as error:
            raise WyomingError(str(error)) from None
        except (TypeError, AttributeError, KeyError, RecursionError):
            event = None  # JSON of another shape
        if event is None:
            if self._reader.at_end():
                return None
            raise WyomingError("expected an event of the Wyoming protocol, found something else")
        if not isinstance(event.type, str) or not isinstance(event.data, dict):
            raise WyomingError("event: expected a type and data, found "
                               f"{shown(event.type)!r} and {shown(event.data)!r}")
        return event

    async def _answer(self, event: Event) -> None:
        from wyoming.asr import Transcribe
        from wyoming.audio import AudioChunk, AudioStart, AudioStop
        from wyoming.info import Describe
        from wyoming.ping import Ping, Pong

        if Describe.is_type(event.type):
            await self._write(self._service.info())
        elif Ping.is_type(event.type):
            await self._write(Pong(Ping.from_event(event).text))
        elif Transcribe.is_type(event.type):
            self._require_offered(Transcribe.from_event(event))
        elif AudioStart.is_type(event.type):
            if self._utterance is not None:
                raise WyomingError("audio-start: expected audio-stop before another one")
            self._begin(event)
        elif AudioChunk.is_type(event.type):
            utterance = self._utterance or self._begin(event)
            if await utterance.feed(event.data, event.payload or b"") > self._service.longest:
                raise WyomingError(f"expected audio-stop within {self._service.longest:g} s of "
                                   "audio, found more: this is what was said until then")
        elif AudioStop.is_type(event.type):
            if self._utterance is None:
                raise WyomingError("audio-stop: expected audio-start before it")
            await self._end()

    def _require_offered(self, asked: Any) -> None:
        service = self._service
        if asked.name not in (None, service.name):
            raise WyomingError(f"transcribe: expected the model {service.name}, found "
                               f"{shown(asked.name)!r}")
        # Of en-GB the language is en.
        if asked.language and str(asked.language).replace("_", "-").lower().partition("-")[0] != (
                service.language.lower().partition("-")[0]):
            raise WyomingError(f"transcribe: expected the language {service.language}, found "
                               f"{shown(asked.language)!r}")

    def _begin(self, event: Event) -> _Utterance:
        self._utterance = _Utterance(event.data.get("rate"), self._write)
        self._utterance.begin(self._service, self._pool)
        return self._utterance

    async def _end(self) -> None:
        """Tell what was said."""
        from wyoming.asr import Transcript, TranscriptStop

        utterance, self._utterance = self._utterance, None
        assert utterance is not None  # who calls has looked
        try:
            text = await utterance.text()
        except BaseException:
            utterance.abandon()
            raise
        await self._write(Transcript(text, language=self._service.language))
        await self._write(TranscriptStop())

    async def _refuse(self, error: EeError) -> None:
        """Tell what was said until then, and the error."""
        from wyoming.error import Error

        peer = self._writer.get_extra_info("peername")
        self._log(f"client {peer[0]}:{peer[1]}: {error}" if peer else f"client: {error}")
        with contextlib.suppress(_Gone, OSError, asyncio.TimeoutError):
            if self._utterance is not None:
                with contextlib.suppress(EeError, MemoryError):
                    await self._end()
            await self._write(Error(shown(error, 400), type(error).__name__))

    async def _write(self, event: Eventable) -> None:
        """Send an event. Raises TimeoutError for a client that reads none."""
        from wyoming.event import async_write_event

        await asyncio.wait_for(async_write_event(event.event(), self._writer),
                               self._service.patience)


class _Utterance:
    """Audio on its way from the event loop to the thread that hears it, and words back."""

    def __init__(self, rate: Any, write: Callable[[Eventable], Coroutine[Any, Any, None]]) -> None:
        audio.check_rate(rate, "audio-start")
        self._rate, self._write = rate, write
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[np.ndarray | None] = asyncio.Queue(_WAITING)
        self._count = 0
        self._gone = self._started = False

    def begin(self, service: Service, pool: ThreadPoolExecutor) -> None:
        """Begin to hear it."""
        recording = audio.Recording("utterance", self._rate, self._coming())
        self._heard = self._loop.run_in_executor(pool, service.hear, recording, self._say)

    async def feed(self, format: dict[str, Any], payload: bytes) -> float:
        """A chunk; its client waits while many wait for a busy machine. Seconds so far.

        Raises AudioError for a format that is not understood, or another rate than before.
        """
        if format.get("rate") != self._rate:
            raise AudioError(f"audio-chunk: expected {self._rate} Hz as before, found "
                             f"{shown(format.get('rate'))}")
        piece = audio.from_pcm(payload, format.get("width"), format.get("channels"))
        self._count += len(piece)
        await self._put(piece)
        return self._count / self._rate

    async def text(self) -> str:
        """All words, when the audio is over. Raises as `Service.hear` does."""
        await self._put(None)
        return await self._heard

    async def _put(self, piece: np.ndarray | None) -> None:
        """Raises what ended the thread before it took all pieces."""
        putting = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait((putting, self._heard), return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
        if self._heard.done() and (error := self._heard.exception()) is not None:
            raise error

    def abandon(self) -> None:
        """Nobody waits for its words: the thread ends when it asks for the next piece."""
        self._gone = True
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._pieces.put_nowait(None)
        self._heard.add_done_callback(lambda heard: heard.cancelled() or heard.exception())

    # ---- In the thread ----

    def _coming(self) -> Iterator[np.ndarray]:
        while (piece := self._in_loop(self._pieces.get())) is not None:
            yield piece
        if self._gone:
            raise _Gone

    def _say(self, text: str) -> None:
        from wyoming.asr import TranscriptChunk, TranscriptStart

        if not self._started:
            self._started = True
            self._in_loop(self._write(TranscriptStart()))
        self._in_loop(self._write(TranscriptChunk(text)))

    def _in_loop(self, what: Coroutine[Any, Any, T]) -> T:
        """What the event loop gives. Raises _Gone where it has ended."""
        if self._gone:
            what.close()
            raise _Gone
        try:
            return asyncio.run_coroutine_threadsafe(what, self._loop).result()
        except (CancelledError, RuntimeError):
            what.close()
            raise _Gone from None


async def serve(service: Service, uri: str = URI, log: Callable[[str], None] = lambda line: None
                ) -> None:
    """Serve until it is cancelled. Raises as `serving` does."""
    async with serving(service, uri, log) as served:
        log(f"{service.name} listens at {served}")
        await asyncio.get_running_loop().create_future()
