"""Ways to a port: a program's stdin and stdout, a board under QEMU, a serial line.

All of them move bytes: `send`, `receive` with a time-out, `close`, and `restart` where that is
possible. Framing is protocol.py's.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Protocol

from ..errors import ArgumentError, FileError

PIECE = 1 << 16
BAUD = 115200


class PortDied(Exception):
    """The other end is gone; the message says how it ended."""


class PortSilent(Exception):
    """Nothing could be sent, or nothing came, in the time allowed."""


class Transport(Protocol):
    """Bytes to a port and back."""

    can_restart: bool

    def restart(self) -> None:
        """A fresh port: the program is started (again), a line is emptied."""
        ...

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of it before `deadline` (time.monotonic). Raises PortDied, PortSilent."""
        ...

    def receive(self, deadline: float) -> bytes:
        """At least one byte. Raises PortDied, PortSilent."""
        ...

    def close(self) -> None: ...


class _Descriptors:
    """Sends to one descriptor and receives from another, neither of which blocks."""

    def __init__(self, inward: int, outward: int):
        self.inward, self.outward = inward, outward
        for descriptor in {inward, outward}:
            os.set_blocking(descriptor, False)
        self.pending = b""

    def send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            # A port may answer, or complain, while it is still being sent to.
            ready = _wait(deadline, read=self.outward, write=self.inward)
            if self.outward in ready:
                self._fill()
            if self.inward in ready:
                view = view[self._write(view[:PIECE]) :]

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self.inward, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PortDied(f"does not take any more: {error.strerror}") from error

    def _fill(self) -> None:
        try:
            data = os.read(self.outward, PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            raise PortDied(f"cannot be read: {error.strerror}") from error
        if not data:
            raise PortDied("closed its end")
        self.pending += data

    def receive(self, deadline: float) -> bytes:
        while not self.pending:
            _wait(deadline, read=self.outward)
            self._fill()
        data, self.pending = self.pending, b""
        return data


def _wait(deadline: float, read: int, write: int | None = None) -> set[int]:
    """Those that are ready; the two may be one descriptor. Raises PortSilent when none is."""
    events = {read: selectors.EVENT_READ}
    if write is not None:
        events[write] = events.get(write, 0) | selectors.EVENT_WRITE
    with selectors.DefaultSelector() as selector:
        for descriptor, awaited in events.items():
            selector.register(descriptor, awaited)
        ready = selector.select(max(0.0, deadline - time.monotonic()))
    if not ready:
        raise PortSilent("no answer in time")
    return {key.fd for key, _ in ready}


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Handlers of signals run afterwards: what they raise would interrupt a call in the middle, and
    a program that has been started by then would be nobody's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    handlers = {number: handler for name in ("SIGINT", "SIGTERM", "SIGHUP")
                if (number := getattr(signal, name, None)) is not None
                and callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda *given: waiting.append(given))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in waiting:
        handlers[number](number, frame)


class Program:
    """A port that is a program: frames on its stdin and stdout, complaints on its stderr."""

    can_restart = True

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None):
        if not command:
            raise ArgumentError("expected a command, found nothing")
        self.command = list(command)
        self.environment = environment
        self._process: subprocess.Popen | None = None
        self._stderr = tempfile.TemporaryFile()

    @classmethod
    def of_shell_words(cls, words: str) -> Program:
        """A program from one string, split as a shell would split it."""
        try:
            return cls(shlex.split(words))
        except ValueError as error:
            raise ArgumentError(f"--exe: cannot be split into words: {error}") from error

    def restart(self) -> None:
        self._end()
        # What a program before it said is not this one's complaint.
        self._stderr.seek(0)
        self._stderr.truncate()
        try:
            # A process group of its own: an emulator's children end with it.
            with _signals_wait():
                self._process = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=self._stderr, bufsize=0, start_new_session=True, env=self.environment)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileError(f"{self.command[0]}: cannot be started: {reason}") from error
        inward, outward = self._process.stdin, self._process.stdout
        assert inward and outward  # pipes, as asked for
        self._bytes = _Descriptors(inward.fileno(), outward.fileno())

    def send(self, data: bytes, deadline: float) -> None:
        with self._death_explained():
            self._bytes.send(data, deadline)

    def receive(self, deadline: float) -> bytes:
        with self._death_explained():
            return self._bytes.receive(deadline)

    @contextmanager
    def _death_explained(self) -> Iterator[None]:
        """PortDied says how the program ended."""
        try:
            yield
        except PortDied as error:
            raise PortDied(self._how_it_ended()) from error

    def _how_it_ended(self) -> str:
        """In words, with the last line of its stderr."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            ended = "its end of the pipe is closed"
        else:
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 2000))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{ended}: {lines[-1]}" if lines else ended

    def close(self) -> None:
        self._end()
        self._stderr.close()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            # The group may outlive its leader.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


def board(name: str, isa: str | None = None, kernels: Path | None = None,
          settings: Sequence[str] = (), wrong: str | None = None) -> Program:
    """A board of kernels/ports under its emulator, the program built where needed.

    kernels: the folder of the C library; by default that of the source tree. settings: more
    variables of make, "NAME=VALUE". wrong: an op whose kernel is to get one bit wrong. Raises
    ArgumentError for a board that is not there, FileError when it cannot be built.
    """
    folder = kernels or Path(__file__).resolve().parent.parent.parent / "kernels"
    ports = folder / "ports"
    if not (ports / "Makefile").is_file():
        raise FileError(
            f"{ports}: no Makefile: boards need the source tree; --kernels names its folder")
    boards = sorted(path.parent.name for path in ports.glob("*/board.mk"))
    if name not in boards:
        raise ArgumentError(f"--qemu: expected one of {', '.join(boards)}, found {name!r}")
    arguments = [f"{key}={value}" for key, value in (("isa", isa), ("wrong", wrong)) if value]
    command = ["make", "--no-print-directory", "-s", "-C", str(ports), f"BOARD={name}",
               "PROGRAM=conformance", f"ARGUMENTS={' '.join(arguments)}", *settings, "command"]
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    try:
        made = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise FileError(f"make: cannot be started: {error.strerror}") from error
    if made.returncode != 0 or not made.stdout.strip():
        raise FileError(f"{name}: cannot be built: {made.stderr.strip() or made.stdout.strip()}")
    return Program(shlex.split(made.stdout.strip().splitlines()[-1]))


class Serial(_Descriptors):
    """A serial line in raw mode, 8N1, by termios; POSIX only."""

    can_restart = False

    def __init__(self, device: str, baud: int = BAUD):
        try:
            import termios
            import tty
        except ImportError as error:
            raise ArgumentError("--serial: needs a POSIX system") from error
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ArgumentError(f"--baud: expected a speed that this system has, found {baud}")
        try:
            self._descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise FileError(f"{device}: {error.strerror}") from error
        try:
            tty.setraw(self._descriptor)
            mode = termios.tcgetattr(self._descriptor)
            mode[2] = (mode[2] | termios.CLOCAL | termios.CREAD) & ~termios.HUPCL
            mode[4] = mode[5] = speed
            termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)
        except termios.error as error:
            os.close(self._descriptor)
            raise FileError(f"{device}: no serial line: {error}") from error
        self._device, self._termios = device, termios
        super().__init__(self._descriptor, self._descriptor)

    def restart(self) -> None:
        try:
            self._termios.tcflush(self._descriptor, self._termios.TCIOFLUSH)
        except self._termios.error as error:
            raise FileError(f"{self._device}: {error}") from error
        self.pending = b""

    def close(self) -> None:
        os.close(self._descriptor)
