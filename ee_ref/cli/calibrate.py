"""`ee-ref calibrate`: fit policies to a manifest and store operating points in the model file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from . import _cluster, _phrases, _progress, _recordings, _scores
from .eval import add_inputs

if TYPE_CHECKING:
    from ..evaluation.manifest import Recording
    from ..evaluation.run import Spread
    from ..model import Model

HELP = "fit exit policies to a manifest and store them in the model file"
DESCRIPTION = (
    "Fit policies of every kind to a manifest, report word error rate against depth by "
    "cross-validation, and store the operating points fast (40 % of the layers), balanced "
    "(--target) and accurate (the fewest errors) in the model file. With --phrases: fit how sure a "
    "phrase must be to be accepted and the rule that stops when one is sure enough, and store both "
    "as the operating point phrases; the manifest also needs speech that is none of the phrases. "
    "With --stream: fit how far a stream looks, on the recordings joined with silence, and store "
    "that as the operating point stream. "
    "With --scores: fit rules to a table of scores and errors that were measured elsewhere, and "
    "write the operating points as JSON, for ee-ref eval --scores.")

_SHARE = 0.12  # what --stream takes for itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_inputs(parser)
    _phrases.add_arguments(parser)
    parser.add_argument("--target", metavar="T",
                        help="what balanced, or phrases, keeps: cost SHARE, the fewest errors "
                        "within that share of the layers; wer+POINTS, the fewest layers within so "
                        "many points of the last exit's error rate; or best (default: cost 0.6, "
                        "with --phrases cost 0.5)")
    parser.add_argument("--point", action="append", default=[], metavar="NAME=T",
                        help="another operating point, or another target for fast or accurate")
    parser.add_argument("--confidence", type=float, metavar="C",
                        help="prove the bound of balanced (a target wer+POINTS) at this "
                        "confidence, such as 0.9, on half of the set (docs/exits.md)")
    parser.add_argument("--stream", type=float, nargs="?", const=_SHARE, metavar="SHARE",
                        help="find the view of streams that waits least and has at most SHARE more "
                        f"word errors than the recordings one by one (default: {_SHARE:g}, so "
                        f"{100 * _SHARE:.0f} %% of those)")
    parser.add_argument("--posterior", action="store_true",
                        help="measure the N-best posteriors too: a beam search at every exit")
    parser.add_argument("--where", metavar="FIELD=V[,V...]",
                        help="use only recordings whose FIELD is one of these values, such as the "
                        "kind of speech that the model is for")
    parser.add_argument("--group", default="speaker", metavar="FIELD",
                        help="manifest field; recordings with the same value stay in one fold "
                        "(default: speaker)")
    parser.add_argument("-o", "--output", type=Path, metavar="MODEL",
                        help="model file to write (default: the model itself is replaced); with "
                        "--scores the JSON of the points")
    parser.add_argument("--dry-run", action="store_true", help="write no operating points")
    parser.add_argument("--json", type=Path, metavar="F", help="write the report to F")
    parser.add_argument("--plot", type=Path, metavar="F.png|F.svg",
                        help="draw the curves (needs matplotlib)")
    parser.add_argument("--force", action="store_true", help="replace outputs that exist")


def run(args: argparse.Namespace) -> int:
    """Measure, fit, report, and write what was asked for.

    Exit code 1 when recordings had to be left out; the points are fitted to the others.
    """
    if args.scores is not None:
        return _scores.calibrate(args)
    _scores.refuse_without_scores(args)
    from weights_io import files

    from .. import model_file
    from ..calibration import plot
    from ..evaluation import manifest
    from ..loading import BUNDLED, load, thread_count

    threads = thread_count(args.threads)
    if args.plot:
        plot.require(args.plot)
    fit = _policies(args) if args.stream is None else _view(args)
    if args.model in (None, *BUNDLED) and args.output is None and not args.dry_run:
        raise ArgumentError("the bundled model is not replaced: expected --model, --output or "
                            "--dry-run")
    outputs = [path for path in (args.output, args.json, args.plot) if path is not None]
    files.refuse_shared(outputs)
    for path in outputs:
        files.refuse_existing(path, args.force)
    recordings = _cluster.manifest_of(args)
    if args.where is not None:
        recordings = manifest.where(recordings, args.where)
    model = load(args.model, backend=args.backend)
    left_out = _recordings.LeftOut(len(recordings))
    with _cluster.spread_of(args, threads, recordings, model, posteriors=args.posterior
                            ) as (spread, threads):
        report, points = fit(model, recordings, threads, spread, left_out)
    code = left_out.exit_code()
    report.update({"split": args.manifest.stem, "where": args.where,
                   "normaliser": args.normaliser, "left_out": left_out.count})
    sys.stdout.write(text(report) if args.stream is None else _stream_text(report))
    if args.json:
        files.write_atomic(args.json, [(json.dumps(report, indent=1) + "\n").encode()], args.force)
    if args.plot:
        files.write_atomic(args.plot, [plot.draw(report, args.plot)], args.force)
    if not args.dry_run:
        replaced = args.output is None
        points = {name: {**point, "normaliser": args.normaliser}
                  for name, point in points.items()}
        model_file.store_operating_points(
            model.file, args.output or args.model,
            {**model_file.operating_points(model.file), **points},
            overwrite=replaced or args.force)
    return code


Fit = Callable[["Model", "Sequence[Recording]", int, "Spread", _recordings.LeftOut],
               tuple[dict[str, Any], dict[str, Any]]]
"""(model, recordings, threads, what runs them, who hears of those left out) -> (report, operating
points)."""


def _policies(args: argparse.Namespace) -> Fit:
    """What fits policies, with phrases or without. Raises ArgumentError for options."""
    from ..calibration import Calibrator, Target
    from ..calibration.phrases import accepted, fit_confidence, phrase_point, phrase_table
    from ..evaluation import manifest
    from ..evaluation import phrases as evaluated
    from ..evaluation import run as runs
    from ..model import PHRASES_POLICY

    targets = targets_of(args)
    of_phrases = Target.parse(targets.pop(PHRASES_POLICY)) if args.phrases else None
    calibrator = Calibrator(targets, confidence=args.confidence, progress=_progress.bar)

    def fit(model: Model, recordings: Sequence[Recording], threads: int, spread: Spread,
            left_out: _recordings.LeftOut) -> tuple[dict[str, Any], dict[str, Any]]:
        phrases = _phrases.decoder_of(args, model)
        utterances = runs.run(model, recordings, posteriors=args.posterior, phrases=phrases,
                              progress=_progress.bar, failed=left_out, spread=spread)
        left_out.require_some()
        table = runs.table(model, utterances, args.normaliser)
        groups = [manifest.group(utterance.recording, args.group) for utterance in utterances]
        found: dict[str, Any] = {}
        if phrases is not None:
            outcomes = evaluated.outcomes(utterances, phrases.phrases, args.normaliser)
            confidence = fit_confidence(table, outcomes)
            outcomes = replace(outcomes, accepted=accepted(table, confidence))
            found["phrases"] = {**outcomes.report(), "confidence": asdict(confidence)}
            table = phrase_table(table, outcomes)
            groups = [group for group, said in zip(groups, outcomes.said) if said]
        fitted = calibrator.fit(table, groups)
        points = fitted.points_
        if of_phrases is not None:
            points[PHRASES_POLICY] = {**phrase_point(table, of_phrases),
                                      "confidence": asdict(confidence)}
        return {**fitted.report_, **found}, points

    return fit


def _view(args: argparse.Namespace) -> Fit:
    """What fits the view of streams. Raises ArgumentError for options."""
    from ..calibration import streams
    from ..checks import check_number
    from ..model import STREAM_POINT

    check_number("--stream", args.stream, 0)
    for option in ("phrases", "target", "point", "confidence", "posterior", "plot", "dask",
                   "workers", "journal"):
        if getattr(args, option):
            raise ArgumentError(f"expected --{option} or --stream, found both")

    def fit(model: Model, recordings: Sequence[Recording], threads: int, spread: Spread,
            left_out: _recordings.LeftOut) -> tuple[dict[str, Any], dict[str, Any]]:
        report = streams.measure(model, recordings, args.normaliser, threads, _progress.bar,
                                 left_out)
        report["point"] = streams.stream_point(report, args.stream)
        return report, {STREAM_POINT: report["point"]}

    return fit


def targets_of(args: argparse.Namespace) -> dict[str, str]:
    from ..calibration import POINTS
    from ..model import PHRASES_POLICY

    if args.phrases is not None:
        for option in ("confidence", "point"):
            if getattr(args, option):
                raise ArgumentError(f"expected --{option} or --phrases, found both")
        return {PHRASES_POLICY: args.target or "cost 0.5"}
    found = {**POINTS, "balanced": args.target or "cost 0.6"}
    for text in args.point:
        name, equals, target = text.partition("=")
        if not equals or not name.isidentifier():
            raise ArgumentError(f"--point {text}: expected NAME=TARGET")
        found[name] = target
    return found


def text(report: dict[str, Any]) -> str:
    from ..evaluation.report import interval_text, left_out_line, phrase_lines

    layers = report["layers"][-1]
    what = "wrong %" if "phrases" in report else "WER %"
    if "phrases" in report:
        by = report["phrases"]["confidence"]
        lines = [*phrase_lines(report), "",
                 f"confidence: sigmoid({by['bias']:g} + {by['free']:g} free + {by['margin']:g} "
                 f"margin), accepted from {by['threshold']:g} on", "",
                 f"{report['utterances']} recordings of a phrase, {report['seconds']:.0f} s; wrong "
                 "ones by cross-validation"]
    else:
        lines = [f"{report['utterances']} utterances, {report['words']} words, "
                 + (f"errors {report['errors']}" if "errors" in report else
                    f"{report['seconds']:.0f} s")
                 + "; word error rates by cross-validation"]
    if report.get("left_out"):
        lines.append(left_out_line(report["left_out"], report["utterances"]))
    lines += ["", f"{'fixed':<10}{what:>8}{'layers':>8}"]
    for number, row in enumerate(report["exits"], start=1):
        lines.append(f"exit {number:<5}{row['wer'][0]:>8.2f}{row['depth']:>8.2f}")
    lines += [f"{'oracle':<10}{report['oracle']['wer'][0]:>8.2f}{report['oracle']['depth']:>8.2f}",
              "", f"{f'family, {what} at a share of the layers':<44}"
              + "".join(f"{share:>8.0%}" for share in _SHARES)]
    for name, path in report["curves"].items():
        lines.append(f"{name:<44}" + "".join(
            f"{_at(path, share):>8}" for share in _SHARES))
    if levels := report["levels"]:
        lines += ["", f"{'family, % of the way to the oracle':<40}" + "".join(
            f"{float(share):>24.0%}" for share in levels)]
        for name in report["curves"]:
            lines.append(f"{name:<40}" + "".join(
                f"{interval_text(rows[name]['closed']):>24}"
                for rows in levels.values()))
    lines += ["", f"{'point':<12}{'target':<10}{'family':<30}{what:>8}{'layers':>8}{'share':>7}"]
    for name, point in report["points"].items():
        lines.append(f"{name:<12}{point['target']:<10}{point['family']:<30}{point['wer']:>8.2f}"
                     f"{point['depth']:>8.2f}{point['depth'] / layers:>7.1%}")
        if "guarantee" in point:
            proof = point["guarantee"]
            lines.append(f"  proved on {proof['utterances']} utterances: the error added to one "
                         f"is at most {proof['bound']:g} % on average, with confidence "
                         f"{proof['confidence']:g}")
    return "\n".join(lines) + "\n"


def _stream_text(report: dict[str, Any]) -> str:
    from ..evaluation.report import left_out_line

    lines = [f"{report['utterances']} utterances, {report['words']} words, joined to "
             f"{report['seconds']:.0f} s"]
    if report["left_out"]:
        lines.append(left_out_line(report["left_out"], report["utterances"]))
    lines += ["", f"{'view':<40}{'waits s':>8}{'WER %':>8}{'GMAC/s':>8}",
              f"{'one by one':<48}{report['wer']:>8.2f}"]
    for row in report["views"]:
        chosen = all(row[name] == report["point"][name] for name in ("view", "policy"))
        view = ", ".join([*(f"{name} {rows}" for name, rows in row["view"].items()),
                          row["policy"]["kind"]])
        lines.append(f"{view:<40}{row['seconds']:>8.2f}{row['wer']:>8.2f}"
                     f"{row['multiply_accumulates'] / 1e9:>8.3f}{' *' * chosen}")
    return "\n".join(lines) + "\n"


_SHARES = (0.35, 0.5, 0.6, 0.75, 0.9)


def _at(path: list[dict[str, Any]], share: float) -> str:
    """The least rate on the path at no more than this share of the layers."""
    rates = [point["wer"] for point in path if point["depth_share"] <= share + 1e-9]
    return f"{min(rates):.2f}" if rates else "-"
