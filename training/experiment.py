"""The paper's experiment at our scale: all exits trained together, or one encoder for each depth.

    python experiment.py train --packs PACKS --dev DEV --labels bpe256.model [--at-once 4]
    python experiment.py judge --manifest DATA      measure, then draw
    python experiment.py draw                       table and plot from the JSON again

The runs differ in their layers and seed alone: the same speech, steps and schedule. The first three
options are those of train_english.py; the packs must be complete. A run that already has a result
is not repeated. The judge writes joint.json beside docs/exits.md, and from it the table there and
joint.svg.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import corpora
import ee_ref
from ee_ref import model_file
from ee_ref.convert import convert_state_dict
from ee_ref.errors import FileError
from ee_ref.evaluation import figures, run
from ee_ref.evaluation.manifest import Recording, group
from exits import cell, filled, markdown
from weights_io import from_torch, tokenizer

ROOT = Path(__file__).resolve().parent.parent
TRAINER = ROOT / "training" / "train_english.py"
JOINT = (2,) * 6
DEPTHS = (2, 6, 12)
SEEDS = (1, 2)
BATCH_SECONDS, RATE, EASY = 400, 9e-4, 0.4
"""EASY: share of the steps with short rows at first. With a quarter, a single exit after 12 layers
stayed where CTC gives nothing but blanks; with recorded sentences alone, one after 6 did too."""
SETS = {"dev": ("librispeech-dev-clean",), "test": ("librispeech-test-other", "speechocean762")}
"""Sources of read speech of each split."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training: exits after each of `layers` more layers."""

    kind: str
    layers: tuple[int, ...]
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"

    def result(self, work: Path) -> Path:
        return work / self.name / "english.pt"


RUNS = tuple(Run(kind, layers, seed) for seed in SEEDS for kind, layers in (
    ("joint", JOINT), *((f"single-{depth}", (depth,)) for depth in DEPTHS)))


def command(own: Run, args: argparse.Namespace) -> list[str]:
    """What trains a run: the paper's plain sum of losses, on the recipe's mix in full view."""
    return [sys.executable, str(TRAINER), "--packs", str(args.packs), "--dev", str(args.dev),
            "--labels", str(args.labels), "--work", str(args.work / own.name),
            "--layers", ",".join(map(str, own.layers)), "--seed", str(own.seed),
            "--steps", str(args.steps), "--batch-seconds", str(BATCH_SECONDS), "--rate", str(RATE),
            "--easy", str(round(EASY * args.steps)), "--whole", "1",
            "--exit-weights", ",".join("1" for _ in own.layers),
            "--store-hours", str(args.store_hours), "--planners", str(args.planners)]


def train(args: argparse.Namespace) -> None:
    """Train what is missing, `args.at_once` runs side by side. Raises FileError when one fails."""
    waiting = [own for own in RUNS if not own.result(args.work).exists()]
    working: dict[Run, subprocess.Popen] = {}
    try:
        while waiting or working:
            while waiting and len(working) < args.at_once:
                own = waiting.pop(0)
                (args.work / own.name).mkdir(parents=True, exist_ok=True)
                with open(args.work / own.name / "log.txt", "a") as log:
                    working[own] = subprocess.Popen(command(own, args), stdout=log, stderr=log)
            time.sleep(1)
            for own in [own for own, process in working.items() if process.poll() is not None]:
                code = working.pop(own).returncode
                if code or not own.result(args.work).exists():
                    raise FileError(f"{args.work / own.name}: expected {own.result(args.work).name}"
                                    f", found none after exit status {code}: see log.txt")
                print(f"{own.name} done", file=sys.stderr)
    finally:
        for process in working.values():
            process.terminate()


def load(checkpoint: Path) -> ee_ref.Model:
    """The model of a checkpoint, float32, by way of a model file beside it."""
    read = from_torch.read_checkpoint(checkpoint)
    config, tensors = convert_state_dict(read.state, extras=read.extras)
    stored = tokenizer.from_extras(read.extras)
    if stored is None or len(stored[0]) != config.vocab:
        raise FileError(f"{checkpoint}: expected the {config.vocab} tokens of its labels in it")
    path = checkpoint.with_suffix(".gguf")
    model_file.write(path, config, *stored, tensors, name=checkpoint.parent.name, overwrite=True)
    return ee_ref.load(path)


def recordings(folders: Sequence[Path]) -> dict[str, list[Recording]]:
    """Those of SETS by source."""
    found: dict[str, list[Recording]] = {}
    for folder, (split, sources) in itertools.product(folders, SETS.items()):
        for line in corpora.manifest(folder, f"{split}.jsonl"):
            if line["source"] in sources:
                found.setdefault(f"{split} {line['source']}", []).append(
                    Recording(line["id"], Path(line["path"]), line["text"], line))
    return found


