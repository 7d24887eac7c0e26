"""Trains the English model, on one device or, under torchrun, on several.

    python train_english.py --packs PACKS --dev DEV --labels bpe256.model --work WORK --minutes 18

PACKS and DEV are folders of packs (packs.py); packs that appear in PACKS later are taken too. WORK
gets last.pt, the curve (curve.jsonl) and the result (english.pt). With CUDA all samples lie on the
GPU, layers are compiled and every length of row runs as captured graphs; --eager does without.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

import packs
from ee_ref.evaluation.scoring import edit_distance
from ee_ref.families.conformer import Config
from english import LABELS, MODEL, ROW_BLOCKS, Augment, Mix, Optimisation, row_samples
from model import EarlyExitConformer, view
from plans import Plan, Planner, Planners, rows_of
from waves import PIECE, Store, Waves, joined

WHOLE = 1 << 20  # a chunk that holds any row


class Run:
    """The model and all that changes with it."""

    def __init__(self, config: Config, opt: Optimisation, device: torch.device) -> None:
        self.config, self.opt, self.device = config, opt, device
        self.model = EarlyExitConformer(config, opt.dropout).to(device)
        for norm in self.norms():
            norm.momentum = opt.norm_momentum
        self.parameters = list(self.model.parameters())
        sizes = [parameter.numel() for parameter in self.parameters]
        # One more, by which the processes agree how far they are.
        self.gradients = torch.zeros(sum(sizes) + 1, device=device)
        for parameter, own in zip(self.parameters, self.gradients[:-1].split(sizes)):
            parameter.grad = own.view_as(parameter)
        cuda = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [{"params": [p for p in self.parameters if p.dim() > 1],
              "weight_decay": opt.weight_decay},
             {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0}],
            lr=torch.zeros((), device=device), betas=opt.betas, fused=cuda, capturable=cuda)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        # What a captured step reads anew each time.
        self.ease = torch.ones((), device=device)
        self.chunk = torch.tensor(WHOLE, device=device)
        self.left = torch.tensor(0, device=device)
        self.norm = torch.zeros((), device=device)
        self.average: list[Tensor] | None = None
        self.averaged = self.step = 0
        self.audio_hours = 0.0

    def norms(self) -> list[torch.nn.BatchNorm1d]:
        return [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm1d)]

    def update(self) -> None:
        """Clip the gradients and take a step; gradients that are not finite change nothing."""
        own = self.gradients[:-1]
        norm = own.norm()
        own.mul_((self.opt.clip / (norm + 1e-6)).clamp(max=1.0))
        own.copy_(torch.where(norm.isfinite(), own, 0.0))
        self.norm.copy_(norm)
        self.optimizer.step()

    def add_to_average(self) -> None:
        self.averaged += 1
        values = [parameter.detach() for parameter in self.parameters]
        if self.average is None:
            self.average = [value.clone() for value in values]
        else:
            torch._foreach_lerp_(self.average, values, 1 / self.averaged)

    def result(self, tokens: Sequence[str]) -> dict[str, Any]:
        """What the converter reads: the state dict and what that does not say."""
        config = self.config
        return {"model": {name: value.cpu() for name, value in self.model.state_dict().items()},
                "tokens": list(tokens), "frontend": config.frontend, "heads": config.heads,
                "pad": config.pad, "positions": config.positions, "step": self.step,
                "audio_hours": self.audio_hours}


class Step:
    """Forward and backward pass of rows of one length."""

    def __init__(self, run: Run, store: Store, waves: Waves, blocks: int, most_pieces: int,
                 rows_from: Callable[[Tensor, Tensor, int], Tensor]) -> None:
        self.run, self.store, self.waves, self.blocks = run, store, waves, blocks
        rows = rows_of(blocks, run.config, run.opt)
        self.table = torch.zeros(rows, most_pieces, len(PIECE), dtype=torch.float64,
                                 device=run.device)
        self.rows_from = rows_from
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.log_probs: Tensor
        self.gradient: Tensor

    def _forward(self) -> None:
        run, config = self.run, self.run.config
        with torch.no_grad():
            samples = self.rows_from(
                self.store.samples, self.table, row_samples(self.blocks, config))
            log_mel = self.waves.augmented(samples, run.ease)
            seen = view(8 * self.blocks, config.kernel, run.chunk, run.left)
        with torch.autocast(run.device.type, torch.bfloat16):
            logits = run.model(log_mel, seen)
        exits, rows, frames, labels = logits.shape
        logits = logits.permute(2, 0, 1, 3).reshape(frames, exits * rows, labels)
        self.log_probs = logits.float().log_softmax(-1)

    def _backward(self) -> None:
        self.run.gradients.zero_()
        torch.autograd.backward(self.log_probs, self.gradient)

    def capture(self, pool: Any, stream: torch.cuda.Stream) -> None:
        """Record both passes, so that a step is two launches instead of thousands."""
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._forward()
                self.gradient = torch.zeros_like(self.log_probs)
                self._backward()
            torch.cuda.synchronize()
        for work in (self._forward, self._backward):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, stream, "thread_local"):
                work()
            self.graphs.append(graph)

    def losses(self, plan: Plan) -> Tensor:
        """The losses of the exits (exits,) of a plan, and the gradients with regard to the weights.

        CTC losses are divided by the number of labels, not of rows: rows of a batch are of one
        length, so otherwise the few of a batch of sentences would outweigh the many of words. The
        exits before the last also learn its probabilities, frame by frame.
        """
        run = self.run
        self.table.copy_(torch.from_numpy(plan.table), non_blocking=True)
        if self.graphs:
            self.graphs[0].replay()
        else:
            self._forward()
        exits, rows, total = run.config.exits, len(plan.counts), max(1, sum(plan.counts))
        log_probs = self.log_probs.detach().requires_grad_()
        frames = len(log_probs)
        labels = torch.from_numpy(plan.labels).to(run.device).long().repeat(exits)
        losses = F.ctc_loss(
            log_probs, labels, (frames,) * (exits * rows), tuple(plan.counts) * exits,
            reduction="none", zero_infinity=True).view(exits, rows).sum(1) / total
        weights = losses.new_tensor(run.opt.exit_weights[-exits:])
        gradient, = torch.autograd.grad((losses * weights).sum(), log_probs)
        if run.opt.distill and exits > 1:
            by_exit = gradient.view(frames, exits, rows, -1)
            teacher = self.log_probs.detach().view_as(by_exit)[:, -1:].exp()
            by_exit[:, :-1] -= run.opt.distill / total * teacher
        if self.graphs:
            self.gradient.copy_(gradient)
            self.graphs[1].replay()
        else:
            self.gradient = gradient
            self._backward()
        return losses.detach()


class Loader(threading.Thread):
    """Puts packs into the store as they appear, and tells the planners of their clips."""

    def __init__(self, folder: Path, store: Store, planners: Planners, waves: Waves,
                 share: tuple[int, int]) -> None:
        """share: (this process, of so many); synthetic packs are divided among them."""
        super().__init__(daemon=True)
        self.folder, self.store, self.planners, self.waves = folder, store, planners, waves
        self.share, self.seen = share, set[str]()
        self.hours: dict[str, float] = {}
        self.full = False

    def poll(self) -> None:
        for index in sorted(self.folder.glob("*.json")):
            if index.name in self.seen or self.full:
                continue
            self.seen.add(index.name)
            samples, clips = packs.read(index)
            kind = clips[0]["kind"]
            if kind == "synthetic" and len(self.seen) % self.share[1] != self.share[0]:
                continue
            start = self.store.add(samples)
            if self.store.samples.is_cuda:
                torch.cuda.current_stream().synchronize()
            if start is None:
                self.full = True
                return
            quiet = [samples[c["start"]:c["start"] + c["samples"]] for c in clips
                     if not c["text"]]
            if quiet and "silence" not in self.hours:
                self.waves.use_background(np.concatenate(quiet))
            for clip in clips:
                name = clip["kind"] if clip["text"] else "silence"
                self.hours[name] = self.hours.get(name, 0.0) + clip["samples"] / 16000 / 3600
            self.planners.add(start, clips)

    def run(self) -> None:
        stream = torch.cuda.Stream() if self.store.samples.is_cuda else None
        while not self.full:
            with torch.cuda.stream(stream):
                self.poll()
            time.sleep(1.0)


def learning_rate(opt: Optimisation, step: int, progress: float) -> float:
    """Linear warm-up by steps, flat, then a cosine by training time."""
    tail = min(1.0, max(0.0, (progress - opt.flat) / (1.0 - opt.flat)))
    cosine = opt.rate_end + (opt.rate - opt.rate_end) * 0.5 * (1.0 + math.cos(math.pi * tail))
    return cosine * min(1.0, (step + 1) / opt.warmup_steps)


def save(path: Path, content: dict[str, Any]) -> None:
    """torch.save that leaves either the old file or the whole new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def measure_frontend(run: Run, steps: dict[int, Step], planners: Planners) -> None:
    """Set the per-mel mean and scale from augmented rows, without the padding."""
    energies, edge = [], run.config.pad // run.config.hop_length
    for _ in range(24):
        plan = planners.take()
        step = steps[plan.blocks]
        samples = joined(step.store.samples, torch.from_numpy(plan.table).to(run.device),
                         row_samples(plan.blocks, run.config))
        log_mel = step.waves.augmented(samples, run.ease)
        energies.append(log_mel[:, edge:-edge].flatten(0, 1)[::7])
    values = torch.cat(energies)
    run.model.frontend.mean.copy_(values.mean(0))
    run.model.frontend.scale.copy_(1.0 / values.std(0))


