"""`ee-ref web`: a folder that any web server can give out, which hears in the browser."""

from __future__ import annotations

import argparse
import shlex
import sys

HELP = "a page that hears in the browser, and a model"
DESCRIPTION = (
    "Write a page, its module and a model into a folder that any web server can give out "
    "(docs/web.md). Nothing that is heard leaves the browser.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR",
                        help="folder to write to, made where it is missing")
    parser.add_argument("--model", metavar="M",
                        help="int8 model file, or name of a bundled model (default: english)")
    parser.add_argument("--exits", type=int, metavar="N",
                        help="only the first N exits (default: all)")
    parser.add_argument("--phrases", metavar="FILE",
                        help="what may be said (docs/phrases.md), to choose on the page")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print how to see it on stderr."""
    from ..loading import load
    from ..web import write

    model = load(args.model, backend="numpy")
    sizes = write(args.folder, model, args.exits, args.phrases, overwrite=args.force)
    for name, size in sizes.items():
        print(f"{name:>24} {size:>12,} bytes", file=sys.stderr)
    print(f"python -m http.server -d {shlex.quote(args.folder)}, and open http://localhost:8000",
          file=sys.stderr)
    return 0
