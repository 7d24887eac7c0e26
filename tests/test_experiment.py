"""training/experiment.py: its plan, its arithmetic and its page, with models of random weights."""

from __future__ import annotations

import argparse
import json
import re
import sys

import numpy as np
import pytest
import soundfile

from ee_ref.conformance.draw import random_state_dict
from ee_ref.errors import FileError
from ee_ref.families.conformer import Config
from tests.conftest import ROOT
from tests.hostile.checkpoints import torch_file

sys.path.append(str(ROOT / "training"))

import experiment  # noqa: E402
from experiment import Run  # noqa: E402

STUB = """
import sys
from pathlib import Path
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert args["--steps"] == "7" and args["--packs"] == "p"
assert args["--layers"].count(",") == args["--exit-weights"].count(",")
work = Path(args["--work"])
assert not (work / "english.pt").exists(), "trained again"
if work.name == "single-6-2" and not (work.parent / "fixed").exists():
    sys.exit(3)
(work / "english.pt").write_text(args["--layers"] + " " + args["--seed"])
"""


def test_the_plan_trains_each_run_once_and_goes_on_after_a_failure(tmp_path, monkeypatch):
    trainer = tmp_path / "trainer.py"
    trainer.write_text(STUB)
    monkeypatch.setattr(experiment, "TRAINER", trainer)
    monkeypatch.setattr(experiment.time, "sleep", lambda seconds: None)
    args = argparse.Namespace(packs="p", dev="d", labels="l", work=tmp_path / "work", steps=7,
                              store_hours=2, planners=1, at_once=3)
    with pytest.raises(FileError, match="single-6-2: expected english.pt, found none after exit "
                                        "status 3"):
        experiment.train(args)
    (args.work / "fixed").touch()
    experiment.train(args)
    found = {path.parent.name: path.read_text() for path in args.work.glob("*/english.pt")}
    assert found == {f"{kind}-{seed}": f"{layers} {seed}" for seed in (1, 2) for kind, layers in (
        ("joint", "2,2,2,2,2,2"), ("single-2", "2"), ("single-6", "6"), ("single-12", "12"))}


def made_up(rng, utterances=40):
    """Errors of every run, words and speakers."""
    words = rng.integers(1, 9, utterances)
    errors = {own: rng.integers(0, 5, (utterances, len(own.layers))) for own in experiment.RUNS}
    return errors, words, [f"s{number % 7}" for number in range(utterances)]


def test_rates_and_differences_are_sums_over_seeds():
    errors, words, speakers = made_up(np.random.default_rng(0))
    found = experiment.judged(errors, words, speakers)
    assert (found["utterances"], found["words"], found["speakers"]) == (40, words.sum(), 7)
    for depth, exit in ((2, 0), (6, 2), (12, 5)):
        joint = [errors[Run("joint", experiment.JOINT, seed)][:, exit].sum() for seed in (1, 2)]
        single = [errors[Run(f"single-{depth}", (depth,), seed)].sum() for seed in (1, 2)]
        scale = 100 / words.sum()
        for name, counts in (("joint", joint), ("single", single),
                             ("joint_less_single", np.subtract(joint, single))):
            part = found[name][depth]
            assert part["seeds"] == pytest.approx(list(np.multiply(scale, counts)))
            rate, low, high = part["wer"]
            assert rate == pytest.approx(np.mean(part["seeds"])) and low < rate < high
    assert list(found["joint"]) == [2, 4, 6, 8, 10, 12]


def test_a_difference_is_paired():
    """Runs of equal errors differ by nothing, however uncertain their rates are."""
    rng = np.random.default_rng(1)
    errors, words, speakers = made_up(rng)
    for depth, exit in ((2, 0), (6, 2), (12, 5)):
        for seed in (1, 2):
            errors[Run(f"single-{depth}", (depth,), seed)] = errors[
                Run("joint", experiment.JOINT, seed)][:, [exit]]
    found = experiment.judged(errors, words, speakers)
    for part in found["joint_less_single"].values():
        assert part == {"wer": [0.0, 0.0, 0.0], "seeds": [0.0, 0.0]}


@pytest.fixture
def results(tmp_path):
    """A folder of results and one of recordings."""
    for own in experiment.RUNS:
        config = Config(exits=len(own.layers), layers_per_exit=own.layers, dim=8, heads=2, ff=8,
                        kernel=3, vocab=4, max_frames=0, positions="none", frontend="logmel")
        own.result(tmp_path).parent.mkdir()
        own.result(tmp_path).write_bytes(torch_file({
            "model": random_state_dict(config, own.seed), "heads": 2, "positions": "none",
            "frontend": "logmel", "tokens": ["<blank>", "\u2581A", "B", "\u2581C"]}))
    return tmp_path


def test_results_are_judged_and_drawn(results, monkeypatch):
    pytest.importorskip("matplotlib")
    data, docs = results / "data", results / "docs"
    data.mkdir()
    docs.mkdir()
    noise = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)
    soundfile.write(data / "a.wav", noise, 16000)
    for split, sources in experiment.SETS.items():
        (data / f"{split}.jsonl").write_text("".join(json.dumps({
            "id": f"{source}-{number}", "path": "a.wav", "text": "A C AB", "speaker": str(number),
            "source": source}) + "\n" for source in (*sources, "speech-commands")
            for number in range(2)))
    args = argparse.Namespace(manifest=[data], work=results, threads=1, steps=7)
    found = json.loads(json.dumps(experiment.measure(args)))
    assert list(found["sets"]) == ["dev librispeech-dev-clean", "test librispeech-test-other",
                                   "test speechocean762"]
    assert all(part["utterances"] == 2 for part in found["sets"].values())
    page = docs / "exits.md"
    page.write_text("before\n<!-- joint -->\nold\n<!-- end of joint -->\nafter\n")
    experiment.draw(found, docs)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert len(re.findall(r"^\| (dev|test) \S+, (2|6|12) layers \|", text, re.M)) == 9
    first = (docs / "joint.svg").read_bytes()
    experiment.draw(found, docs)
    assert page.read_text() == text and (docs / "joint.svg").read_bytes() == first


def test_a_result_without_its_labels(tmp_path):
    config = Config(exits=1, layers_per_exit=(1,), dim=8, heads=2, ff=8, kernel=3, vocab=4,
                    max_frames=0, positions="none", frontend="logmel")
    (tmp_path / "english.pt").write_bytes(torch_file(
        {"model": random_state_dict(config, 1), "heads": 2, "positions": "none"}))
    with pytest.raises(FileError, match="expected the 4 tokens"):
        experiment.load(tmp_path / "english.pt")