def measure(args: argparse.Namespace) -> Figures:
    """All figures, as plain data."""
    sets = recordings(args.manifest)
    errors: dict[str, dict[Run, np.ndarray]] = {name: {} for name in sets}  # (utterances, exits)
    words: dict[str, np.ndarray] = {}
    for own in RUNS:
        model = load(own.result(args.work))
        for name, spoken in sets.items():
            table = run.table(model, run.run(model, spoken, threads=args.threads), "plain")
            errors[name][own], words[name] = table.word_errors, table.words
    return {"steps": args.steps, "seeds": list(SEEDS), "sets": {
        name: judged(errors[name], words[name], [group(one) for one in spoken])
        for name, spoken in sets.items()}}


def judged(errors: dict[Run, np.ndarray], words: np.ndarray, speakers: Sequence[str]) -> Figures:
    """Word error rates in % by depth over all seeds, their difference, and those of each seed.

    errors: of each run (utterances, exits). Intervals are of a bootstrap over speakers, the same
    for both sides of a difference.
    """
    joint = [own for own in errors if own.kind == "joint"]
    depths = np.cumsum(joint[0].layers).tolist()

    def of(runs: Sequence[Run], exit: int) -> np.ndarray:
        return np.stack([errors[own][:, exit] for own in runs])

    def rate(counts: np.ndarray) -> Figures:
        return {"wer": figures.interval(counts.sum(0), len(counts) * words, speakers),
                "seeds": (100 * counts.sum(1) / words.sum()).tolist()}

    found: Figures = {"utterances": len(words), "words": int(words.sum()),
                      "speakers": len(set(speakers)),
                      "joint": {depth: rate(of(joint, exit)) for exit, depth in enumerate(depths)},
                      "single": {}, "joint_less_single": {}}
    for depth in DEPTHS:
        counts = of([own for own in errors if own.layers == (depth,)], -1)
        found["single"][depth] = rate(counts)
        found["joint_less_single"][depth] = rate(of(joint, depths.index(depth)) - counts)
    return found


def markdown_table(found: Figures) -> str:
    """A row for each set and depth that was trained both ways."""
    rows = []
    for name, part in found["sets"].items():
        for depth, single in part["single"].items():
            joint, less = part["joint"][depth], part["joint_less_single"][depth]
            rows.append((f"{name}, {depth} layers", cell(joint["wer"]), cell(single["wer"]),
                         "{:+.2f} ({:+.2f} to {:+.2f})".format(*less["wer"]),
                         ", ".join(f"{value:+.2f}" for value in less["seeds"])))
    return markdown(("WER %", "all exits together", "one exit", "difference", "by seed"), rows)


def plot(found: Figures) -> bytes:
    """SVG: word error rate by depth, a panel for each set."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "ee_ref"  # the same bytes from the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found["sets"]), figsize=(11, 4), squeeze=False)
    for axis, (name, part) in zip(axes[0], found["sets"].items()):
        for kind, label, style in (("joint", "all exits together", "o-"),
                                   ("single", "one exit", "s")):
            depths = [int(depth) for depth in part[kind]]
            wer, low, high = np.array([row["wer"] for row in part[kind].values()]).T
            axis.errorbar(depths, wer, (wer - low, high - wer), fmt=style, capsize=3, label=label)
        axis.set_title(f"{name}, {part['utterances']} utterances", fontsize=9)
        axis.set_xlabel("layers")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("word error rate (%)")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return out.getvalue()


def draw(found: Figures, docs: Path) -> None:
    """Put the table into docs/exits.md, between its marks, and the plot beside it."""
    page = docs / "exits.md"
    page.write_text(filled(page.read_text(), "joint", markdown_table(found)))
    (docs / "joint.svg").write_bytes(plot(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "judge", "draw"))
    for option in ("--packs", "--dev", "--labels"):
        parser.add_argument(option, type=Path, help="of train_english.py, to train")
    parser.add_argument("--manifest", type=Path, action="append", default=[], metavar="DIR",
                        help="a folder with dev.jsonl, test.jsonl and their audio, to judge")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "joint")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--store-hours", type=float, default=150.0,
                        help="of train_english.py, for each run (default %(default)s)")
    parser.add_argument("--planners", type=int, default=3,
                        help="of train_english.py, for each run (default %(default)s)")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="runs side by side")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.what == "train" and not (args.packs and args.dev and args.labels):
        parser.error("--packs, --dev and --labels are needed to train")
    if args.what == "judge" and not args.manifest:
        parser.error("--manifest is needed to judge")
    numbers = ROOT / "docs" / "joint.json"
    if args.what == "train":
        train(args)
        return
    if args.what == "judge":
        numbers.write_text(json.dumps(measure(args), indent=1) + "\n")
    draw(json.loads(numbers.read_text()), ROOT / "docs")


if __name__ == "__main__":
    main()
