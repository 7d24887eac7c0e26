"""The options that say what may be said, shared by the commands that listen for phrases."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..checks import check_count
from ..errors import ArgumentError
from ._console import path

if TYPE_CHECKING:
    from ..model import Model
    from ..phrase_decoder import PhraseDecoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--phrases and --filler."""
    parser.add_argument("--phrases", type=path, metavar="FILE",
                        help="all that may be said: templates, or Home Assistant's YAML")
    parser.add_argument("--filler", type=float, metavar="COST",
                        help="find a phrase in the middle of other speech, which costs so much of "
                        "its score before it, and after it (such as 10)")


def decoder_of(args: argparse.Namespace, model: Model, n_best: int | None = None
               ) -> PhraseDecoder | None:
    """What the options ask for, None without phrases. n_best: phrases that a result tells, None for
    as many as usual. Raises ArgumentError naming the option, and PhraseError."""
    if args.phrases is None:
        if args.filler is not None:
            raise ArgumentError(f"--filler {args.filler:g} needs --phrases FILE")
        return None
    from ..decode.graph import MAX_N

    if n_best is None:
        return model.phrase_decoder(args.phrases, args.filler)
    check_count("--n-best with --phrases", n_best, 1, MAX_N)
    return model.phrase_decoder(args.phrases, args.filler, n_best)
