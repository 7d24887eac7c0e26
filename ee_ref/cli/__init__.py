"""The `ee-ref` command: one module a sub-command.

Results go to stdout and everything else to stderr. Exit codes: 0 done, 1 something failed (a batch
goes on past it), 2 the command was used wrongly, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings

from .. import __version__
from ..errors import ArgumentError, EeError
from . import (
    bench, calibrate, conformance, convert, eval, export, info, quantize, transcribe,
)

SUBCOMMANDS = (
    transcribe, info, eval, calibrate, bench, convert, quantize, export, conformance,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ee-ref", description="Early-exit speech recognition that runs anywhere."
    )
    parser.add_argument("--version", action="version", version=f"ee-ref {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in SUBCOMMANDS:
        module.add_parser(subparsers)
    return parser


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"ee-ref: warning: {message}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    warnings.showwarning = _show_warning
    try:
        args = _parser().parse_args(argv)
        code = args.run(args)
        sys.stdout.flush()
        return code
    except EeError as error:
        print(f"ee-ref: {error}", file=sys.stderr)
        return 2 if isinstance(error, ArgumentError) else 1
    except KeyboardInterrupt:
        print("ee-ref: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
