"""The options that say how labels become words, shared by the commands that decode."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from ..checks import check_count
from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..model import Decoder, Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--beam, --lm with its weights, --lexicon, --hotwords."""
    parser.add_argument("--beam", type=int, metavar="N",
                        help="search with a beam of N (default: 40 with --lm, --lexicon or "
                        "--hotwords, else greedy)")
    parser.add_argument("--lm", metavar="F", help="language model: ARPA text, plain or gzip, a "
                        "packed one, or english, bundled")
    parser.add_argument("--lm-weight", type=float, metavar="X",
                        help="weight of its log-probabilities (default: 0.7)")
    parser.add_argument("--word-score", type=float, metavar="X",
                        help="natural log added for each word (default: 2 with --lm, else 0)")
    parser.add_argument("--lexicon", metavar="F",
                        help="say only these words: a word a line, or word, tab, pieces")
    parser.add_argument("--hotwords", metavar="F",
                        help="phrases to prefer, as PHRASE or PHRASE = BOOST (natural log): a file "
                        "with one a line, or a list with commas between them")


def decoder_of(args: argparse.Namespace, model: Model, n_best: int | None = None
               ) -> Decoder | None:
    """The decoder that the options ask for, None for the greedy one. Raises ArgumentError naming
    the option, FileError, and LanguageModelError."""
    from .. import decode

    judged = any(value is not None for value in (args.lm, args.lexicon, args.hotwords))
    if args.beam is not None:
        check_count("--beam", args.beam, 1, decode.MAX_BEAM_WIDTH)
    if getattr(args, "phrases", None) is not None:
        for name in ("beam", "lm", "lexicon", "hotwords"):
            if (value := getattr(args, name)) is not None:
                raise ArgumentError(f"expected --{name} or --phrases, found both: {value} and "
                                    f"{args.phrases}")
        n_best = None  # of the phrases
    if n_best is None:
        n_best = 1
    if args.lm_weight is not None and args.lm is None:
        raise ArgumentError(f"--lm-weight {args.lm_weight:g} needs --lm F")
    if args.word_score is not None and not judged:
        raise ArgumentError(f"--word-score {args.word_score:g} needs --lm, --lexicon or --hotwords")
    beam = args.beam
    if beam is None and judged:
        beam = decode.WordDecoder.BEAM_WIDTH
    if beam is None:
        if n_best != 1:
            raise ArgumentError(f"--n-best {n_best} needs --beam N, --lm, --lexicon or --hotwords")
        return None
    if not 1 <= n_best <= beam:
        raise ArgumentError(f"--beam {beam} --n-best {n_best}: expected 1 <= n-best <= beam")
    if not judged:
        return partial(decode.beam_search, beam_width=beam, n_best=n_best, blank=model.config.blank)
    weights = {name: value for name, value in (
        ("lm_weight", args.lm_weight), ("word", args.word_score)) if value is not None}
    return decode.WordDecoder(
        model.tokens,
        None if args.lm is None else decode.language_model.read(args.lm),
        None if args.lexicon is None else decode.read_lexicon(args.lexicon),
        {} if args.hotwords is None else _hotwords(args.hotwords),
        beam_width=beam, n_best=n_best, **weights)


def described(args: argparse.Namespace) -> str:
    """The decoder of `decoder_of`, as the options say it."""
    given = [f"{name} {value}" for name, value in (
        ("beam", args.beam), ("lm", args.lm), ("lm-weight", args.lm_weight),
        ("word-score", args.word_score), ("lexicon", args.lexicon), ("hotwords", args.hotwords))
        if value is not None]
    return ", ".join(given) or "greedy"


def _hotwords(option: str) -> dict[str, float]:
    from .. import decode

    if os.path.exists(option):
        return decode.read_hotwords(option)
    return decode.parse_hotwords(option.split(","))
