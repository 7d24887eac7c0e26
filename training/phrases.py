"""The operating point `phrases` of the English model, and the figures of phrases in docs/exits.md.

    python phrases.py --data DATA --set build/phrases     the list and manifest that it is fitted to
    ee-ref calibrate --model M.gguf --manifest build/phrases/dev.jsonl \\
        --phrases build/phrases/dev.phrases
    python phrases.py --data DATA [--model M.gguf]        judge it (minutes), and fill in the table

The point is fitted to dev alone: command words, wake phrases and every third of its sentences are
the phrases, its other words and sentences are what has to be rejected.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ee_ref
from ee_ref import phrases
from ee_ref.evaluation import manifest, run
from ee_ref.evaluation.manifest import Recording
from ee_ref.evaluation.phrases import Outcomes, outcomes
from ee_ref.exits import Observation, Utterance
from ee_ref.phrase_decoder import Heard, PhraseDecoder
from exits import filled, markdown
from words import COMMANDS, WAKE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "exits.md"
WORDS = ("speech-commands", "wake-words")
SENTENCES, DRAWS = 200, (1, 2, 3)
SHOWN = (1, 2, 3, 5)
"""Exits of the table; the second and the last also with what they reject and accept."""


def is_word(recording: Recording) -> bool:
    """Whether it says one word or wake phrase, not a sentence."""
    return recording.fields["source"] in WORDS


def texts_of(recordings: Sequence[Recording]) -> list[str]:
    """What they say, each once; silence is no phrase."""
    return sorted({recording.text for recording in recordings if recording.text})


def dev_set(recordings: Sequence[Recording]) -> tuple[list[str], list[Recording]]:
    """(phrases, recordings) to fit to, from the dev split."""
    read = [recording for recording in recordings if not is_word(recording)]
    order = np.random.default_rng(0).permutation(len(read))
    said = [read[at] for at in order[: len(read) // 3]]
    return [*COMMANDS, *WAKE, *texts_of(said)], list(recordings)


def write_set(recordings: Sequence[Recording], folder: Path) -> None:
    """dev.phrases and dev.jsonl, whose paths are absolute."""
    said, used = dev_set(recordings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dev.phrases").write_text("".join(f"{text.lower()}\n" for text in said))
    (folder / "dev.jsonl").write_text("".join(
        json.dumps({**recording.fields, "id": recording.id, "text": recording.text,
                    "path": str(recording.path.resolve())}) + "\n" for recording in used))


@dataclass(frozen=True)
class List:
    """Phrases, and the recordings that they are judged on, by id."""

    name: str
    texts: Sequence[str]
    recordings: Collection[str]


def lists(dev: Sequence[Recording], test: Sequence[Recording]) -> Iterator[List]:
    """Those of the table."""
    words = [recording for recording in test if is_word(recording)]
    read = [recording for recording in test if not is_word(recording)]
    on_test = {recording.id for recording in (*words, *read) if recording.text}
    yield List("the 43 words of the data pack and its wake phrases", texts_of(words), on_test)
    yield List("ten command words and the wake phrases", (*COMMANDS, *WAKE), on_test)
    read = [recording for recording in dev if not is_word(recording)] + read
    for draw in DRAWS:
        drawn = np.random.default_rng(draw).choice(len(read), SENTENCES, replace=False)
        yield List(f"{SENTENCES} read sentences, draw {draw}", texts_of([read[at] for at in drawn]),
                   {recording.id for recording in read})


def loaded(texts: Sequence[str], folder: Path) -> phrases.Phrases:
    """These texts as phrases."""
    path = folder / "list.phrases"
    path.write_text("".join(f"{text.lower()}\n" for text in texts))
    return phrases.load(path)


def measured(
    model: ee_ref.Model, recordings: Sequence[Recording],
    decoders: Sequence[tuple[List, PhraseDecoder]], threads: int,
) -> list[list[run.Measurement]]:
    """For each list, what every exit heard in its recordings."""
    def one(recording: Recording) -> list[tuple[Heard, ...]]:
        samples = run.samples_of(recording, model)
        heard: list[list[Heard]] = [[] for _ in decoders]
        for out in model.exits(model.features(samples)):
            for (own, decoder), found in zip(decoders, heard):
                if recording.id in own.recordings:
                    found.append(decoder(out.log_probs))
        return [tuple(found) for found in heard]

    everything = run.each(recordings, one, threads)
    return [[run.Measurement(recording, 0.0, (), (), (), (), heard=heard[number])
             for recording, heard in zip(recordings, everything) if heard[number]]
            for number in range(len(decoders))]


def by_rule(model: ee_ref.Model, utterances: Sequence[run.Measurement]) -> np.ndarray:
    """(n,) exits, from 0, at which the operating point `phrases` stops."""
    rule: Any = model.policies["phrases"]  # which looks at what was heard, and at nothing else
    nothing: Any = None

    def stops(heard: Heard, exit: int) -> bool:
        at = Observation(exit, nothing, nothing, Utterance(), heard.scores)
        return rule.decide(at)[0].stop

    stop = np.array([[stops(heard, exit) for exit, heard in enumerate(utterance.heard, start=1)]
                     for utterance in utterances])
    stop[:, -1] = True
    return stop.argmax(axis=1)


def row(name: str, found: Outcomes, chosen: np.ndarray, layers: np.ndarray) -> list[str]:
    """A line of the table."""
    n, exits = found.right.shape
    at = {exit: found.figures(np.full(n, exit - 1)) for exit in range(1, exits + 1)}
    rule = found.figures(chosen)
    depth = 100 * layers[chosen[found.said]].mean() / layers[-1]

    def shares(kind: str) -> str:
        return ", ".join(f"{at[exit][kind][0]:.1f}" for exit in (2, exits))

    return [f"{name}, {found.said.sum()}", *(f"{at[exit]['right'][0]:.1f}" for exit in SHOWN),
            f"{rule['right'][0]:.1f}", f"{depth:.0f} %", shares("rejected"), shares("accepted"),
            str((~found.said).sum())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the data pack")
    parser.add_argument("--model", default="english")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", type=Path, metavar="DIR", help="write what to fit to, and stop")
    args = parser.parse_args()
    dev = manifest.read(args.data / "dev.jsonl")
    if args.set:
        write_set(dev, args.set)
        return
    test = manifest.read(args.data / "test.jsonl")
    model = ee_ref.load(args.model)
    with tempfile.TemporaryDirectory() as folder:
        decoders = [(own, model.phrase_decoder(loaded(own.texts, Path(folder))))
                    for own in lists(dev, test)]
    layers = np.cumsum(model.config.layers_per_exit)
    rows = [row(own.name, outcomes(utterances, decoder.phrases, "plain"),
                by_rule(model, utterances), layers)
            for (own, decoder), utterances in zip(
                decoders, measured(model, [*dev, *test], decoders, args.threads))]
    table = markdown(
        ("list, recordings that say it", *(f"right % exit {exit}" for exit in SHOWN), "`Phrase`",
         "at layers", "rejected % exits 2, 5", "others accepted % exits 2, 5", "others"), rows)
    PAGE.write_text(filled(PAGE.read_text(), "phrases", table))
    print(table)


if __name__ == "__main__":
    main()
