"""Trains a model that spells any word, on one device or, under torchrun, on several.

    python train_english.py --packs PACKS --dev DEV --labels pieces.model --work WORK --minutes 30
    torchrun --nproc-per-node 8 train_english.py --preset paper --steps 1200000 ...

PACKS and DEV are folders of packs (prepare.py); packs that appear in PACKS later are taken too.
WORK gets last.pt, the curve (curve.jsonl) and the result (english.pt). All samples lie on the
device. With CUDA, layers are compiled and every length of row runs as captured graphs; --eager does
without.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import torch.distributed as dist

import packs
import step
from ee_ref.errors import ArgumentError
from ee_ref.evaluation.scoring import edit_distance
from fitting import SCHEDULES, measure_norms, save
from model import view
from plans import Planner, Planners
from recipe_english import EASY_BLOCKS, PRESETS, ROW_BLOCKS, Recipe, row_samples
from step import WHOLE, Run, Step
from validate import greedy_text
from waves import Store, Waves

LEAST_EASE = 0.25  # of the changes of rows in the easy steps
LIMITED_LEFT = 128  # frames, of the limited view whose error rates are noted at the end
SHOW_EVERY = 15.0  # seconds


class Loader(threading.Thread):
    """Puts packs into the store as they appear, and tells the planners of their clips."""

    def __init__(self, folder: Path, store: Store, planners: Planners, waves: Waves,
                 share: tuple[int, int]) -> None:
        """share: (i, n) for every n-th pack beginning with number i."""
        super().__init__(daemon=True)
        self.folder, self.store, self.planners, self.waves = folder, store, planners, waves
        self.share = share
        self.seen: set[str] = set()
        self.hours: dict[str, float] = {}
        self.full = False
        self.failure: Exception | None = None

    def poll(self) -> None:
        """Take the packs that are new."""
        for index in sorted(self.folder.glob("*.json")):
            if index.name in self.seen or self.full:
                continue
            if len(self.seen) % self.share[1] == self.share[0]:
                self._take(index)
            self.seen.add(index.name)

    def _take(self, index: Path) -> None:
        samples, clips = packs.read(index)
        start = self.store.add(samples)
        if start is None:
            print(f"{index}: no room for it and those that follow (--store-hours)", flush=True)
            self.full = True
            return
        quiet = [samples[clip["start"]:clip["start"] + clip["samples"]] for clip in clips
                 if not clip["text"]]
        if quiet and "silence" not in self.hours:
            self.waves.use_background(np.concatenate(quiet))
        for clip in clips:
            name = clip["kind"] if clip["text"] else "silence"
            self.hours[name] = self.hours.get(name, 0.0) + clip["samples"] / packs.RATE / 3600
        self.planners.add(start, clips)

    def run(self) -> None:
        try:
            with torch.cuda.stream(torch.cuda.Stream() if self.store.samples.is_cuda else None):
                while not self.full:
                    self.poll()
                    time.sleep(1.0)
        except Exception as error:
            self.failure = error

    def check(self) -> None:
        """Raises what stopped the thread, such as FileError for a damaged pack."""
        if self.failure:
            raise self.failure


class Dev:
    """Recordings that are not trained on, each heard alone."""

    MOST = 40  # of a source

    def __init__(self, folder: Path, waves: Waves, tokens: Sequence[str]) -> None:
        self.waves, self.tokens = waves, tokens
        self.clips: list[tuple[str, str, np.ndarray]] = []
        taken: dict[str, int] = {}
        for index in sorted(folder.glob("*.json")):
            samples, clips = packs.read(index)
            for number in np.random.default_rng(0).permutation(len(clips)):
                clip = clips[number]
                source, text = clip["source"], clip["text"]
                if text and taken.get(source, 0) < self.MOST:
                    taken[source] = taken.get(source, 0) + 1
                    own = samples[clip["start"]:clip["start"] + clip["samples"]]
                    self.clips.append((source, text, np.array(own)))

    @torch.compiler.set_stance("force_eager")  # every length is another one
    @torch.no_grad()
    def rates(self, run: Run, chunk: int = WHOLE, left: int = 0) -> dict[str, list[float]]:
        """Word error rate in % of each exit, by source; chunk, left: of a limited view, in
        frames."""
        run.model.eval()
        errors: dict[str, np.ndarray] = {}
        words: dict[str, int] = {}
        config, device = run.recipe.model, run.device
        for source, text, samples in self.clips:
            own = torch.from_numpy(samples.astype(np.float32) / 32768).to(device)[None]
            features = self.waves.features(own)
            frames = config.encoder_frames(features.shape[1])
            seen = view(frames, config.kernel, torch.tensor(chunk, device=device),
                        torch.tensor(left, device=device))
            with torch.autocast(device.type, torch.bfloat16):
                best = run.model(features, seen)[:, 0].argmax(-1).tolist()
            wrong = [edit_distance(text.split(), greedy_text(row, self.tokens).split())
                     for row in best]
            errors[source] = errors.get(source, 0) + np.array(wrong)
            words[source] = words.get(source, 0) + len(text.split())
        run.model.train()
        return {source: [round(float(rate), 1) for rate in 100 * own / words[source]]
                for source, own in errors.items()}


class Journal:
    """What the first process says and writes while training."""

    def __init__(self, run: Run, dev: Dev, args: argparse.Namespace, tokens: Sequence[str],
                 hours: dict[str, float]) -> None:
        self.run, self.dev, self.args, self.tokens, self.hours = run, dev, args, tokens, hours
        self.started = self.shown = self.saved = self.validated = time.time()
        self.first = run.step
        self.losses = torch.zeros(run.recipe.model.exits, device=run.device)

    def add(self, losses: torch.Tensor) -> None:
        """Note the losses of a step; show, save and validate when it is time."""
        self.losses += losses
        now, run = time.time(), self.run
        if now - self.shown > SHOW_EVERY:
            steps = run.step - self.first
            print(f"step {run.step}, {(now - self.started) / 60:.2f} min, {run.audio_hours:.0f} h, "
                  f"{1e3 * (now - self.shown) / steps:.0f} ms, rate {run.rate.item():.2e}, "
                  f"norm {run.norm.item():.2f}, losses",
                  *(f"{loss:.3f}" for loss in (self.losses / steps).tolist()),
                  *(f"{kind} {hours:.1f} h" for kind, hours in dict(self.hours).items()),
                  flush=True)
            self.losses.zero_()
            self.shown, self.first = time.time(), run.step
        if now - self.validated > self.args.validate_every * 60:
            self.note(rates=self.dev.rates(run))
            self.validated = time.time()
        if now - self.saved > self.args.save_every * 60:
            save(self.args.work / "last.pt", run.result(self.tokens))
            self.saved = time.time()

    def note(self, **more: Any) -> None:
        """Append a line to the curve and show it."""
        line = json.dumps({"step": self.run.step,
                           "minutes": round((time.time() - self.started) / 60, 2),
                           "audio_hours": round(self.run.audio_hours, 1), **more})
        with open(self.args.work / "curve.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


def measure_frontend(run: Run, steps: dict[int, Step], planners: Planners) -> None:
    """Set the per-mel mean and scale from augmented rows, without the padding."""
    energies, edge = [], max(1, run.recipe.model.pad // run.recipe.model.hop_length)
    for _ in range(24):
        plan = planners.take()
        own = steps[plan.blocks]
        own.table.copy_(torch.from_numpy(plan.table))
        energies.append(own.features()[:, edge:-edge].flatten(0, 1)[::7])
    values = torch.cat(energies)
    run.model.frontend.mean.copy_(values.mean(0))
    run.model.frontend.scale.copy_(1.0 / values.std(0))


@torch.compiler.set_stance("force_eager")
def finish(run: Run, steps: dict[int, Step], planners: Planners, journal: Journal) -> None:
    """Write the last weights or the averaged ones, whichever do better on dev at the last exit.

    Both get batch-norm statistics of their own, of rows in full view.
    """
    run.ease.fill_(1.0)
    run.chunk.fill_(WHOLE)
    planners.limit(max(ROW_BLOCKS))

    def forward() -> None:
        plan = planners.take()
        own = steps[plan.blocks]
        own.table.copy_(torch.from_numpy(plan.table))
        own.forward()

    lowest = math.inf
    for weights in ("last", "average") if run.average.count else ("last",):
        if weights == "average":
            run.average.copy_to(run.parameters)
        measure_norms(run.model, run.recipe.opt.norm_batches, forward)
        rates = journal.dev.rates(run)
        journal.note(weights=weights, rates=rates,
                     limited=journal.dev.rates(run, min(run.recipe.opt.chunks), LIMITED_LEFT))
        score = sum(own[-1] for own in rates.values())
        if score <= lowest:
            lowest = score
            save(journal.args.work / "english.pt", run.result(journal.tokens))


def train(args: argparse.Namespace, recipe: Recipe) -> None:
    """The work of a process."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    recipe = replace(recipe, opt=replace(
        recipe.opt, batch_seconds=recipe.opt.batch_seconds / processes))
    config, opt = recipe.model, recipe.opt
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(args.labels))
    if encoder.get_piece_size() != config.vocab:
        raise ArgumentError(f"{args.labels}: expected {config.vocab} labels, "
                            f"found {encoder.get_piece_size()}")
    tokens = ["<blank>", *(encoder.id_to_piece(i) for i in range(1, config.vocab))]
    planners = Planners(  # forked before anything else, CUDA above all, has started threads
        lambda own: Planner(config, recipe.mix, opt, encoder.encode, [opt.seed, rank, own]),
        args.planners)
    device = torch.device(args.device)
    cuda = device.type == "cuda"
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if processes > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    torch.manual_seed(opt.seed)  # the same weights everywhere
    run = Run(recipe, device)
    if args.init:
        state = torch.load(args.init, map_location="cpu", weights_only=True)
        run.model.load_state_dict(state.get("model", state))
    torch.manual_seed(opt.seed + 1000 * (rank + 1))  # dropout and changes differ
    store = Store(args.store_hours, config.sample_rate, device)
    waves = Waves(config, recipe.changes, device)
    steps = {blocks: Step(run, store, waves, blocks, recipe.mix.most_pieces)
             for blocks in ROW_BLOCKS}
    update = run.update
    if cuda and not args.eager:
        step.compile_passes(run, steps)
        update = step.capture(run, steps)
    loader = Loader(args.packs, store, planners, waves, (rank, processes) if args.shard else (0, 1))
    loader.start()
    if not args.init and config.has_floor:
        measure_frontend(run, steps, planners)
        if processes > 1:
            dist.broadcast(run.model.frontend.mean, 0)
            dist.broadcast(run.model.frontend.scale, 0)
    journal = None
    if rank == 0:
        journal = Journal(run, Dev(args.dev, waves, tokens), args, tokens, loader.hours)

    rng = np.random.default_rng([opt.seed, rank])
    started, progress = time.time(), 0.0
    while progress < 1:
        own = ((run.step + 1) / args.steps if args.steps else
               (time.time() - started) / 60 / args.minutes)
        loader.check()
        planners.limit(EASY_BLOCKS if run.step < args.easy else max(ROW_BLOCKS))
        run.ease.fill_(ease(run.step, args.easy))
        if rng.random() < opt.whole:
            run.chunk.fill_(WHOLE)
        else:
            run.chunk.fill_(int(rng.choice(opt.chunks)))
            run.left.fill_(int(rng.choice(opt.lefts)))
        plan = planners.take()
        losses = steps[plan.blocks].losses(plan)
        progress = agreed(run, own, rank, processes)
        run.rate.fill_(SCHEDULES[opt.schedule](opt, run.step, progress))
        update()
        run.step += 1
        run.audio_hours += processes * len(plan.counts) * row_samples(
            plan.blocks, config) / config.sample_rate / 3600
        if progress > opt.average_after and run.step % opt.average_every == 0:
            run.average.add(run.parameters)
        if journal:
            journal.add(losses)
    if journal:
        save(args.work / "last.pt", run.result(tokens))
        finish(run, steps, planners, journal)
    planners.stop()
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def ease(step: int, easy: int) -> float:
    """How much rows are changed: little in the easy steps, all after as many more."""
    if step >= 2 * easy:
        return 1.0
    return LEAST_EASE + (1 - LEAST_EASE) * max(0, step - easy) / easy


