"""`ee-ref transcribe`: words of audio files, at the exit chosen."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from ..config import Config
from ..errors import ArgumentError, EeError


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser(
        "transcribe",
        help="words of audio files",
        description="Transcribe audio files (WAV, FLAC, OGG, Opus, MP3; - is stdin).",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files, - for stdin")
    parser.add_argument("--model", metavar="M", help="model file (default: the bundled model)")
    parser.add_argument("--backend", choices=("native", "numpy"), default="native")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--exit", type=int, metavar="N", help="stop at exit N (default: the last)")
    depth.add_argument(
        "--policy", choices=("entropy", "posterior"), help="let the utterance choose"
    )
    parser.add_argument("--threshold", type=float, metavar="X", help="threshold of --policy")
    parser.add_argument(
        "--beam", type=int, metavar="N", help="prefix beam search of width N (default: greedy)"
    )
    parser.add_argument("--n-best", type=int, default=1, metavar="N",
                        help="hypotheses to report (json; needs --beam)")
    parser.add_argument("--format", choices=("txt", "json", "srt", "vtt", "ctm", "trn"),
                        default="txt")
    parser.add_argument("--output-dir", type=Path, metavar="D",
                        help="write D/NAME.FORMAT for each file instead of stdout")
    parser.add_argument("--force", action="store_true", help="replace outputs that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Transcribe each file; a bad one is reported and the batch goes on. Returns the exit code."""
    from .. import formats
    from ..pipeline import load

    fmt = formats.FORMATS[args.format]
    if args.output_dir is None:
        if len(args.files) > 1 and not fmt.concatenates:
            raise ArgumentError(
                f"--format {args.format} holds one recording; expected --output-dir for "
                f"{len(args.files)} files"
            )
    else:
        _refuse_shared_outputs(args)
    if args.policy is None and args.threshold is not None:
        raise ArgumentError(f"--threshold {args.threshold} needs --policy entropy|posterior")
    model = load(args.model, backend=args.backend)
    policy = _policy(args, model.config)
    decoder = _decoder(args, model.config)
    progress = not args.quiet and len(args.files) > 1 and sys.stderr.isatty()

    failures = 0
    for number, name in enumerate(args.files, 1):
        if progress:
            print(f"[{number}/{len(args.files)}] {name}", file=sys.stderr)
        try:
            audio = sys.stdin.buffer if name == "-" else name
            result = model.transcribe(audio, policy=policy, decoder=decoder)
            text = formats.render(args.format, name, result)
            if args.output_dir is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                formats.write(args.output_dir, args.format, name, text, overwrite=args.force)
        except EeError as error:
            failures += 1
            where = "" if str(name) in str(error) else f"{name}: "
            print(f"ee-ref: {where}{error}", file=sys.stderr)
    return 1 if failures else 0


def _refuse_shared_outputs(args: argparse.Namespace) -> None:
    """Two recordings of one name would overwrite each other's output."""
    from .. import formats

    names: dict[Path, str] = {}
    for name in args.files:
        path = formats.output_path(args.output_dir, args.format, name)
        if path in names:
            raise ArgumentError(f"{names[path]} and {name} would both be written to {path}")
        names[path] = name


def _policy(args: argparse.Namespace, config: Config):
    from .. import exits

    if args.policy is None:
        if args.exit is not None and not 1 <= args.exit <= config.exits:
            raise ArgumentError(f"--exit {args.exit}: expected 1..{config.exits}")
        return exits.Fixed(config.exits if args.exit is None else args.exit)
    if args.threshold is None:
        raise ArgumentError(f"--policy {args.policy} needs --threshold X")
    if args.policy == "entropy":
        return exits.Entropy(args.threshold)
    return exits.Posterior(args.threshold, blank=config.blank)


def _decoder(args: argparse.Namespace, config: Config):
    from .. import decode

    if args.beam is None:
        if args.n_best != 1:
            raise ArgumentError(f"--n-best {args.n_best} needs --beam N")
        return None
    if not 1 <= args.n_best <= args.beam:
        raise ArgumentError(
            f"--beam {args.beam} --n-best {args.n_best}: expected 1 <= n-best <= beam"
        )
    return partial(
        decode.beam_search, beam_width=args.beam, n_best=args.n_best, blank=config.blank
    )
