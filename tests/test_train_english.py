"""training/train_english.py and what it is made of: features, rows, views, gradients, a run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sentencepiece = pytest.importorskip("sentencepiece")

import ee_ref  # noqa: E402
from ee_ref import model_file  # noqa: E402
from ee_ref.cli import main  # noqa: E402
from ee_ref.convert import convert_state_dict  # noqa: E402
from ee_ref.errors import ArgumentError, FileError  # noqa: E402
from ee_ref.frontend import plain  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

sys.path.append(str(ROOT / "training"))

import fitting  # noqa: E402
import packs  # noqa: E402
import pieces  # noqa: E402
import train_english  # noqa: E402
from model import EarlyExitConformer, view  # noqa: E402
from plans import Planner  # noqa: E402
from recipe_english import ENGLISH, PAPER, Augment  # noqa: E402
from step import WHOLE, Run, Step  # noqa: E402
from waves import Store, Waves, joined  # noqa: E402

CPU = torch.device("cpu")
TINY = replace(ENGLISH.model, exits=2, layers_per_exit=(1, 1), dim=16, heads=2, ff=32, kernel=7,
               vocab=40).validate()
RECIPE = replace(ENGLISH, model=TINY,
                 opt=replace(ENGLISH.opt, batch_seconds=6.0, exit_weights=(0.5, 1.0)))


@pytest.fixture
def speech():
    return np.random.default_rng(0).integers(-9000, 9000, 40000).astype(np.int16)


@pytest.mark.parametrize("recipe", [ENGLISH, PAPER], ids=["english", "paper"])
def test_features_are_those_of_run_time(recipe, speech):
    """And with nothing to change, a row's are too."""
    config = recipe.model
    samples = torch.from_numpy(speech.astype(np.float32) / 32768)[None]
    waves = Waves(config, PAPER.changes, CPU)
    expected = plain.extract(samples[0].numpy(), config)
    for found in (waves.features(samples), waves.augmented(samples, torch.ones(()))):
        np.testing.assert_allclose(found[0], expected, rtol=2e-3, atol=1e-4 * expected.std())


def test_changes_change_and_stay_finite(speech):
    samples = torch.from_numpy(speech.astype(np.float32) / 32768).repeat(8, 1)
    samples[1] = 0.0
    waves = Waves(TINY, Augment(), CPU)
    torch.manual_seed(0)
    found = waves.augmented(samples, torch.ones(()))
    assert torch.isfinite(found).all()
    assert all((found[0] - own).abs().max() > 1 for own in found[1:])


