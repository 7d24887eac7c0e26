"""Trains the bundled model.

    python train.py --data DATA --synth SYNTH --work WORK --minutes 100

DATA is the data pack, SYNTH the folder of synthesize.py, WORK a folder for the feature cache, the
curve (curve.jsonl), the checkpoint to resume from (last.pt) and the result (commands.pt). Run the
same command again to resume. On a CUDA device one process trains, fed by --producers that draw its
batches; on a CPU as many as --processes train, with one thread each, which draw their own batches
and share gradients after every step.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

import validate
from corpora import manifest
from data import LENGTHS, Corpus, Sampler, build_cache
from fitting import Average, batch_norms, cosine, decayed, measure_norms, save
from model import ChannelDropout, EarlyExitConformer
from producers import Producers
from recipe import MODEL, ON_CPU, ON_GPU, PAD_FRAMES, TOKENS, Augment, Mix, Optimisation

Batch = tuple[Tensor, list[list[int]]]
"""log_mel (B, T, mels) and the tokens of each row."""


class Clock:
    """Training time: the sum of step durations, in seconds.

    Each counts as at most `longest` times the running median, so that a machine that sleeps, or a
    process that is stopped for a while, does not shorten the training.
    """

    def __init__(self, longest: float = 5.0):
        self.elapsed = 0.0
        self.longest = longest
        self.recent: deque[float] = deque(maxlen=101)

    def add(self, seconds: float) -> None:
        self.recent.append(seconds)
        self.elapsed += min(seconds, self.longest * float(np.median(self.recent)))


class Run:
    """Everything that changes while training; what a checkpoint to resume from holds."""

    def __init__(self, opt: Optimisation, device: torch.device):
        self.model = EarlyExitConformer(MODEL, opt.dropout, ChannelDropout).to(device)
        for norm in batch_norms(self.model):
            norm.momentum = opt.norm_momentum
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            decayed(self.parameters, opt.weight_decay), lr=opt.rate, betas=opt.betas,
            fused=device.type == "cuda")
        self.average = Average(self.parameters)
        # A GPU is lent for a time, so there all that passes counts.
        self.clock = Clock(longest=math.inf if device.type == "cuda" else 5.0)
        self.step = 0
        self.audio_hours = 0.0

    def result(self) -> dict[str, Any]:
        """What the converter reads: the state dict and what that does not say."""
        return {
            "model": {name: value.cpu() for name, value in self.model.state_dict().items()},
            "tokens": list(TOKENS), "frontend": MODEL.frontend, "heads": MODEL.heads,
            "pad": MODEL.pad, "step": self.step, "minutes": self.clock.elapsed / 60,
            "audio_hours": self.audio_hours}

    def state(self) -> dict[str, Any]:
        """What `load` goes on from."""
        return {**self.result(), "optimizer": self.optimizer.state_dict(),
                "average": self.average.means, "average_count": self.average.count}

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for mean, saved in zip(self.average.means, state["average"]):
            mean.copy_(saved)
        self.average.count = state["average_count"]
        self.clock.elapsed = state["minutes"] * 60
        self.step, self.audio_hours = state["step"], state["audio_hours"]


class Journal:
    """The curve, the checkpoints and the progress bar; only the lead process keeps one."""

    def __init__(self, run: Run, args: argparse.Namespace, device: torch.device):
        self.run, self.args, self.device = run, args, device
        self.dev = validate.load_dev(args.data)
        self.bar = tqdm(total=round(args.minutes * 60), initial=round(run.clock.elapsed), unit="s",
                        smoothing=0, mininterval=5)
        self.saved = self.validated = run.clock.elapsed
        self.losses, self.steps = 0.0, 0

    def add(self, losses: Tensor) -> None:
        """Note the losses of a step (exits,), where they are; save and validate when it is time."""
        elapsed = self.run.clock.elapsed
        self.losses, self.steps = self.losses + losses, self.steps + 1
        self.bar.update(round(elapsed) - self.bar.n)
        if elapsed - self.saved > self.args.save_every * 60:
            self.saved = elapsed
            save(self.args.work / "last.pt", self.run.state())
        if elapsed - self.validated > self.args.validate_every * 60:
            self.validated = elapsed
            self.bar.write(self.point(rate=self.run.optimizer.param_groups[0]["lr"],
                                      loss=(self.losses / self.steps).tolist()))
            self.losses, self.steps = 0.0, 0

    def point(self, **more: Any) -> str:
        """Validate and append a line to the curve; return it."""
        line = json.dumps({
            "step": self.run.step, "minutes": round(self.run.clock.elapsed / 60, 2),
            "audio_hours": round(self.run.audio_hours, 1), **more,
            **validate.error_rates(self.run.model, self.dev, self.device)})
        with open(self.args.work / "curve.jsonl", "a", encoding="utf-8") as curve:
            curve.write(line + "\n")
        return line


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy that a GPU's queue does not wait for."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def drawn(sampler: Sampler, progress: Callable[[], float]) -> Iterator[Batch]:
    """Endless batches of a sampler in this process.

    `progress()` is asked for before each pool of them.
    """
    while True:
        yield from sampler.batches(progress())


def produced(producers: Producers, values: int, device: torch.device) -> Iterator[Batch]:
    """Endless batches of the producers on `device`, through buffers that it copies from by itself.

    values: the most that a batch holds.
    """
    cuda = device.type == "cuda"
    buffers = [torch.empty(values, dtype=torch.float16, pin_memory=cuda) for _ in range(3)]
    copied = [torch.cuda.Event() if cuda else None for _ in buffers]
    for number in itertools.cycle(range(len(buffers))):
        energies, targets, release = producers.take()
        if cuda:
            # Returns at once, unless the copy of three batches ago is still to run.
            copied[number].synchronize()
        buffer = buffers[number][:energies.size].view(energies.shape)
        buffer.numpy()[:] = energies
        release()
        log_mel = buffer.to(device, non_blocking=True).to(torch.float32)
        if cuda:
            copied[number].record()
        yield log_mel, targets


def exit_losses(
    model: EarlyExitConformer, log_mel: Tensor, targets: list[list[int]], device: torch.device
) -> Tensor:
    """CTC losses of the exits (exits,): the sum over the batch by its number of target tokens.

    Batches are sorted by length, so a mean over utterances would let the few of a batch of
    sentences outweigh the many of a batch of words.
    """
    with torch.autocast(device.type, torch.bfloat16):
        logits = model(log_mel.to(device))
    exits, batch, frames, vocab = logits.shape
    rows = exits * batch
    log_probs = logits.float().log_softmax(-1).permute(2, 0, 1, 3).reshape(frames, rows, vocab)
    lengths = torch.tensor([len(target) for target in targets])
    joined = to_device(torch.tensor([token for target in targets for token in target]), device)
    losses = F.ctc_loss(
        log_probs, joined.repeat(exits), torch.full((rows,), frames), lengths.repeat(exits),
        reduction="none", zero_infinity=True)
    return losses.view(exits, batch).sum(1) / sum(map(len, targets))


def share(
    parameters: Sequence[Tensor], duration: float, frames: int, processes: int
) -> tuple[float, float]:
    """Average the gradients over the processes. Returns the sums of `duration` and `frames`."""
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters]
                     + [torch.tensor([duration, float(frames)])])
    dist.all_reduce(flat)
    duration, frames = flat[-2:].tolist()
    flat /= processes
    gradients = flat[:-2].split([parameter.numel() for parameter in parameters])
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad.copy_(gradient.view_as(parameter))
    return duration, frames


def measure_frontend(model: EarlyExitConformer, sampler: Sampler) -> None:
    """Set the per-mel mean and scale from augmented training samples, without the padding."""
    energies = torch.cat([batch.flatten(0, 1) for batch, _ in sampler.batches(0.5)])
    energies = energies[energies.amax(1) > math.log(MODEL.log_floor) + 0.01]
    model.frontend.mean.copy_(energies.mean(0))
    model.frontend.scale.copy_(1.0 / energies.std(0))


def finish(
    run: Run, journal: Journal, batches: Iterator[Batch], opt: Optimisation, path: Path
) -> None:
    """Write the last weights or the averaged ones, whichever are better on dev.

    Both get batch-norm statistics of their own.
    """
    best, lowest = None, math.inf
    for weights in ("last", "average") if run.average.count else ("last",):
        if weights == "average":
            run.average.copy_to(run.parameters)
        with torch.autocast(journal.device.type, torch.bfloat16):
            measure_norms(run.model, opt.norm_batches,
                          lambda: run.model(next(batches)[0].to(journal.device)))
        rates = validate.error_rates(run.model, journal.dev, journal.device)
        score = sum(np.mean(rates[name]) for name in rates)
        journal.bar.write(
            json.dumps({"weights": weights, "score": round(float(score), 2), **rates}))
        if score <= lowest:
            best, lowest = copy.deepcopy(run.model.state_dict()), score
            save(path, run.result())
    run.model.load_state_dict(best)


def train(rank: int, args: argparse.Namespace, processes: int, rendezvous: str) -> None:
    """The work of one process; all hold the same weights, and the first keeps the journal."""
    device, lead = torch.device(args.device), rank == 0
    opt = ON_GPU if args.producers else ON_CPU
    if device.type == "cpu":
        torch.set_num_threads(1 if processes > 1 else os.cpu_count())
    if processes > 1:
        # A stopped process must not look like a lost one, so the time-out is days.
        dist.init_process_group("gloo", f"file://{rendezvous}", timedelta(days=3), processes, rank)
    corpus = Corpus(args.work / "cache", Mix.read_longest)
    last = args.work / "last.pt"
    state = torch.load(last, map_location="cpu", weights_only=True) if last.exists() else None
    seed = opt.seed + 1 + (state["step"] if state else 0)

    def sampler(seed: int, rank: int = rank) -> Sampler:
        return Sampler(corpus, opt.batch_frames // processes, opt.pool_batches, seed, rank)

    if args.producers:  # forked before anything else, CUDA above all, has started threads
        values = (opt.batch_frames + LENGTHS[-1] + 2 * PAD_FRAMES) * MODEL.mels
        producers = Producers(
            lambda rank: sampler(seed, rank), args.producers, values, 2 * args.producers + 8)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape
    torch.manual_seed(opt.seed)
    run = Run(opt, device)
    measure_frontend(run.model, sampler(opt.seed, rank=max(processes, args.producers)))
    if state:
        run.load(state)
    # Dropout differs between processes.
    torch.manual_seed(opt.seed + 1000 * (run.step + 1) + rank)
    budget = args.minutes * 60
    if args.producers:
        batches = produced(producers, values, device)
    else:
        batches = drawn(sampler(seed), lambda: min(1.0, run.clock.elapsed / budget))

    journal = Journal(run, args, device) if lead else None
    run.model.train()
    started = time.perf_counter()
    while run.clock.elapsed < budget:
        log_mel, targets = next(batches)
        progress = run.clock.elapsed / budget
        if args.producers:
            producers.progress = progress
        for group in run.optimizer.param_groups:
            group["lr"] = cosine(opt, run.step, progress)
        losses = exit_losses(run.model, log_mel, targets, device)
        run.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        now = time.perf_counter()
        duration, frames, started = now - started, log_mel.shape[0] * log_mel.shape[1], now
        if processes > 1:
            duration, frames = share(run.parameters, duration if lead else 0.0, frames, processes)
        torch.nn.utils.clip_grad_norm_(run.parameters, opt.clip)
        run.optimizer.step()
        run.step += 1
        run.clock.add(duration)
        run.audio_hours += frames * MODEL.hop_length / MODEL.sample_rate / 3600
        if progress >= opt.average_after and run.step % opt.average_every == 0:
            run.average.add(run.parameters)
        if lead:
            before = time.perf_counter()
            journal.add(losses.detach())
            if device.type == "cpu":  # where validating and saving are no training time
                started += time.perf_counter() - before
    if lead:
        save(last, run.state())
        if not args.producers:
            batches = drawn(sampler(opt.seed), lambda: 1.0)
        finish(run, journal, batches, opt, args.work / "commands.pt")
        journal.bar.close()
        print(journal.point(final=True), flush=True)
    if args.producers:
        producers.stop()
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True,
                        help="the data pack (train.jsonl, dev.jsonl, audio/)")
    parser.add_argument("--synth", type=Path, required=True, help="what synthesize.py wrote")
    parser.add_argument("--work", type=Path, required=True,
                        help="folder for cache, curve and checkpoints")
    parser.add_argument("--minutes", type=float, default=100.0,
                        help="training time (default %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int,
                        help="default: the number of cores on a CPU, 1 on a GPU")
    parser.add_argument("--producers", type=int,
                        help="processes that draw batches (default: the number of cores less one "
                        "on a GPU, 0 on a CPU)")
    parser.add_argument("--save-every", type=float, default=2.0, metavar="MINUTES",
                        help="of training time (default %(default)s)")
    parser.add_argument("--validate-every", type=float, default=8.0, metavar="MINUTES")
    args = parser.parse_args()
    # So that the processes below end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    if not (args.work / "cache" / "clips.json").exists():
        lines = manifest(args.data, "train.jsonl") + manifest(args.synth, "synth.jsonl")
        build_cache(lines, args.work / "cache", Augment.speeds)
    gpu = args.device.startswith("cuda")
    if args.producers is None:
        args.producers = max(1, os.cpu_count() - 1) if gpu else 0
    processes = args.processes or (1 if gpu or args.producers else os.cpu_count())
    if processes > 1 and args.producers:
        parser.error(
            "expected --producers 0 with more than one process: they draw their own batches")
    if gpu and not args.producers:
        parser.error("expected at least one of --producers with --device cuda")
    with tempfile.TemporaryDirectory() as folder:
        arguments = (args, processes, os.path.join(folder, "rendezvous"))
        if processes == 1:
            train(0, *arguments)
        else:
            torch.multiprocessing.spawn(train, arguments, processes, daemon=True)


if __name__ == "__main__":
    main()
