"""`ee-ref export`: a model file becomes a flash image for firmware."""

from __future__ import annotations

import argparse
import math
import os
import sys

from ..errors import ArgumentError, FileError

HELP = "model file to flash image"
DESCRIPTION = (
    "Write the flash image of a model: weights, front end, labels and phrases as firmware reads "
    "them in place (weights_io/FORMAT.md), and with it, if wanted, C source. The memory plan needs "
    "the native library.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model file, or name of a bundled model")
    parser.add_argument("-o", "--output", required=True, metavar="IMAGE",
                        help="flash image to write")
    parser.add_argument("--exits", type=int, metavar="N",
                        help="only the first N exits (default: all)")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="longest audio it is for; cuts the position table (default: what the "
                        "model admits)")
    parser.add_argument("--phrases", metavar="FILE",
                        help="what may be said (docs/phrases.md): the image holds it too")
    parser.add_argument("--c-array", metavar="F.c", help="also the image as a C array")
    parser.add_argument("--header", metavar="F.h",
                        help="also a C header with its sizes and a plan of RAM for each exit "
                        "(needs --seconds where the model takes audio of any length)")
    parser.add_argument("--force", action="store_true", help="replace outputs that exist")


def run(args: argparse.Namespace) -> int:
    """Export, read the result back and compare, and print a summary on stderr."""
    from weights_io import files

    from .. import c_source, flash_image, model_file
    from ..loading import model_path
    from ..model import Model
    from ..plan import device_plan

    model = model_path(args.model)
    outputs = [path for path in (args.output, args.c_array, args.header) if path is not None]
    files.refuse_shared((*outputs, model))
    for path in outputs:
        files.refuse_existing(path, args.force)

    file = model_file.read(model)
    graph, section = None, b""
    if args.phrases is not None:
        decoder = Model(file, "numpy").phrase_decoder(args.phrases)
        graph, section = decoder.graph, decoder.packed()
    data = flash_image.build(file, args.exits, args.seconds, section)
    image = flash_image.parse(data)
    seconds = file.config.max_seconds if args.seconds is None else args.seconds
    length = f"up to {seconds:.2f} s" if math.isfinite(seconds) else "any length"
    plan = None
    if args.header is not None:
        if not math.isfinite(seconds):
            raise ArgumentError(f"--header {args.header} needs --seconds S: a plan of RAM is for "
                                "audio of some length, and the model has no longest one")
        plan = device_plan(file.config, file.tokens, file.special, seconds, graph)

    flash_image.write(args.output, data, overwrite=args.force)
    if flash_image.read(args.output).size != len(data):
        raise FileError(f"{args.output}: does not read back as it was written")
    if args.c_array is not None:
        files.write_atomic(args.c_array, c_source.c_array(data), args.force)
    if plan is not None:
        name = os.path.basename(args.output)
        files.write_atomic(args.header, [c_source.c_header(name, image, plan)], args.force)
    print(
        f"{args.output}: {len(data):,} bytes, {image.config.exits} of {file.config.exits} exits, "
        f"{image.config.dtype}, audio of {length}, model {image.model_checksum:08x}, "
        f"phrases {len(section):,} bytes; read back and checked",
        file=sys.stderr,
    )
    return 0
