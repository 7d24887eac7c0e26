"""`ee-ref listen`: words as they are said, from a microphone or a pipe."""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
import sys
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import audio
from ..errors import AudioError, AudioFileError
from . import _console, _phrases, _policy
from ._model import add_model

if TYPE_CHECKING:
    from ..stream import Event

HELP = "words as they are said, from a microphone or a pipe"
DESCRIPTION = ("Listen to a microphone, or with - to raw samples on stdin: 16-bit integers, little-"
               "endian, one channel, as of arecord -t raw -f S16_LE -r 16000.")

_READ_BYTES = 1 << 16
_PIECE = 1600  # samples heard at a time: an interrupt waits so long
_BLOCK_SECONDS = 0.02  # of a microphone's blocks
_WAITING_BLOCKS = 3000  # that may wait for a slow machine: a minute
_SILENT_SECONDS = 5.0  # without a block: the device is gone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="-", choices=("-",),
                        help="raw samples on stdin, in place of a microphone")
    add_model(parser, "threads that share the work")
    _policy.add_arguments(parser)
    _phrases.add_arguments(parser)
    parser.add_argument("--rate", type=int, metavar="HZ",
                        help="of the samples, at least 8000 (default: the model's)")
    parser.add_argument("--device", metavar="D",
                        help="microphone: a number or part of a name, as sounddevice has them")
    parser.add_argument("--before", type=float, metavar="S",
                        help="report an empty utterance after S seconds in which nothing is said")
    parser.add_argument("--after", type=float, metavar="S", default=0.8,
                        help="of silence, after which an utterance is over (default: 0.8)")
    parser.add_argument("--longest", type=float, metavar="S", default=20.0,
                        help="utterance (default: 20)")
    parser.add_argument("--format", choices=("txt", "json"), default="txt",
                        help="txt: a line for each utterance; json: one for each event, those that "
                        "are not final too")


def run(args: argparse.Namespace) -> int:
    """Print what is said until there is no more. Returns the exit code."""
    from ..loading import load
    from ..stream import Endpoint

    endpoint = Endpoint(args.before, args.after, args.longest)
    model = load(args.model, backend=args.backend, threads=args.threads)
    phrases = _phrases.decoder_of(args, model)
    stream = model.stream(_policy.policy_of(args, model, stream=True), phrases, endpoint=endpoint,
                          rate=args.rate)
    rate = args.rate or model.config.sample_rate
    printer = _Json() if args.format == "json" else _Lines()
    source = _stdin() if args.source else _microphone(rate, args.device)
    with contextlib.closing(source), contextlib.closing(printer):
        events: deque[Event] = deque()
        try:
            for samples in source:
                for start in range(0, len(samples), _PIECE):
                    with _console.signals_wait():
                        events += stream.feed(samples[start : start + _PIECE])
                    printer.print(events)
        except BaseException:
            # What was heard before is said, unless nobody is there to hear it.
            with contextlib.suppress(BrokenPipeError):
                events += stream.finish()
                printer.print(events)
            raise
        events += stream.finish()
        printer.print(events)
    return 0


def _stdin() -> Generator[np.ndarray, None, None]:
    """Samples of stdin, as they come."""
    if sys.stdin is None:
        raise AudioFileError("standard input is closed")
    descriptor, rest, count = sys.stdin.fileno(), b"", 0
    while True:
        try:
            piece = os.read(descriptor, _READ_BYTES)
        except OSError as error:
            raise AudioFileError(f"standard input: cannot be read: {error}") from error
        if not piece:
            break
        if not count and piece.startswith((b"RIFF", b"fLaC", b"OggS")):
            raise AudioError("standard input: expected raw 16-bit samples, found an audio file: "
                             "ee-ref transcribe - reads it")
        count += len(piece)
        piece = rest + piece
        whole = len(piece) // 2 * 2
        rest = piece[whole:]
        yield audio.from_pcm(piece[:whole])
    if rest:
        raise AudioError(f"standard input: expected 16-bit samples, found {count} bytes, an odd "
                         "number: the last one is left out")


def _microphone(rate: int, device: str | None) -> Generator[np.ndarray, None, None]:
    """Samples of a microphone. Raises AudioError without the library or a device, and when it is
    gone or the machine is too slow."""
    try:
        import sounddevice
    except ImportError:
        raise AudioError("expected the package sounddevice for a microphone (pip install "
                         "'ee-ref[mic]'), found none; ee-ref listen - reads a pipe") from None
    except OSError as error:  # the PortAudio library
        raise AudioError(f"microphone: {error}; ee-ref listen - reads a pipe") from error
    blocks: queue.Queue[np.ndarray] = queue.Queue(_WAITING_BLOCKS)
    lost = False

    def take(data: np.ndarray, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        try:
            blocks.put_nowait(data[:, 0].copy())
        except queue.Full:
            lost = True

    wanted = int(device) if device is not None and device.isdecimal() else device
    try:
        with sounddevice.InputStream(rate, int(rate * _BLOCK_SECONDS), wanted, 1, "float32",
                                     callback=take) as microphone:
            while True:
                if lost:
                    raise AudioError("microphone: this machine cannot keep up; a shallower --exit "
                                     "may help")
                try:
                    yield blocks.get(timeout=_SILENT_SECONDS)
                except queue.Empty:
                    state = "nothing comes from it" if microphone.active else "it has stopped"
                    raise AudioError(f"microphone: expected samples, but {state}: was it "
                                     "disconnected?") from None
    except AudioError:
        raise
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: of a name
        raise AudioError(f"microphone: {error}; python -m sounddevice lists devices, and "
                         "ee-ref listen - reads a pipe") from error


class _Json:
    """Events as lines of JSON."""

    def print(self, events: deque[Event]) -> None:
        from .. import formats

        while events:
            sys.stdout.write(formats.event(events.popleft()))
            sys.stdout.flush()

    def close(self) -> None:
        """Nothing is left."""


class _Lines:
    """A line for each utterance. On a terminal what is said is rewritten in place until it is
    final; elsewhere each word is written as soon as it is."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._line = ""  # words of the utterance that are final

    def print(self, events: deque[Event]) -> None:
        while events:
            event = events.popleft()
            if event.final:
                self._final(event)
            elif self._in_place:
                self._show(event.text)
            sys.stdout.flush()

    def _final(self, event: Event) -> None:
        words = " " * bool(self._line and event.text) + event.text
        self._line += words
        if not self._in_place:
            sys.stdout.write(words)
        else:
            self._show("")
        if event.endpoint:
            self.close()

    def _show(self, rest: str) -> None:
        """The end of the line that fits, and what is not final."""
        text = " ".join(filter(None, (self._line, rest)))
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write("\r\x1b[K" + text[-width:])

    def close(self) -> None:
        """End the line that is begun."""
        if self._line:
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(f"\r\x1b[K{self._line}\n" if self._in_place else "\n")
                sys.stdout.flush()
        self._line = ""
