"""Error rates of a model file per exit and per kind of speech, with 95 % confidence intervals.

    python evaluate.py --data DATA [--model FILE] [--split test] [--json RESULT]

Prints a Markdown table. Everything runs through the public API of `ee_ref`, one utterance at a
time, greedy decoding. The intervals come from bootstrap draws of whole speakers, because errors of
one speaker go together; where speakers are not known (wake words), of utterances.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

import ee_ref
from corpora import Line, manifest
from ee_ref import audio
from ee_ref.evaluation import figures
from ee_ref.evaluation.scoring import edit_distance
from scoring import nearest, strings_of_three
from words import DIGITS, WORDS

STRINGS, STRINGS_SEED = 150, 1


def test_sets(lines: Sequence[Line], rate: int) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yields (set name, speaker, reference text, samples) for every utterance."""
    commands = []
    for line in lines:
        samples = audio.read(line["path"], rate)
        if line["source"] == "speech-commands":
            if not line["text"]:
                continue
            commands.append({**line, "samples": samples})
            yield "commands", line["speaker"], line["text"], samples
        elif line["source"] == "wake-words":
            yield "wake phrases", line["id"], line["text"], samples
        else:
            yield f"read, {line['source']}", line["speaker"], line["text"], samples
    for three in strings_of_three(commands, STRINGS, STRINGS_SEED):
        yield ("strings of 3", three[0]["speaker"], " ".join(clip["text"] for clip in three),
               np.concatenate([clip["samples"] for clip in three]))


class Tally:
    """One row of the table, counted utterance by utterance."""

    def __init__(self) -> None:
        self.speakers: list[str] = []
        self.errors: list[list[int]] = []
        self.lengths: list[int] = []

    def add(self, speaker: str, reference: Sequence[str], found: Sequence[Sequence[str]]) -> None:
        """found: what each exit heard, in the units of the reference."""
        self.speakers.append(speaker)
        self.errors.append([edit_distance(reference, heard) for heard in found])
        self.lengths.append(len(reference))

    def rates(self) -> list[list[float | None]]:
        """[rate, low, high] in % of every exit; None where no reference holds anything."""
        lengths = np.array(self.lengths, float)
        return [figures.interval(errors, lengths, self.speakers)
                for errors in np.array(self.errors, float).T]


def evaluate(model: ee_ref.Model, lines: Sequence[Line]) -> dict[str, Tally]:
    """Row name -> what was counted for it."""
    tallies: dict[str, Tally] = {}
    sets = test_sets(lines, model.config.sample_rate)
    for name, speaker, text, samples in tqdm(sets, unit="utterance"):
        run = model.run(model.features(samples), every=True)
        texts = [model.text(out.log_probs) for out in run.outputs]
        words = [found.split() for found in texts]

        def count(row: str, reference: Sequence[str], found: Sequence[Sequence[str]],
                  speaker: str = speaker) -> None:
            tallies.setdefault(row, Tally()).add(speaker, reference, found)

        count(f"{name}, words", text.split(), words)
        if name == "commands" and text in DIGITS:
            count("commands, the digits of them, words", text.split(), words)
        if name.startswith("read"):
            count(f"{name}, characters", text, texts)
        else:
            count(f"{name}, nearest of {len(WORDS)} words", text.split(),
                  [[nearest(word, WORDS) for word in found] for found in words])
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the data pack")
    parser.add_argument("--model", help="model file, or name of a bundled one (default: english)")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    model = ee_ref.load(args.model)
    tallies = evaluate(model, manifest(args.data, f"{args.split}.jsonl"))
    numbers = range(1, model.config.exits + 1)
    print(f"| error rate %, {args.split} | n |", " | ".join(f"exit {n}" for n in numbers), "|")
    print("|---|---:|" + "---:|" * model.config.exits)
    rows = {name: {"utterances": len(tally.lengths), "rate_low_high": tally.rates()}
            for name, tally in sorted(tallies.items())}
    for name, row in rows.items():
        cells = ["{:.1f} ({:.1f}-{:.1f})".format(*rates) if None not in rates else "-"
                 for rates in row["rate_low_high"]]
        print(f"| {name} | {row['utterances']} |", " | ".join(cells), "|")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