@torch.no_grad()
def measure_norms(run: Run, steps: dict[int, Step], planners: Planners, batches: int) -> None:
    """Set the batch-norm statistics to the plain average over batches in full view."""
    run.chunk.fill_(WHOLE)
    for norm in run.norms():
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    for _ in range(batches):
        plan = planners.take()
        step = steps[plan.blocks]
        step.table.copy_(torch.from_numpy(plan.table))
        step._forward()
    for norm in run.norms():
        norm.momentum = run.opt.norm_momentum


class Dev:
    """Error rates on recordings that are not trained on, each alone, whole or in a limited view."""

    def __init__(self, folder: Path, waves: Waves, tokens: Sequence[str],
                 most: dict[str, int]) -> None:
        self.waves, self.tokens = waves, tokens
        self.clips: list[tuple[str, str, np.ndarray]] = []
        taken: dict[str, int] = {}
        for index in sorted(folder.glob("*.json")):
            samples, clips = packs.read(index)
            for number in np.random.default_rng(3).permutation(len(clips)):
                clip = clips[number]
                source = clip["source"]
                taken[source] = taken.get(source, 0) + bool(clip["text"])
                if clip["text"] and taken[source] <= most.get(source, 0):
                    own = samples[clip["start"]:clip["start"] + clip["samples"]]
                    self.clips.append((source, clip["text"], np.array(own)))

    def _text(self, best: np.ndarray) -> list[str]:
        kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
        return "".join(self.tokens[i] for i in kept if i).replace("▁", " ").split()

    @torch.compiler.set_stance("force_eager")  # every length is another one
    @torch.no_grad()
    def rates(self, run: Run, chunk: int = WHOLE, left: int = 0) -> dict[str, list[float]]:
        """Word error rate in % of each exit, by source."""
        run.model.eval()
        errors: dict[str, np.ndarray] = {}
        words: dict[str, int] = {}
        for source, text, samples in self.clips:
            own = torch.from_numpy(samples.astype(np.float32) / 32768).to(run.device)[None]
            log_mel = self.waves.features(own)
            frames = run.config.encoder_frames(log_mel.shape[1])
            seen = view(frames, run.config.kernel, torch.tensor(chunk, device=run.device),
                        torch.tensor(left, device=run.device))
            with torch.autocast(run.device.type, torch.bfloat16):
                best = run.model(log_mel, seen)[:, 0].argmax(-1).cpu().numpy()
            wrong = [edit_distance(text.split(), self._text(row)) for row in best]
            errors[source] = errors.get(source, 0) + np.array(wrong)
            words[source] = words.get(source, 0) + len(text.split())
        run.model.train()
        return {source: [round(float(rate), 1) for rate in 100 * own / words[source]]
                for source, own in errors.items()}