def agreed(run: Run, progress: float, rank: int, processes: int) -> float:
    """Average the gradients over the processes; returns the progress of the first one."""
    if processes == 1:
        return progress
    run.gradients[-1] = progress if rank == 0 else 0.0
    dist.all_reduce(run.gradients)
    progress = run.gradients[-1].item()
    run.gradients /= processes
    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True, help="folder of packs, polled")
    parser.add_argument("--dev", type=Path, required=True, help="folder of packs to validate on")
    parser.add_argument("--labels", type=Path, required=True,
                        help="SentencePiece model (pieces.py)")
    parser.add_argument("--work", type=Path, required=True,
                        help="folder for the curve and checkpoints")
    parser.add_argument("--preset", choices=PRESETS, default="english")
    parser.add_argument("--init", type=Path, help="checkpoint to start from, such as a last.pt")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="of training")
    length.add_argument("--steps", type=int)
    parser.add_argument("--easy", type=int, default=0, metavar="STEPS",
                        help="with short rows, little changed, at first: from random weights, CTC "
                        "hears nothing for long without")
    parser.add_argument("--layers", help="of each exit, such as 4,2,2,2,2")
    parser.add_argument("--exit-weights", help="of the losses, such as 1,1,1,1,1")
    parser.add_argument("--batch-seconds", type=float)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--whole", type=float, help="share of batches in full view")
    parser.add_argument("--real", type=float, help="share of recordings among the sentences")
    parser.add_argument("--strings", type=float, help="share of rows that are words joined")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--eager", action="store_true", help="neither compile nor capture")
    parser.add_argument("--planners", type=int, default=max(1, min(6, os.cpu_count() - 1)),
                        help="processes that draw batches (default %(default)s)")
    parser.add_argument("--store-hours", type=float, default=400.0,
                        help="of audio that the device holds, 115 MB each (default %(default)s)")
    parser.add_argument("--shard", action="store_true",
                        help="every process takes its share of the packs alone: for corpora that "
                        "are larger than a device")
    parser.add_argument("--save-every", type=float, default=2.0, metavar="MINUTES")
    parser.add_argument("--validate-every", type=float, default=6.0, metavar="MINUTES")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    train(args, chosen(args))


def chosen(args: argparse.Namespace) -> Recipe:
    """The preset with what the options change. Raises ArgumentError."""
    recipe = PRESETS[args.preset]
    model, mix, opt = recipe.model, recipe.mix, recipe.opt
    if args.layers:
        layers = tuple(map(int, args.layers.split(",")))
        model = replace(model, exits=len(layers), layers_per_exit=layers).validate()
    weights = opt.exit_weights
    if args.exit_weights:
        weights = tuple(map(float, args.exit_weights.split(",")))
    if len(weights) != model.exits:
        raise ArgumentError(f"--exit-weights: expected {model.exits} numbers, one an exit, found "
                            f"{len(weights)}")
    mix = replace(mix, **given(args, "real", "strings"))
    opt = replace(opt, exit_weights=weights,
                  **given(args, "batch_seconds", "rate", "whole", "seed"))
    return replace(recipe, model=model, mix=mix, opt=opt)


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


if __name__ == "__main__":
    main()
