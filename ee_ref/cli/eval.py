"""`ee-ref eval`: error rates and costs of every exit and of a policy over a manifest."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from . import _cluster, _console, _decoder, _phrases, _policy, _progress, _recordings, _scores
from ._model import add_model

FORMATS = ("table", "json", "csv", "trn", "ctm")


HELP = "error rates and costs per exit over a manifest"
DESCRIPTION = (
    "Word and character error rates of every exit and of a policy, with 95 % bootstrap "
    "intervals, the exits it chose, and what it cost. With --scores: of a table of scores and "
    "errors that were measured elsewhere, without a model.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_inputs(parser)
    parser.add_argument("--points", type=Path, metavar="F",
                        help="with --scores: operating points that ee-ref calibrate --scores wrote")
    _phrases.add_arguments(parser)
    _decoder.add_arguments(parser)
    _policy.add_arguments(parser, or_all=True)
    parser.add_argument("--by", metavar="FIELD",
                        help="report each value of this manifest field separately (table, json)")
    parser.add_argument("--format", choices=FORMATS, default="table",
                        help="csv: a line per utterance and exit, with --scores an utterance; "
                        "trn, ctm: transcripts under the policy")
    parser.add_argument("-o", "--output", type=Path, metavar="F", help="write F instead of stdout")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """The options for manifest, scores, model, backend and where it runs, which `ee-ref calibrate`
    has too."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", type=Path, metavar="M",
                        help="JSON lines with path and text, a LibriSpeech folder, or a Kaldi "
                        "folder with wav.scp and text")
    _scores.add_arguments(source, parser)
    add_model(parser, "recordings that run at once, each in one thread")
    _cluster.add_arguments(parser)
    _cluster.add_journal(parser)
    parser.add_argument("--normaliser", choices=("none", "plain"), default="plain",
                        help="what is done to both texts before they are compared")


def run(args: argparse.Namespace) -> int:
    """Measure, and print or write the report. Exit code 1 when recordings had to be left out."""
    if args.scores is not None:
        return _scores.evaluate(args)
    _scores.refuse_without_scores(args)
    from weights_io import files

    from ..evaluation import report
    from ..evaluation import run as runs
    from ..loading import load, thread_count

    threads = thread_count(args.threads)
    if args.output:
        files.refuse_existing(args.output, args.force)
    recordings = _cluster.manifest_of(args)
    model = load(args.model, backend=args.backend)
    policy = None if args.exit == _policy.ALL else _policy.policy_of(args, model)
    phrases = _phrases.decoder_of(args, model)
    left_out = _recordings.LeftOut(len(recordings))
    how: dict[str, Any] = {"progress": _progress.bar, "failed": left_out, "phrases": phrases,
                           "decoder": _decoder.decoder_of(args, model)}
    transcripts = args.format if args.format in ("trn", "ctm") else None
    with _cluster.spread_of(args, threads, recordings, model, policy, format=transcripts
                            ) as (spread, threads):
        begun = time.perf_counter()
        if transcripts is not None:
            texts = runs.rendered(model, recordings, transcripts, policy, spread=spread, **how)
        else:
            utterances = runs.run(model, recordings, policy, spread=spread, **how)
        seconds = time.perf_counter() - begun
    code = left_out.exit_code()
    if transcripts is not None:
        text = "".join(texts)
    elif args.format == "csv":
        text = _console.csv_text(report.rows(utterances, args.normaliser))
    else:
        found = report.report(model, utterances, policy, args.normaliser, by=args.by,
                              phrases=None if phrases is None else phrases.phrases,
                              decoder=_decoder.described(args))
        found["wall_seconds"] = seconds
        found["times_real_time"] = found["seconds"] / seconds
        found["threads"] = threads
        found["left_out"] = left_out.count
        text = json.dumps(found, indent=1) + "\n" if args.format == "json" else report.text(found)
    _console.deliver(text, args.output, args.force)
    return code
