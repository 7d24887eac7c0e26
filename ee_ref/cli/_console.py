"""What a command says besides its results, and how it ends when it is stopped."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from weights_io import files

from ..errors import shown

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 4000  # characters of a message


class Terminated(KeyboardInterrupt):
    """A signal asks the command to end; it does so as after Ctrl-C, and leaves nothing behind."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def say(text: object) -> None:
    """A line on stderr. Names of files and texts in them cannot make it move the cursor."""
    lines = str(text)[:_LONGEST].split("\n")
    with contextlib.suppress(OSError):  # stderr itself is broken, so nothing can be reported
        print("ee-ref:", "\n".join(shown(line, _LONGEST) for line in lines),
              file=sys.stderr, flush=True)


def say_of(name: object, error: Exception) -> None:
    """An error on stderr, with the name of what it is about where it does not say so itself."""
    say(error if str(name) in str(error) else f"{name}: {error}")


def path(text: str) -> Path:
    """The type of an argument that is a path; most runs give none, and need no pathlib."""
    from pathlib import Path

    return Path(text)


def deliver(text: str, path: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Write the result of a command to a file, or to stdout where none is named."""
    if path is None:
        sys.stdout.write(text)
    else:
        files.write_atomic(path, [text.encode()], overwrite)


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows of one kind, at least one, as CSV with their names in the first line."""
    import csv

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated, where nobody has said otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for name in ("SIGTERM", "SIGHUP")
               if (number := getattr(signal, name, None)) is not None
               and signal.getsignal(number) == signal.SIG_DFL]

    def stop(number: int, _frame: object) -> None:
        raise Terminated(number)

    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """What signals would raise is raised at the end: for short work that is not to be torn."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda number, _: came.append(number))
              for number in _raising()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _raising() -> list[int]:
    """The signals that raise something."""
    return [number for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if (number := getattr(signal, name, None)) is not None
            and callable(signal.getsignal(number))]


def run_until_signal(serve: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, which a signal cancels; what the signal would raise is raised when it has
    ended. Raised in the middle of an event loop it would leave half of a step undone."""
    import asyncio  # takes as long to load as all else here

    came: list[int] = []

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # asyncio runs this in one

        def stop(number: int) -> None:
            came.append(number)
            task.cancel()

        with contextlib.suppress(NotImplementedError):  # Windows
            for number in before:
                loop.add_signal_handler(number, stop, number)
        await serve

    before = {number: signal.getsignal(number) for number in _raising()}
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def forget_stdout() -> None:
    """Keep the interpreter from complaining when it flushes output that nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
