"""The options that say how labels become words, shared by the commands that decode."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from ..checks import check_count
from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..attention_decoder import AttentionDecoder
    from ..model import AnyDecoder, Model

ATTENTION, CTC = "attention", "ctc"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--decoder, --beam, --lm with its weights, --lexicon, --hotwords, and what is the attention
    decoder's."""
    parser.add_argument("--decoder", choices=(ATTENTION, CTC),
                        help="of a model with both: its attention decoders or its CTC heads "
                        "(default: attention where the model has it, but ctc with --lm, --lexicon, "
                        "--hotwords or --phrases)")
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
    parser.add_argument("--ctc-weight", type=float, metavar="X",
                        help="--decoder attention: how much the CTC head counts beside it, 0 to 1 "
                        "(default: 0)")
    parser.add_argument("--length-rule", choices=("end", "authors"),
                        help="--decoder attention: when a sentence is over: at its end, or as the "
                        "authors of the models search (default: end)")


def decoder_of(args: argparse.Namespace, model: Model, n_best: int | None = None
               ) -> AnyDecoder | None:
    """The decoder that the options ask for, None for the default one. Raises ArgumentError naming
    the option, FileError, and LanguageModelError."""
    from .. import decode

    if _attends(args, model):
        return _attention_of(args, model, n_best)
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
        if args.decoder == CTC and model.config.has_decoder:  # of which it is not the default
            return partial(decode.greedy, blank=model.config.blank)
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


def _attends(args: argparse.Namespace, model: Model) -> bool:
    """Whether the options mean the attention decoders."""
    others = [name for name in ("phrases", "lm", "lexicon", "hotwords")
              if getattr(args, name, None) is not None]
    if args.decoder == ATTENTION and others:
        raise ArgumentError(f"expected --decoder attention or --{others[0]}, found both")
    attends = args.decoder == ATTENTION or (
        args.decoder is None and model.config.has_decoder and not others)
    if not attends:
        for name in ("ctc_weight", "length_rule"):
            if (value := getattr(args, name)) is not None:
                raise ArgumentError(f"--{name.replace('_', '-')} {value} needs --decoder attention")
    return attends


def _attention_of(args: argparse.Namespace, model: Model, n_best: int | None
                  ) -> AttentionDecoder | None:
    """None where no option says how: `Model.transcribe` then does what it can with long recordings,
    which an attention decoder that was asked for refuses."""
    for name in ("lm_weight", "word_score"):
        if (value := getattr(args, name)) is not None:
            raise ArgumentError(f"--{name.replace('_', '-')} {value:g} needs --lm F")
    asked = (args.decoder, args.beam, n_best, args.ctc_weight, args.length_rule)
    if all(value is None for value in asked):
        return None
    beam = 1 if args.beam is None else args.beam
    n_best = 1 if n_best is None else n_best
    if not 1 <= n_best <= beam:
        raise ArgumentError(f"--beam {beam} --n-best {n_best}: expected 1 <= n-best <= beam")
    return model.attention_decoder(
        beam, n_best, rule=args.length_rule or "end", ctc_weight=args.ctc_weight or 0.0)


def described(args: argparse.Namespace) -> str:
    """The decoder of `decoder_of`, as the options say it."""
    given = [f"{name} {value}" for name, value in (
        ("decoder", args.decoder), ("ctc-weight", args.ctc_weight),
        ("length-rule", args.length_rule), ("beam", args.beam), ("lm", args.lm),
        ("lm-weight", args.lm_weight), ("word-score", args.word_score), ("lexicon", args.lexicon),
        ("hotwords", args.hotwords))
        if value is not None]
    return ", ".join(given) or "greedy"


def _hotwords(option: str) -> dict[str, float]:
    from .. import decode

    if os.path.exists(option):
        return decode.read_hotwords(option)
    return decode.parse_hotwords(option.split(","))
