"""`ee-ref quantize`: a float32 model file becomes an int8 one, with a report of what it cost."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError, EeError
from ._recordings import LeftOut, add_threads

if TYPE_CHECKING:
    import numpy as np

    from ..config import Config
    from ..evaluation.manifest import Recording
    from ..pipeline import Model


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser(
        "quantize",
        help="float32 model file to int8",
        description="Quantise a model file to int8, whose results are the same bytes on every "
        "platform. Prints the signal-to-noise ratio of the weights of each layer, and with "
        "--manifest the word error rates before and after.",
    )
    parser.add_argument("model", metavar="MODEL", help="float32 model file")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL",
                        help="int8 model file to write")
    parser.add_argument("--manifest", type=Path, metavar="F",
                        help="compare word error rates on these recordings, by greedy decoding: "
                        "JSON lines, or a folder, as for eval")
    parser.add_argument("--backend", choices=("native", "numpy"), default="native",
                        help="what runs the two models over the manifest")
    add_threads(parser, "threads of the native backend that share the work of each recording")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Quantise, read the result back, and print the report on stdout.

    Exit code 1 when recordings had to be left out of the comparison; the model is written all the
    same.
    """
    from weights_io import files

    from .. import model_file, quantize
    from ..evaluation import manifest

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
    left_out = LeftOut(len(recordings))
    exits = _compare(args, recordings, left_out)
    code = left_out.exit_code()
    print()
    print(_exit_table(exits, len(recordings) - left_out.count, left_out.count))
    return code


class _Exit:
    """Counts of one exit over the manifest: word errors of both models, signal and noise."""

    def __init__(self) -> None:
        self.errors = [0, 0]
        self.words = self.changed = 0
        self.signal = self.noise = 0.0


def _compare(args: argparse.Namespace, recordings: list[Recording], left_out: LeftOut
             ) -> list[_Exit]:
    """Run both models over the recordings."""
    from ..pipeline import load

    models = [load(path, backend=args.backend, threads=args.threads)
              for path in (args.model, args.output)]
    totals = [_Exit() for _ in range(models[0].config.exits)]
    for recording in recordings:
        try:
            outputs = _outputs(models, recording)
        except EeError as error:
            left_out(recording, error)
        else:
            _count(totals, models, recording, outputs)
    return totals


def _outputs(models: list[Model], recording: Recording) -> list[list[np.ndarray]]:
    """Log-probabilities of both models at every exit."""
    from .. import audio

    config = models[0].config
    samples = audio.read(recording.path, config.sample_rate, config.max_seconds)
    features = models[0].features(samples)
    return [[out.log_probs for out in model.exits(features)] for model in models]


def _count(totals: list[_Exit], models: list[Model], recording: Recording,
           outputs: list[list[np.ndarray]]) -> None:
    """Add the errors and differences of one recording."""
    import numpy as np

    from .. import decode
    from ..evaluation.scoring import normaliser
    from ..wer import edit_distance

    plain = normaliser("plain")
    words = plain(recording.text).split()
    for total, *pair in zip(totals, *outputs):
        texts = []
        for number, (model, log_probs) in enumerate(zip(models, pair)):
            best = decode.greedy(log_probs, blank=model.config.blank)
            texts.append(plain(model.tokens.text(best.tokens)).split())
            total.errors[number] += edit_distance(words, texts[-1])
        total.words += len(words)
        total.changed += texts[0] != texts[1]
        expected, found = (log_probs.astype(np.float64) for log_probs in pair)
        total.signal += np.square(expected).sum()
        total.noise += np.square(found - expected).sum()


def _weight_table(config: Config, report: dict[str, float]) -> str:
    """Signal-to-noise ratios, one line a layer."""
    from .. import families

    lines, heading = ["weights, signal to noise in dB"], ()
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


def _exit_table(exits: list[_Exit], recordings: int, left_out: int) -> str:
    """Word error rates before and after, one line an exit; without words the insertions."""
    import math

    from ..evaluation import report
    from ..evaluation.figures import rate

    words = exits[0].words
    what = "WER %" if words else "inserted"
    lines = [f"{recordings} recordings, {words} words; normaliser plain, greedy decoding"]
    if left_out:
        lines.append(report.left_out_line(left_out, recordings))
    lines += ["", f"{'exit':>4}{f'float32 {what}':>18}{f'int8 {what}':>15}{'difference':>12}"
              f"{'log-probs dB':>14}{'texts changed':>15}"]
    for number, total in enumerate(exits, start=1):
        rates = [rate(errors, total.words) for errors in total.errors]
        before, after = map(report.number, rates) if words else map(str, total.errors)
        difference = f"{rates[1] - rates[0]:+.2f}" if words else "-"
        snr = 10 * math.log10(total.signal / total.noise) if total.noise else math.inf
        lines.append(f"{number:>4}{before:>18}{after:>15}{difference:>12}{snr:>14.1f}"
                     f"{total.changed:>15}")
    return "\n".join(lines)