DEV = {"librispeech-dev-clean": 40, "common-voice": 15, "speech-commands": 30, "wake-words": 10}


def train(args: argparse.Namespace, config: Config, opt: Optimisation, mix: Mix) -> None:
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(args.labels))
    tokens = ["<blank>", *(encoder.id_to_piece(i) for i in range(1, LABELS))]
    device = torch.device(args.device)
    planners = Planners(  # forked before CUDA has started anything
        lambda own: Planner(config, mix, opt, encoder.encode, [opt.seed, rank, own]),
        args.planners)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if processes > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(opt.seed)  # the same weights everywhere
    run = Run(config, opt, device)
    if args.init:
        state = torch.load(args.init, map_location="cpu", weights_only=True)
        run.model.load_state_dict(state.get("model", state))
    torch.manual_seed(opt.seed + 1000 * (rank + 1))
    store = Store(args.store_hours, config.sample_rate, device)
    waves = Waves(config, Augment(), device)
    pieces = max(mix.most_words, 4)
    captured = device.type == "cuda" and not args.eager
    compiled = captured and not args.uncompiled
    rows_from = torch.compile(joined, dynamic=True) if compiled else joined
    steps = {blocks: Step(run, store, waves, blocks, pieces, rows_from) for blocks in ROW_BLOCKS}
    say(rank, parameters=sum(p.numel() for p in run.parameters),
        memory=torch.cuda.memory_allocated() / 2**30 if device.type == "cuda" else 0)
    began = time.time()
    if compiled:
        torch._dynamo.config.recompile_limit = 64
        for module in run.model.modules():
            if type(module).__name__ == "ConformerLayer":
                module.compile(dynamic=True)
    update = run.update
    if captured:
        update = capture(run, steps)
        say(rank, captured_in=time.time() - began,
            memory=torch.cuda.memory_reserved() / 2**30)
    loader = Loader(args.packs, store, planners, waves, (rank, processes))
    loader.start()
    if not args.init:
        measure_frontend(run, steps, planners)
        if processes > 1:
            dist.broadcast(run.model.frontend.mean, 0)
            dist.broadcast(run.model.frontend.scale, 0)
    dev = Dev(args.dev, waves, tokens, DEV) if rank == 0 else None

    rng = np.random.default_rng([opt.seed, rank])
    started = validated = saved = shown = time.time()
    total, shown_step, progress = args.minutes * 60, 0, 0.0
    losses, counted = torch.zeros(config.exits, device=device), 0
    while progress < 1:
        elapsed = time.time() - started
        own = run.step / args.steps if args.steps else elapsed / total
        planners.limit(17 if run.step < args.easy else max(ROW_BLOCKS))
        run.ease.fill_(min(1.0, max(0.25, run.step / args.easy - 0.75)) if args.easy else 1.0)
        if rng.random() < opt.whole:
            run.chunk.fill_(WHOLE)
        else:
            run.chunk.fill_(int(rng.choice(opt.chunks)))
            run.left.fill_(int(rng.choice(opt.lefts)))
        plan = planners.take()
        losses += steps[plan.blocks].losses(plan)
        counted += 1
        if processes > 1:
            run.gradients[-1] = own if rank == 0 else 0.0
            dist.all_reduce(run.gradients)
            progress = run.gradients[-1].item()
            run.gradients /= processes
        else:
            progress = own
        for rate in run.rates:
            rate.fill_(learning_rate(opt, run.step, progress))
        update()
        run.step += 1
        run.audio_hours += processes * len(plan.counts) * row_samples(
            plan.blocks, config) / config.sample_rate / 3600
        if progress > opt.average_after and run.step % opt.average_every == 0:
            run.add_to_average()
        now = time.time()
        if rank == 0 and now - shown > args.show_every:
            say(rank, step=run.step, minutes=elapsed / 60, hours=run.audio_hours,
                rate=learning_rate(opt, run.step, progress), norm=run.norm.item(),
                ms=1e3 * (now - shown) / (run.step - shown_step),
                loss=(losses / counted).tolist(), **loader.hours)
            shown, shown_step = time.time(), run.step
            losses.zero_()
            counted = 0
        if rank == 0 and now - validated > args.validate_every * 60:
            curve(args.work, run, elapsed, rates=dev.rates(run))
            validated = time.time()
        if rank == 0 and now - saved > args.save_every * 60:
            save(args.work / "last.pt", run.result(tokens))
            saved = time.time()
    if rank == 0:
        save(args.work / "last.pt", run.result(tokens))
        run.ease.fill_(1.0)
        planners.limit(max(ROW_BLOCKS))
        with torch.compiler.set_stance("force_eager"):
            finish(run, steps, planners, dev, args.work, tokens, time.time() - started)
    planners.stop()
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def capture(run: Run, steps: dict[int, Step]) -> Callable[[], None]:
    """Record the passes of all lengths and the update; returns what runs the update.

    What the trial runs change is put back.
    """
    state = copy.deepcopy(run.model.state_dict())
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
    for blocks in sorted(steps, reverse=True):
        steps[blocks].capture(pool, stream)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run.gradients.zero_()
        for _ in range(2):
            run.update()
        torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool, stream, "thread_local"):
        run.update()
    for own in run.optimizer.state.values():
        for value in own.values():
            value.zero_()
    run.model.load_state_dict(state)
    return graph.replay


