"""`ee-ref wyoming`: speech to text for Home Assistant and other clients of the Wyoming protocol."""

from __future__ import annotations

import argparse

from . import _console, _decoder, _phrases, _policy
from ._model import add_model

HELP = "speech to text for Home Assistant (Wyoming protocol)"
DESCRIPTION = ("Serve speech to text by the Wyoming protocol: docs/home-assistant.md says how to "
               "add it to Home Assistant. Each transcript is that of ee-ref transcribe.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uri", metavar="URI",
                        help="where to listen: tcp://HOST:PORT, 0.0.0.0 for every address of this "
                        "machine, or unix://PATH (default: tcp://127.0.0.1:10300)")
    add_model(parser, "threads that share the work of each utterance")
    _policy.add_arguments(parser)
    _phrases.add_arguments(parser)
    _decoder.add_arguments(parser)
    parser.add_argument("--live", action="store_true",
                        help="hear words while they are said, as ee-ref listen does, instead of "
                        "the whole when it is over")
    parser.add_argument("--language", default="en", metavar="L",
                        help="of the model, as clients are told (default: en)")
    parser.add_argument("--clients", type=int, default=32, metavar="N",
                        help="connections at once (default: 32)")
    parser.add_argument("--longest", type=float, default=3600.0, metavar="S",
                        help="seconds of audio after which an utterance is over (default: 3600)")
    parser.add_argument("--patience", type=float, default=300.0, metavar="S",
                        help="seconds without a word from a client after which its connection is "
                        "closed (default: 300)")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    from .. import wyoming_server
    from ..loading import load

    wyoming_server.require()
    model = load(args.model, backend=args.backend, threads=args.threads)
    service = wyoming_server.Service(
        model, _policy.policy_of(args, model, stream=args.live),
        _decoder.decoder_of(args, model), _phrases.decoder_of(args, model), args.language,
        args.live, args.clients, args.longest, args.patience)
    _console.run_until_signal(
        wyoming_server.serve(service, args.uri or wyoming_server.URI, _console.say))
    return 0
