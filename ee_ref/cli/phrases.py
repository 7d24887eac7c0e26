"""`ee-ref phrases`: what a file of phrases says, and what a model makes of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import EeError, PhraseError, shown
from . import _console
from ._model import add_model

if TYPE_CHECKING:
    from ..model import Model, Result
    from ..phrase_decoder import PhraseDecoder

HELP = "check and compile files of phrases"
DESCRIPTION = "Work on files of phrases (docs/phrases.md)."

_MOST_PAIRS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = commands.add_parser(
        "check", help="sizes, words that sound alike, and a try",
        description="Print how much a file of phrases says, how large it is in the labels of a "
        "model and in flash, and which words the model can hardly tell apart; and what it hears in "
        "recordings.")
    check.add_argument("file", metavar="FILE",
                       help="templates, or Home Assistant's sentences (.yaml)")
    check.add_argument("recordings", nargs="*", metavar="RECORDING",
                       help="audio files of phrases, spoken by whoever will use them")
    add_model(check, "threads, which share the work of a recording")
    check.set_defaults(act=_check)
    compile_ = commands.add_parser(
        "compile", help="for the page of ee-ref web",
        description="Write what a file of phrases says in the labels of one model, as the page "
        "that ee-ref web makes takes it (docs/web.md).")
    compile_.add_argument("file", metavar="FILE", help="as of check")
    compile_.add_argument("-o", "--output", required=True, metavar="OUT", help="file to write")
    compile_.add_argument("--model", metavar="M", help="model file, or name of a bundled model "
                          "(default: english)")
    compile_.add_argument("--force", action="store_true", help="replace an output that exists")
    compile_.set_defaults(act=_compile)


def run(args: argparse.Namespace) -> int:
    """Check, or compile."""
    return args.act(args)


def _compile(args: argparse.Namespace) -> int:
    """Write the section, and print its size on stderr."""
    from weights_io import files

    from ..loading import load

    files.refuse_shared((args.file, args.output))
    files.refuse_existing(args.output, args.force)
    section = load(args.model, backend="numpy").phrase_decoder(args.file).packed()
    files.write_atomic(args.output, [section], args.force)
    _console.say(f"{args.output}: {len(section):,} bytes")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Print the sizes, and try the recordings: a bad one is reported and the others go on."""
    from ..loading import load, thread_count

    model = load(args.model, backend=args.backend, threads=thread_count(args.threads))
    decoder = model.phrase_decoder(args.file)
    print("\n".join([*_sizes(decoder, model), *_alike(decoder, model)]), flush=True)
    failures = 0
    for name in args.recordings:
        try:
            print(_heard(name, model.transcribe(name, phrases=decoder)), flush=True)
        except EeError as error:
            failures += 1
            _console.say_of(name, error)
    return 1 if failures else 0


def _sizes(decoder: PhraseDecoder, model: Model) -> Iterator[str]:
    phrases, graph = decoder.phrases, decoder.graph
    grammar = phrases.grammar
    yield (f"phrases   {shown(phrases.name)}: {len(grammar.templates):,} templates, "
           f"{len(grammar.intents):,} intents, {len(grammar.lists):,} lists")
    yield (f"say       {phrases.count:,} sentences of {len(phrases.words):,} words; at most "
           f"{phrases.automaton.longest} words long")
    yield (f"words     an automaton of {len(phrases.automaton.final):,} states, "
           f"{len(phrases.automaton.source):,} arcs")
    yield (f"labels    a graph of {graph.states:,} states, {graph.arcs:,} arcs in the "
           f"{model.config.vocab:,} labels of the model")
    try:
        yield f"flash     {len(decoder.packed()):,} bytes, as a section of an image"
    except PhraseError as error:  # what only a device cannot do
        yield f"flash     none: {error}"


def _alike(decoder: PhraseDecoder, model: Model) -> Iterator[str]:
    from ..phrases.likeness import alike

    pairs = alike(decoder.phrases, model.tokens)
    yield f"alike     {len(pairs):,} pairs of words that the model can hardly tell apart"
    for pair in pairs[:_MOST_PAIRS]:
        words = " ".join(word or "(nothing)" for word in pair.words)
        yield f"  {pair.distance:.2f}  {words:<24}  {pair.sentences[0]}"
    if len(pairs) > _MOST_PAIRS:
        yield f"  and {len(pairs) - _MOST_PAIRS:,} more"


def _heard(name: str, result: Result) -> str:
    """A line for a recording."""
    meaning = " ".join([result.intent or "-", *(
        f"{shown(slot)}={shown(value)}" for slot, value in result.slots.items())])
    text = result.text or "none of the phrases"
    if not result.text and result.n_best:
        text += f" (most like {result.n_best[0].text})"
    return f"heard     {shown(name)}: {text}; {meaning}; confidence {result.confidence:.2f}"