def finish(run: Run, steps: dict[int, Step], planners: Planners, dev: Dev, work: Path,
           tokens: Sequence[str], elapsed: float) -> None:
    """Write the last weights or the averaged ones, whichever are better on dev at the last exit.

    Both get batch-norm statistics of their own.
    """
    lowest = math.inf
    for weights in ("last", "average") if run.average else ("last",):
        if weights == "average":
            for parameter, mean in zip(run.parameters, run.average):
                parameter.data.copy_(mean)
        measure_norms(run, steps, planners, run.opt.norm_batches)
        rates = dev.rates(run)
        curve(work, run, elapsed, weights=weights, rates=rates)
        score = sum(own[-1] for own in rates.values())
        if score <= lowest:
            lowest = score
            save(work / "english.pt", run.result(tokens))
    curve(work, run, elapsed, chunk=16, left=64, rates=dev.rates(run, 16, 64))


def say(rank: int, **values: Any) -> None:
    if rank == 0:
        print(" ".join(f"{name} {rounded(value)}" for name, value in values.items()), flush=True)


def rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def curve(work: Path, run: Run, elapsed: float, **more: Any) -> None:
    """Append a line to the curve and show it."""
    line = json.dumps({"step": run.step, "minutes": round(elapsed / 60, 2),
                       "audio_hours": round(run.audio_hours, 1), **more})
    with open(work / "curve.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True, help="folder of packs, polled")
    parser.add_argument("--dev", type=Path, required=True, help="folder of packs to validate on")
    parser.add_argument("--labels", type=Path, required=True, help="sentencepiece model")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="train so many steps instead of --minutes")
    parser.add_argument("--init", type=Path, help="state dict to start from")
    parser.add_argument("--layers", help="layers of each exit, such as 4,2,2,2,2")
    parser.add_argument("--batch-seconds", type=float, default=Optimisation.batch_seconds)
    parser.add_argument("--rate", type=float, default=Optimisation.rate)
    parser.add_argument("--real", type=float, default=Mix.real)
    parser.add_argument("--strings", type=float, default=Mix.strings)
    parser.add_argument("--whole", type=float, default=Optimisation.whole)
    parser.add_argument("--distill", type=float, default=Optimisation.distill)
    parser.add_argument("--exit-weights", help="of the losses, such as 1,1,1")
    parser.add_argument("--easy", type=int, default=0, metavar="STEPS",
                        help="with short rows, little changed, at first")
    parser.add_argument("--seed", type=int, default=Optimisation.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--planners", type=int, default=max(1, min(6, os.cpu_count() - 1)))
    parser.add_argument("--store-hours", type=float, default=500.0)
    parser.add_argument("--eager", action="store_true", help="neither compile nor capture")
    parser.add_argument("--uncompiled", action="store_true", help="capture, but do not compile")
    parser.add_argument("--show-every", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--save-every", type=float, default=2.0, metavar="MINUTES")
    parser.add_argument("--validate-every", type=float, default=4.0, metavar="MINUTES")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    config = MODEL
    if args.layers:
        layers = tuple(map(int, args.layers.split(",")))
        config = replace(MODEL, exits=len(layers), layers_per_exit=layers).validate()
    opt = replace(Optimisation(), batch_seconds=args.batch_seconds, rate=args.rate, seed=args.seed,
                  whole=args.whole, distill=args.distill)
    if args.exit_weights:
        opt = replace(opt, exit_weights=tuple(map(float, args.exit_weights.split(","))))
    mix = replace(Mix(), real=args.real, strings=args.strings)
    train(args, config, opt, mix)


if __name__ == "__main__":
    main()
