"""Error rates of a model file per exit and per kind of speech, with 95 % confidence intervals, as a Markdown table.

    python evaluate.py --data DATA [--model FILE] [--split test] [--json RESULT]

Everything runs through the public API of `ee_ref`, one utterance at a time, greedy decoding. The intervals come
from 1,000 bootstrap draws of whole speakers, because errors of one speaker go together; where speakers are not
known (wake words), of utterances.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

import ee_ref
from data import manifest
from ee_ref import audio
from ee_ref.evaluation.scoring import edit_distance
from scoring import nearest, strings_of_three
from words import DIGITS, WORDS

STRINGS, STRINGS_SEED = 150, 1
DRAWS = 1000


def test_sets(lines, rate):
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


def hypotheses(model, samples):
    """The text of every exit."""
    run = model.run(model.features(samples), every=True)
    return [model.text(out.log_probs) for out in run.outputs]


class Tally:
    """Errors and reference lengths by speaker: (speakers, exits) and (speakers,)."""

    def __init__(self):
        self.by_speaker = {}

    def add(self, speaker, errors, length):
        total_errors, total_length = self.by_speaker.get(speaker, (0, 0))
        self.by_speaker[speaker] = (total_errors + np.array(errors), total_length + length)

    def rates(self, rng):
        """[(rate, low, high)] in % of every exit; NaN where no reference holds anything."""
        errors = np.array([errors for errors, _ in self.by_speaker.values()])
        lengths = np.array([length for _, length in self.by_speaker.values()])
        if not lengths.any():
            return [(np.nan,) * 3] * errors.shape[1]
        draws = rng.integers(len(lengths), size=(DRAWS, len(lengths)))
        drawn_errors, drawn_lengths = errors[draws].sum(1), lengths[draws].sum(1)
        held = drawn_lengths > 0
        drawn = 100 * drawn_errors[held] / drawn_lengths[held, None]
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        return list(zip(100 * errors.sum(0) / lengths.sum(), low, high))


def evaluate(model, lines):
    """({row name: [(rate, low, high)] per exit}, {row name: number of utterances})."""
    tallies, counts = {}, {}

    def count(row, speaker, reference, found):
        tallies.setdefault(row, Tally()).add(speaker, [edit_distance(reference, text) for text in found],
                                             len(reference))
        counts[row] = counts.get(row, 0) + 1

    for name, speaker, text, samples in tqdm(test_sets(lines, model.config.sample_rate), unit="utterance"):
        texts = hypotheses(model, samples)
        words = [found.split() for found in texts]
        count(f"{name}, words", speaker, text.split(), words)
        if name == "commands" and text in DIGITS:
            count("commands, the digits of them, words", speaker, text.split(), words)
        if name.startswith("read"):
            count(f"{name}, characters", speaker, text, texts)
        else:
            corrected = [[nearest(word, WORDS) for word in found] for found in words]
            count(f"{name}, nearest of {len(WORDS)} words", speaker, text.split(), corrected)
    rng = np.random.default_rng(0)
    return {row: tally.rates(rng) for row, tally in tallies.items()}, counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the data pack")
    parser.add_argument("--model", type=Path, help="default: the model bundled with ee_ref")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    model = ee_ref.load(args.model)
    rates, counts = evaluate(model, manifest(args.data, f"{args.split}.jsonl"))
    print(f"| error rate %, {args.split} | n |", " | ".join(f"exit {n + 1}" for n in range(model.config.exits)), "|")
    print("|---|---:|" + "---:|" * model.config.exits)
    for row in sorted(rates):
        cells = [f"{rate:.1f} ({low:.1f}-{high:.1f})" for rate, low, high in rates[row]]
        print(f"| {row} | {counts[row]} |", " | ".join(cells), "|")
    if args.json:
        rows = {row: {"utterances": counts[row], "rate_low_high": np.round(rates[row], 2).tolist()} for row in rates}
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
