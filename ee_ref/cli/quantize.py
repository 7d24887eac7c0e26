"""`ee-ref quantize`: a float32 model file becomes an int8 one, with a report of what it cost."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..evaluation.manifest import Recording


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
    parser.add_argument("--threads", type=int, metavar="N",
                        help="threads of the native backend (default: EE_REF_THREADS, or 1)")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Quantise, read the result back, and print the report on stdout."""
    from weights_io import files, model_file, quantize

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

    print(_weight_table(quantize.weight_report(source.tensors, written.tensors)))
    if recordings:
        exits = _compare(args, recordings)
        print()
        print(_exit_table(exits, len(recordings)))
    print(f"{args.output}: {written.size:,} bytes, {written.size / source.size:.3f} of "
          f"{source.size:,}", file=sys.stderr)
    return 0


class _Exit:
    """Counts of one exit over the manifest: word errors of both models, signal and noise."""

    def __init__(self) -> None:
        self.errors = [0, 0]
        self.words = self.changed = 0
        self.signal = self.noise = 0.0


def _compare(args: argparse.Namespace, recordings: list[Recording]) -> list[_Exit]:
    """Run both models over the recordings."""
    import numpy as np

    from .. import audio, decode
    from ..pipeline import load
    from ..wer import edit_distance

    models = [load(path, backend=args.backend, threads=args.threads)
              for path in (args.model, args.output)]
    config = models[0].config
    totals = [_Exit() for _ in range(config.exits)]
    for recording in recordings:
        words = recording.text.casefold().split()
        samples = audio.read(recording.path, config.sample_rate, config.max_seconds)
        features = models[0].features(samples)
        for total, *outputs in zip(totals, *(model.exits(features) for model in models)):
            texts = []
            for number, (model, output) in enumerate(zip(models, outputs)):
                best = decode.greedy(output.log_probs, blank=config.blank)
                texts.append(model.tokens.text(best.tokens).casefold().split())
                total.errors[number] += edit_distance(words, texts[-1])
            total.words += len(words)
            total.changed += texts[0] != texts[1]
            expected, found = (output.log_probs.astype(np.float64) for output in outputs)
            total.signal += np.square(expected).sum()
            total.noise += np.square(found - expected).sum()
    return totals


_STEM_COLUMNS = ("positions", "conv1", "conv2")
_LAYER_COLUMNS = ("ff1.up", "ff1.down", "attn.in", "attn.out", "conv.in", "conv.out", "ff2.up",
                  "ff2.down")


def _weight_table(report: dict[str, float]) -> str:
    """Signal-to-noise ratios, one line a layer."""
    lines = ["weights, signal to noise in dB", "",
             f"{'stem':<20}" + "".join(f"{column:>10}" for column in _STEM_COLUMNS)]
    stem = (report["stem.positions"], report["stem.conv1.weight"], report["stem.conv2.weight"])
    lines.append(f"{'':<20}" + "".join(f"{value:>10.1f}" for value in stem))
    lines += ["", f"{'layer':<20}" + "".join(f"{column:>10}" for column in _LAYER_COLUMNS)]
    layers: dict[str, list[float]] = {}
    for name, value in report.items():
        if name.startswith("group."):
            layers.setdefault(".".join(name.split(".")[:4]), []).append(value)
        elif name.startswith("head."):
            layers[name.removesuffix(".weight")] = [value]
    for layer, values in layers.items():
        lines.append(f"{layer:<20}" + "".join(f"{value:>10.1f}" for value in values))
    return "\n".join(lines)


def _exit_table(exits: list[_Exit], recordings: int) -> str:
    """Word error rates before and after, one line an exit."""
    import math

    lines = [f"{recordings} recordings, {exits[0].words} words, greedy decoding", "",
             f"{'exit':>4}{'float32 WER %':>15}{'int8 WER %':>12}{'difference':>12}"
             f"{'log-probs dB':>14}{'texts changed':>15}"]
    for number, total in enumerate(exits, start=1):
        before, after = (100 * errors / max(1, total.words) for errors in total.errors)
        snr = 10 * math.log10(total.signal / total.noise) if total.noise else math.inf
        lines.append(f"{number:>4}{before:>15.2f}{after:>12.2f}{after - before:>+12.2f}"
                     f"{snr:>14.1f}{total.changed:>15}")
    return "\n".join(lines)
