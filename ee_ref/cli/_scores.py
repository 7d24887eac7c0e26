"""`--scores FILE` of `ee-ref eval` and `ee-ref calibrate`: tables of scores instead of a model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from . import _console, _policy, _progress

_ONLY_HERE = ("errors", "layers", "points")
_ONLY_WITH_A_MODEL: dict[str, Any] = {
    "model": None, "backend": "native", "threads": None, "normaliser": "plain", "phrases": None,
    "filler": None, "beam": None, "lm": None, "lm_weight": None, "word_score": None,
    "lexicon": None, "hotwords": None, "deadline": None, "posterior": False, "dask": None,
    "workers": None, "journal": None}
"""Options and their defaults."""

LEVELS = (0.5, 0.6, 0.7)
"""Shares of the layers at which families are compared."""

_PRICES = 161  # nothing has to be run, so that a fine path costs little


def add_arguments(source: Any, parser: argparse.ArgumentParser) -> None:
    """--scores in the group `source`, --errors and --layers."""
    source.add_argument("--scores", type=Path, metavar="F.csv",
                        help="table of scores and errors: columns utterance, words, errors_1, "
                        "errors_2, ..., SCORE_1, ... (docs/exits.md)")
    parser.add_argument("--errors", metavar="NAME",
                        help="with --scores: the columns of errors to judge by, where there are "
                        "several, such as lexicon_errors (eval: default of --points)")
    parser.add_argument("--layers", metavar="N,N,...",
                        help="with --scores: layers up to each exit (default: one an exit)")


def refuse_without_scores(args: argparse.Namespace) -> None:
    """Raise ArgumentError for options that only a table of scores has a use for."""
    for name in _ONLY_HERE:
        if (value := getattr(args, name, None)) is not None:
            raise ArgumentError(f"--{name} {value} needs --scores F")


def _refuse_of_model(args: argparse.Namespace) -> None:
    for name, default in _ONLY_WITH_A_MODEL.items():
        if getattr(args, name, default) != default:
            raise ArgumentError(f"expected --{name.replace('_', '-')} or --scores, found both")


def _layers(args: argparse.Namespace) -> list[int] | None:
    try:
        return None if args.layers is None else [int(text) for text in args.layers.split(",")]
    except ValueError:
        raise ArgumentError(f"--layers {args.layers}: expected whole numbers with commas between "
                            "them") from None


def evaluate(args: argparse.Namespace) -> int:
    """Judge a policy by a table of scores; print or write the report."""
    from weights_io import files

    from ..calibration import fit, points_file
    from ..evaluation import report, score_table

    _refuse_of_model(args)
    if args.format in ("trn", "ctm"):
        raise ArgumentError(f"--format {args.format}: expected table, json or csv with --scores, "
                            "which has no transcripts")
    if args.output:
        files.refuse_existing(args.output, args.force)
    known = None if args.points is None else points_file.read(args.points)
    errors, layers = args.errors, _layers(args)
    if known is not None:
        errors, layers = errors or known.errors, layers or list(known.layers)
    whole = score_table.read(args.scores, errors, layers)
    count = len(whole.table.layers)
    if known is not None and len(known.layers) != count:
        raise ArgumentError(f"{args.points}: expected points for {count} exits, as {args.scores} "
                            f"has, found {len(known.layers)}")
    policy = _policy.policy_of_points(
        args, count, {} if known is None else known.policies)
    choice = None if policy is None else fit.choices(policy, whole.table)
    if args.format == "csv":
        if choice is None:
            raise ArgumentError("--format csv needs --policy P or --exit N with --scores")
        text = _console.csv_text(report.rows_of_scores(whole, choice))
    else:
        found = report.report_of_scores(whole, choice, policy, args.by)
        text = json.dumps(found, indent=1) + "\n" if args.format == "json" else report.text(found)
    _console.deliver(text, args.output, args.force)
    return 0


def calibrate(args: argparse.Namespace) -> int:
    """Fit rules to a table of scores, report, and write what was asked for."""
    from weights_io import files

    from ..calibration import Calibrator, fit, plot, points_file
    from ..evaluation import score_table
    from .calibrate import targets_of, text

    _refuse_of_model(args)
    if args.output is None and not args.dry_run:
        raise ArgumentError("--scores: expected --output POINTS.json or --dry-run")
    if args.plot:
        plot.require(args.plot)
    outputs = [path for path in (args.output, args.json, args.plot) if path is not None]
    files.refuse_shared(outputs)
    for path in outputs:
        files.refuse_existing(path, args.force)
    whole = score_table.read(args.scores, args.errors, _layers(args))
    if args.where is not None:
        whole = whole.where(args.where)
    table = whole.table
    # Few, and the richest first: the best of many by cross-validation would be the luckiest.
    chosen_from = [name for name in ("worth", "learned", "fixed") if name in fit.families(table)]
    calibrator = Calibrator(
        targets_of(args), chosen_from, args.confidence, progress=_progress.bar, prices=_PRICES,
        levels=LEVELS, proved=chosen_from[:1], shown=fit.parts_of_worth(table))
    fitted = calibrator.fit(table, whole.groups(args.group))
    report = {**fitted.report_, "split": args.scores.stem, "errors": whole.errors,
              "where": args.where}
    sys.stdout.write(text(report))
    if args.json:
        files.write_atomic(args.json, [(json.dumps(report, indent=1) + "\n").encode()], args.force)
    if args.plot:
        files.write_atomic(args.plot, [plot.draw(report, args.plot)], args.force)
    if not args.dry_run:
        files.write_atomic(args.output, [points_file.dump(
            whole.errors, table.layers.tolist(), fitted.points_)], args.force)
    return 0
