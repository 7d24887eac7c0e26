"""`ee-ref quantize`: a float32 model file becomes an int8 one, with a report of what it cost."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..config import Config
from ..errors import ArgumentError
from . import _progress, _recordings
from ._model import add_backend

HELP = "float32 model file to int8"
DESCRIPTION = (
    "Quantise a model file to int8, whose results are the same bytes on every platform. Prints "
    "the signal-to-noise ratio of the weights of each layer, and with --manifest the word error "
    "rates before and after.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="float32 model file")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL",
                        help="int8 model file to write")
    parser.add_argument("--manifest", type=Path, metavar="F",
                        help="compare word error rates on these recordings, by greedy decoding: "
                        "JSON lines, or a folder, as for eval")
    add_backend(parser, "recordings that run at once, each in one thread")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace) -> int:
    """Quantise, read the result back, and print the report on stdout.

    Exit code 1 when recordings had to be left out of the comparison; the model is written all the
    same.
    """
    from weights_io import files

    from .. import model_file, quantize
    from ..evaluation import comparison, manifest
    from ..loading import load, thread_count

    threads = thread_count(args.threads)
    files.refuse_existing(args.output, args.force)
    if os.path.exists(args.output) and os.path.exists(args.model) \
            and os.path.samefile(args.model, args.output):
        raise ArgumentError(f"{args.output}: the output is the model itself")
    recordings = manifest.read(args.manifest) if args.manifest else []

    source = model_file.read(args.model)
    config, tensors = quantize.quantize(source.config, source.tensors)
    model_file.write(args.output, config, source.tokens, source.special, tensors,
                     name=source.metadata.get("general.name", ""), overwrite=args.force)
    written = model_file.read(args.output)

    print(_weight_table(written.config, quantize.weight_report(source.tensors, written.tensors)))
    print(f"{args.output}: {written.size:,} bytes, {written.size / source.size:.3f} of "
          f"{source.size:,}", file=sys.stderr)
    if not recordings:
        return 0
    left_out = _recordings.LeftOut(len(recordings))
    before, after = (load(path, backend=args.backend) for path in (args.model, args.output))
    exits = comparison.compare(before, after, recordings, threads=threads, progress=_progress.bar,
                               failed=left_out)
    code = left_out.exit_code()
    print()
    print(comparison.text(exits, len(recordings) - left_out.count, left_out.count))
    return code


def _weight_table(config: Config, report: dict[str, float]) -> str:
    """Signal-to-noise ratios, one line a layer."""
    from .. import families

    lines = ["weights, signal to noise in dB"]
    heading: tuple[str, ...] = ()
    for part in families.of(config).parts(config):
        names = tuple(row.name for row in part.rows if part.prefix + row.name in report)
        if len(names) > 1 and names != heading:
            heading = names
            columns = (name.removesuffix(".weight") for name in names)
            lines += ["", " " * 20 + "".join(f"{column:>10}" for column in columns)]
        if names:
            values = (report[part.prefix + name] for name in names)
            lines.append(f"{part.prefix[:-1]:<20}" + "".join(f"{value:>10.1f}" for value in values))
    return "\n".join(lines)
