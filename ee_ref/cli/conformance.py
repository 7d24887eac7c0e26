"""`ee-ref conformance`: the vectors that prove a port, and the run that judges one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..conformance import REPORT_FORMATS
from ..errors import ArgumentError
from . import _console, _progress

HELP = "prove a port by vectors"
DESCRIPTION = (
    "Write the vectors of the conformance suite, list them, or run them on a port "
    "(docs/conformance.md). Exit code 1: a case failed, or a waiver was not needed.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_export(commands)
    _add_list(commands)
    _add_run(commands)


def _add_export(commands) -> None:
    parser = commands.add_parser("export", help="write the vectors",
                                 description="Write manifest, arrays and models into a new folder.")
    parser.add_argument("folder", metavar="DIR", nargs="?", help="folder to make")
    parser.add_argument("--archive", metavar="FILE.tar.xz", help="also, or only, as one archive")
    parser.add_argument("--force", action="store_true", help="replace outputs that exist")


def _add_selection(parser) -> None:
    parser.add_argument("--suite", metavar="DIR", help="vectors to use (default: computed here)")
    parser.add_argument("--select", metavar="PATTERN", action="append", default=[],
                        help="only cases whose name (tier/op/case) matches; may be repeated")
    parser.add_argument("--tier", metavar="TIER", action="append", default=[],
                        help="only this tier; may be repeated")


def _add_list(commands) -> None:
    parser = commands.add_parser("list", help="name the cases", description="Print the cases.")
    _add_selection(parser)
    parser.add_argument("--ops", action="store_true", help="a table of the ops instead (Markdown)")


def _add_run(commands) -> None:
    parser = commands.add_parser("run", help="judge a port",
                                 description="Send cases to a port and judge what comes back.")
    port = parser.add_mutually_exclusive_group(required=True)
    port.add_argument("--exe", metavar="CMD", help="a program that speaks on stdin and stdout")
    port.add_argument("--qemu", metavar="BOARD", help="a board of kernels/ports, emulated")
    port.add_argument("--serial", metavar="DEV", help="a board on a serial line")
    parser.add_argument("--baud", type=int, default=115200,
                        help="speed of --serial (default: 115200)")
    parser.add_argument("--isa", help="with --qemu: the kernels to use (default: the best)")
    parser.add_argument("--wrong", metavar="OP",
                        help="with --qemu: an op of int8 mode whose kernel is made wrong by one "
                        "bit, to see that its cases fail")
    parser.add_argument("--kernels", metavar="DIR", type=Path,
                        help="with --qemu: the folder of the C library")
    parser.add_argument("--make", metavar="NAME=VALUE", action="append", default=[],
                        help="with --qemu: a variable of kernels/ports/Makefile")
    _add_selection(parser)
    parser.add_argument("--waivers", metavar="FILE", help="known differences, with reasons")
    parser.add_argument("--complete", action="store_true",
                        help="fail the run if the port does not support a case")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S",
                        help="seconds allowed for one answer (default: 60)")
    parser.add_argument("--format", choices=REPORT_FORMATS, default="table",
                        help="format of the report")
    parser.add_argument("--output", metavar="FILE", help="file for the report (default: stdout)")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def _vectors(folder: str | None):
    from ..conformance import manifest
    from ..conformance.suite import suite

    return manifest.computed(suite()) if folder is None else manifest.read(folder)


def _selected(cases: Sequence, patterns: Sequence[str], tiers: Sequence[str]) -> list:
    from ..conformance.suite import TIERS

    unknown = [tier for tier in tiers if tier not in TIERS]
    if unknown:
        raise ArgumentError(f"--tier: expected one of {', '.join(TIERS)}, found {unknown[0]!r}")
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            raise ArgumentError(f"--select: no case has a name like {pattern!r}")
    found = [case for case in cases if (not tiers or case.tier in tiers)
             and (not patterns or any(fnmatchcase(case.name, p) for p in patterns))]
    if not found:
        raise ArgumentError("no case is of these tiers and has a name like these")
    return found


def run(args: argparse.Namespace) -> int:
    """Export, list, or judge a port."""
    return {"export": _export, "list": _list, "run": _run}[args.action](args)


def _export(args: argparse.Namespace) -> int:
    """Write the vectors as a folder, an archive or both; say what their manifest's SHA-256 is."""
    import hashlib

    from weights_io.files import refuse_existing, refuse_shared

    from ..conformance import manifest

    refuse_shared([path for path in (args.folder, args.archive) if path is not None])
    if args.folder is None and args.archive is None:
        raise ArgumentError("expected a folder, --archive, or both")
    if args.folder is not None:
        manifest.refuse_existing_folder(args.folder, args.force)
    if args.archive is not None:
        refuse_existing(args.archive, args.force)
    content = manifest.files(_vectors(None))
    if args.folder is not None:
        manifest.export(content, args.folder, args.force)
    if args.archive is not None:
        manifest.archive(content, args.archive, args.force)
    digest = hashlib.sha256(content[manifest.MANIFEST]).hexdigest()
    size = sum(map(len, content.values()))
    print(f"{len(content)} files, {size:,} bytes; manifest {digest}", file=sys.stderr)
    return 0


def _list(args: argparse.Namespace) -> int:
    """Print name, model and bounds of each case, or the table of docs/conformance.md."""
    cases = _selected(_vectors(args.suite).cases, args.select, args.tier)
    if args.ops:
        from ..conformance.describe import op_table

        sys.stdout.write(op_table(cases))
        return 0
    for case in cases:
        bounds = {f"{b.kind} {b.limit:g}" if b.limit else b.kind for b in case.bounds.values()}
        print("\t".join((case.name, case.model or "-", ", ".join(sorted(bounds)))))
    return 0


def _run(args: argparse.Namespace) -> int:
    """Run, judge, report."""
    from weights_io.files import refuse_existing

    from ..conformance import report, runner, waivers

    if not args.timeout > 0:
        raise ArgumentError(f"--timeout: expected more than 0 seconds, found {args.timeout}")
    if args.output is not None:
        refuse_existing(args.output, args.force)
    known = waivers.read(args.waivers) if args.waivers is not None else ()
    vectors = _vectors(args.suite)
    cases = _selected(vectors.cases, args.select, args.tier)
    transport = _transport(args)
    try:
        done = runner.run(vectors, transport, cases, args.timeout, known, _progress.bar)
    finally:
        transport.close()
    done.problems = waivers.problems(
        known, done.used, done.port.name, [case.name for case in cases],
        [case.name for case in vectors.cases])
    text = report.render(done, args.format)
    _console.deliver(text, args.output, args.force)
    return 1 if done.failed(args.complete) else 0


def _transport(args: argparse.Namespace):
    from ..conformance import transport

    if args.exe is not None:
        return transport.Program.of_shell_words(args.exe)
    if args.qemu is not None:
        return transport.board(args.qemu, args.isa, args.kernels, args.make, args.wrong)
    return transport.Serial(os.fspath(args.serial), args.baud)
