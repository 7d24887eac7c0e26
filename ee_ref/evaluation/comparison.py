"""Two models over the same recordings, exit by exit: what quantisation changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..model import Model
from . import report
from .figures import rate
from .manifest import Recording
from .run import each, samples_of
from .scoring import edit_distance, normaliser


class Difference(NamedTuple):
    """Sums over recordings, at one exit.

    errors_before, errors_after: of words, by greedy decoding under the normaliser plain; words: of
    the references. changed: texts that differ between the models. signal, noise: energies of the
    log-probabilities before, and of their differences.
    """

    errors_before: int
    errors_after: int
    words: int
    changed: int
    signal: float
    noise: float


def compare(
    before: Model, after: Model, recordings: Sequence[Recording], **how: Any
) -> list[Difference]:
    """`Difference` of each exit. Both models hear the features of the first.

    how: threads, progress and failed of `run.each`. Raises as `run.run` does.
    """
    plain = normaliser("plain")

    def one(recording: Recording) -> list[Difference]:
        features = before.features(samples_of(recording, before))
        words = plain(recording.text).split()
        found = []
        for outputs in zip(*(model.run(features, every=True).outputs for model in (before, after))):
            expected, other = (out.log_probs for out in outputs)
            first, second = (plain(model.text(out.log_probs)).split()
                             for model, out in zip((before, after), outputs))
            found.append(Difference(
                edit_distance(words, first), edit_distance(words, second), len(words),
                int(first != second), float(np.square(expected, dtype=np.float64).sum()),
                float(np.square(np.subtract(other, expected, dtype=np.float64)).sum())))
        return found

    counted = each(recordings, one, **how)
    return [Difference(*map(sum, zip(*of_exit))) for of_exit in zip(*counted)]


def text(found: Sequence[Difference], recordings: int, left_out: int = 0) -> str:
    """Word error rates before and after, one line an exit; without words the insertions."""
    words = found[0].words
    what = "WER %" if words else "inserted"
    lines = [f"{recordings} recordings, {words} words; normaliser plain, greedy decoding"]
    if left_out:
        lines.append(report.left_out_line(left_out, recordings))
    lines += ["", f"{'exit':>4}{f'float32 {what}':>18}{f'int8 {what}':>15}{'difference':>12}"
              f"{'log-probs dB':>14}{'texts changed':>15}"]
    for number, exit in enumerate(found, start=1):
        errors = exit.errors_before, exit.errors_after
        before, after = (report.number(rate(count, words)) if words else str(count)
                         for count in errors)
        difference = f"{100 * (errors[1] - errors[0]) / words:+.2f}" if words else "-"
        snr = 10 * math.log10(exit.signal / exit.noise) if exit.noise else math.inf
        lines.append(f"{number:>4}{before:>18}{after:>15}{difference:>12}{snr:>14.1f}"
                     f"{exit.changed:>15}")
    return "\n".join(lines)
