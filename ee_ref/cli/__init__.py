"""The `ee-ref` command: one module a sub-command.

Results go to stdout and everything else to stderr. Exit codes: 0 done, 1 something failed (a batch
goes on past it), 2 the command was used wrongly, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import warnings

from .. import __version__
from ..errors import ArgumentError, EeError, EeWarning, FileError
from . import _console

COMMANDS = (
    "transcribe", "listen", "wyoming", "phrases", "info", "eval", "calibrate", "bench", "convert",
    "quantize", "export", "web", "conformance",
)
"""Each is a module here: HELP, DESCRIPTION, add_arguments(parser) and run(args) -> exit code."""


def _parser(first: str = "") -> argparse.ArgumentParser:
    """The parser of arguments that begin with this one: of all commands, unless it names one, whose
    modules are those that a run needs."""
    parser = argparse.ArgumentParser(
        prog="ee-ref", description="Early-exit speech recognition that runs anywhere."
    )
    parser.add_argument("--version", action="version", version=f"ee-ref {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [first] if first in COMMANDS else COMMANDS:
        module = importlib.import_module(f".{name}", __name__)
        command = subparsers.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    _console.say(f"warning: {message}")


def entry() -> None:
    """Be the command: run `main` and end the process with its exit code."""
    # Imports make objects to keep: looking among them for garbage is a twentieth of a short run.
    gc.set_threshold(50_000)
    code = main()
    if code > 128:
        # Stopped: a thread may wait for a pipe that nobody writes to, so none is waited for.
        os._exit(code)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    if sys.stderr is None:  # closed; print would take stdout for it
        sys.stderr = open(os.devnull, "w")
    argv = sys.argv[1:] if argv is None else [str(argument) for argument in argv]
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # They are messages to whoever runs the command, whatever PYTHONWARNINGS says.
        warnings.filterwarnings("default", category=EeWarning)
        return _run(argv)


def _refuse_empty(argv: list[str]) -> None:
    """Refuse an empty argument: most often a variable that is not set, never "not given"."""
    before, only_files = "", False
    for word in argv:
        name, equals, value = word.partition("=")
        if not word:
            option = before if before.startswith("-") and not only_files else "argument"
            raise ArgumentError(f"{option}: expected a value, found an empty one")
        if name.startswith("--") and equals and not value and not only_files:
            raise ArgumentError(f"{name}: expected a value, found an empty one")
        before, only_files = word, only_files or word == "--"


def _run(argv: list[str]) -> int:
    try:
        with _console.signals_raise():
            _refuse_empty(argv)
            args = _parser(argv[0] if argv else "").parse_args(argv)
            if sys.stdout is None:
                raise FileError("standard output is closed")
            code = args.run(args)
            sys.stdout.flush()
        return code
    except EeError as error:
        _console.say(error)
        return 2 if isinstance(error, ArgumentError) else 1
    except _console.Terminated as stopped:
        _console.say(f"stopped by {stopped}")
        return 128 + stopped.number
    except KeyboardInterrupt:
        _console.say("interrupted")
        return 130
    except BrokenPipeError:  # the reader of stdout has gone, as `head` does
        _console.forget_stdout()
        return 1
    except UnicodeEncodeError as error:
        _console.say(f"text that cannot be written: {error}; PYTHONIOENCODING=utf-8 may help")
        return 1
    except Warning as warning:  # of another library, where PYTHONWARNINGS makes it an error
        _console.say(f"warning: {warning}")
        return 1
    except MemoryError as error:
        _console.say(f"not enough memory: {error}")
        return 1
    except OSError as error:  # of stdout: files raise FileError
        _console.forget_stdout()
        _console.say(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 1