def test_pieces_are_joined_by_cubics(speech):
    """Against the polynomial through four samples, computed one by one."""
    store = torch.from_numpy(speech)
    table = torch.zeros(2, 3, 5, dtype=torch.float64)
    table[:, :, 2], table[:, :, 3] = 1e9, 1.0
    table[0, 0] = torch.tensor([100, 500, 7, 1.0, 0.5])
    table[0, 1] = torch.tensor([9000, 300, 600, 0.85, 1.0])
    table[1, 0] = torch.tensor([20, 2000, 0, 1.17, 2.0])
    found = joined(store, table, 1200).numpy()
    assert not found[0, :7].any() and not found[0, 507:600].any() and not found[0, 953:].any()
    for row, pieces_of in enumerate(table.tolist()):
        for start, length, at, rate, gain in pieces_of:
            for j in range(int(min(at, 1200)), min(1200, int(at + length / rate))):
                place = (j - at) * rate
                if 1 <= place < length - 3:
                    low = int(place)
                    x = np.arange(low - 1, low + 3)
                    y = speech[int(start) + x] / 32768 * gain
                    # Catmull-Rom: Hermite with the slopes of the neighbours.
                    t, slope = place - low, (y[2:] - y[:-2]) / 2
                    expected = (y[1] * (2 * t**3 - 3 * t**2 + 1) + slope[0] * (t**3 - 2 * t**2 + t)
                                + y[2] * (3 * t**2 - 2 * t**3) + slope[1] * (t**3 - t**2))
                    assert found[row, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("chunk, left", [(0, 0), (5, 3), (8, 16), (3, 100)])
def test_a_view_is_that_of_the_numerics(chunk, left):
    torch.manual_seed(0)
    model = EarlyExitConformer(TINY).eval()
    features = torch.randn(1, 131, TINY.mels)
    frames = TINY.encoder_frames(131)
    seen = view(frames, TINY.kernel, torch.tensor(chunk or WHOLE), torch.tensor(left))
    with torch.no_grad():
        found = model(features, seen)[:, 0].log_softmax(-1).numpy()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    extras = {"heads": 2, "positions": "none"}
    if chunk:
        extras |= {"chunk": chunk, "left": left, "conv": "chunk"}
    config, tensors = convert_state_dict(state, extras=extras)
    reference = ee_ref.families.FAMILIES[config.architecture].start(
        config, ee_ref.families.grouped(config, tensors), ee_ref.ops)
    reference.feed(features[0].numpy(), True)
    for exit, out in enumerate(reference.exits()):
        np.testing.assert_allclose(out.output, found[exit], atol=2e-4)


def drawn(tmp_path, recipe, encode):
    """A store, waves and a planner with a few made-up clips."""
    rng = np.random.default_rng(1)
    made = [(rng.integers(-9000, 9000, int(seconds * 16000)).astype(np.int16),
             {"text": text, "speaker": "s", "source": source})
            for seconds, source, text in (
                (1.0, "speech-commands", "STOP"), (1.0, "speech-commands", "TWO"),
                (1.0, "speech-commands", ""), (1.5, "wake-words", "ALEXA"),
                (2.0, "librispeech", "A CAT SAT"), (3.0, "synthetic", "THE DOG RAN AWAY"))]
    packs.write(tmp_path / "a", made)
    samples, clips = packs.read(tmp_path / "a.json")
    store = Store(0.01, 16000, CPU)
    planner = Planner(recipe.model, recipe.mix, recipe.opt, encode, [0])
    planner.add(store.add(samples), clips)
    return store, Waves(recipe.model, recipe.changes, CPU), planner


def test_the_gradient_of_a_step_is_that_of_its_losses(tmp_path):
    """CTC is differentiated apart from the network: compared with the whole in one."""
    recipe = replace(RECIPE, opt=replace(RECIPE.opt, dropout=0.0), changes=PAPER.changes)
    store, waves, planner = drawn(tmp_path, recipe, lambda text: [1 + ord(c) % 39 for c in text])
    torch.manual_seed(0)
    run = Run(recipe, CPU)
    plan = next(planner.stream(lambda: 7))
    step = Step(run, store, waves, plan.blocks, recipe.mix.most_pieces)
    losses = step.losses(plan)
    found = run.gradients.clone()

    step.forward()
    rows, targets = len(plan.counts), torch.from_numpy(plan.labels).long()
    log_probs = step.log_probs.view(8 * plan.blocks, 2, rows, -1)
    expected = [torch.nn.functional.ctc_loss(
        log_probs[:, exit], targets, torch.full((rows,), 8 * plan.blocks),
        torch.tensor(plan.counts), reduction="sum") / sum(plan.counts) for exit in range(2)]
    run.gradients.zero_()
    (0.5 * expected[0] + expected[1]).backward()
    torch.testing.assert_close(losses, torch.stack(expected).detach())
    torch.testing.assert_close(found, run.gradients, rtol=1e-3, atol=1e-5)
    assert found.abs().sum() > 0


def test_gradients_that_are_not_finite_count_as_zero():
    run = Run(RECIPE, CPU)
    run.gradients.fill_(float("nan"))
    run.rate.fill_(1e-3)
    before = [parameter.clone() for parameter in run.parameters if parameter.dim() == 1]
    run.update()
    after = [parameter for parameter in run.parameters if parameter.dim() == 1]
    assert all(torch.equal(old, new) for old, new in zip(before, after))


def test_gradients_are_clipped():
    run = Run(RECIPE, CPU)
    run.gradients.fill_(1.0)
    run.update()
    assert run.norm.item() == pytest.approx((len(run.gradients) - 1) ** 0.5, rel=1e-4)
    assert run.gradients[:-1].norm().item() == pytest.approx(RECIPE.opt.clip, rel=1e-3)


def test_what_does_not_fit_the_store_is_refused():
    store = Store(1 / 3600, 16000, CPU)
    assert store.add(np.zeros(15000, np.int16)) is not None
    assert store.add(np.zeros(15000, np.int16)) is None


def test_an_average_is_the_mean():
    values = [torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]), torch.tensor([6.0, 1.0])]
    average = fitting.Average(values[:1])
    for value in values:
        average.add([value])
    torch.testing.assert_close(average.means[0], torch.tensor([3.0, 3.0]))


def test_rates_rise_and_fall():
    noam = [fitting.noam(PAPER.opt, step, 0.0) for step in (0, 17299, 69199)]
    d, w = PAPER.model.dim ** -0.5, 17300
    assert noam == pytest.approx([d * w ** -1.5, d * w ** -0.5, d * (4 * w) ** -0.5])
    opt = ENGLISH.opt
    assert fitting.cosine(opt, 0, 0.0) == pytest.approx(opt.rate / opt.warmup_steps)
    assert fitting.cosine(opt, 9999, opt.flat) == opt.rate
    assert fitting.cosine(opt, 9999, 1.0) == pytest.approx(opt.rate_end)


def test_ease_is_less_at_first():
    assert [train_english.ease(step, 0) for step in (0, 5)] == [1.0, 1.0]
    assert [train_english.ease(step, 10) for step in (0, 10, 15, 20)] == [0.25, 0.25, 0.625, 1.0]


def options(*arguments):
    parser = argparse.ArgumentParser()
    for name in ("preset", "layers", "exit_weights"):
        parser.add_argument(f"--{name}")
    for name in ("batch_seconds", "rate", "whole", "seed", "real", "strings"):
        parser.add_argument(f"--{name}", type=float)
    return parser.parse_args(["--preset", "english", *arguments])


def test_layers_need_as_many_weights():
    with pytest.raises(ArgumentError, match="expected 2 numbers, one an exit, found 5"):
        train_english.chosen(options("--layers", "2,2"))
    recipe = train_english.chosen(options("--layers", "2,2", "--exit_weights", "1,2", "--real",
                                          "1"))
    assert (recipe.model.layers_per_exit, recipe.opt.exit_weights) == ((2, 2), (1.0, 2.0))
    assert recipe.mix.real == 1 and recipe.mix.strings == ENGLISH.mix.strings


# ---- A run ----


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Packs to train and to validate on, and labels."""
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(2)
    words = ["".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ'"), 6)) for _ in range(300)]
    (folder / "pieces.model").write_bytes(pieces.train(words, 256))
    for name in ("train", "dev"):
        (folder / name).mkdir()
        packs.write(folder / name / "a", [
            (rng.integers(-9000, 9000, 24000).astype(np.int16),
             {"text": text, "speaker": "s", "source": source})
            for source, text in (("speech-commands", "STOP"), ("librispeech", "CAT"),
                                 ("librispeech", "DOG"), ("synthetic", "BIRD"))])
    return folder


def arguments(material, work):
    return ["--packs", str(material / "train"), "--dev", str(material / "dev"), "--labels",
            str(material / "pieces.model"), "--work", str(work), "--steps", "2", "--easy", "1",
            "--batch-seconds", "3", "--layers", "1,1", "--exit-weights", "1,1", "--planners", "1",
            "--store-hours", "0.02", "--device", "cpu"]


def test_a_run_gives_a_model(material, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_english.py", *arguments(material, tmp_path)])
    train_english.main()
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["weights"] for line in curve] == ["last"]
    assert curve[0]["step"] == 2 and set(curve[0]["rates"]) == {
        "speech-commands", "librispeech", "synthetic"}
    assert main(["convert", str(tmp_path / "english.pt"), "-o",
                 str(tmp_path / "m.gguf")]) == 0
    config = model_file.read(tmp_path / "m.gguf").config
    assert (config.pad, config.positions, config.layers_per_exit) == (3200, "none", (1, 1))
    assert ee_ref.load(tmp_path / "m.gguf").transcribe((np.zeros(16000, np.int16), 16000)).exit == 2


def test_a_pack_that_cannot_be_read_ends_the_run(material, tmp_path):
    """It is looked for by a thread of its own."""
    (tmp_path / "b.json").write_text((material / "train" / "a.json").read_text())
    np.save(tmp_path / "b.npy", np.zeros(100, np.int16))
    store = Store(0.02, 16000, CPU)
    loader = train_english.Loader(tmp_path, store, None, Waves(TINY, Augment(), CPU), (0, 1))
    loader.check()
    loader.start()
    loader.join(30)
    with pytest.raises(FileError, match="within the 100 samples"):
        loader.check()


@pytest.mark.slow
def test_two_processes_train_one_model(material, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               str(ROOT / "training" / "train_english.py"), *arguments(material, tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "curve.jsonl").read_text())["step"] == 2
