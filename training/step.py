"""A training step on a device that holds all samples: from a table of pieces to new weights.

With CUDA the passes of every length of row can be captured as graphs, and a step is then a few
launches instead of thousands, which were the limit. CTC stays outside, since it takes its lengths
from the host.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fitting import Average, batch_norms, decayed
from model import ConformerLayer, EarlyExitConformer, view
from plans import PIECE, Plan, rows_of
from recipe_english import Recipe, row_samples
from waves import Store, Waves, joined

WHOLE = 1 << 20  # a chunk that holds any row


class Run:
    """The model and all that changes with it."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        opt = recipe.opt
        self.model = EarlyExitConformer(recipe.model, opt.dropout).to(device)
        for norm in batch_norms(self.model):
            norm.momentum = opt.norm_momentum
        self.parameters = list(self.model.parameters())
        sizes = [parameter.numel() for parameter in self.parameters]
        # One more, by which processes agree how far they are.
        self.gradients = torch.zeros(sum(sizes) + 1, device=device)
        for parameter, own in zip(self.parameters, self.gradients[:-1].split(sizes)):
            parameter.grad = own.view_as(parameter)
        cuda = device.type == "cuda"
        self.rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(
            decayed(self.parameters, opt.weight_decay), lr=self.rate, betas=opt.betas,
            eps=opt.epsilon, fused=cuda, capturable=cuda)
        # What a captured pass reads anew each time.
        self.ease = torch.ones((), device=device)
        self.chunk = torch.tensor(WHOLE, device=device)
        self.left = torch.tensor(0, device=device)
        self.norm = torch.zeros((), device=device)
        self.average = Average(self.parameters)
        self.step = 0
        self.audio_hours = 0.0

    def update(self) -> None:
        """Clip the gradients and take a step; gradients that are not finite count as zero."""
        own = self.gradients[:-1]
        norm = own.norm()
        own.mul_((self.recipe.opt.clip / (norm + 1e-6)).clamp(max=1.0))
        own.copy_(torch.where(norm.isfinite(), own, 0.0))
        self.norm.copy_(norm)
        self.optimizer.step()

    def result(self, tokens: Sequence[str]) -> dict[str, Any]:
        """What the converter reads: the state dict and what that does not say."""
        config = self.recipe.model
        return {"model": {name: value.cpu() for name, value in self.model.state_dict().items()},
                "tokens": list(tokens), "frontend": config.frontend, "heads": config.heads,
                "pad": self.recipe.pad, "positions": config.positions, "step": self.step,
                "audio_hours": self.audio_hours}


class Step:
    """Forward and backward pass of rows of one length."""

    def __init__(self, run: Run, store: Store, waves: Waves, blocks: int, most_pieces: int) -> None:
        self.run, self.store, self.waves, self.blocks = run, store, waves, blocks
        rows = rows_of(blocks, run.recipe.model, run.recipe.opt)
        self.table = torch.zeros(rows, most_pieces, len(PIECE), dtype=torch.float64,
                                 device=run.device)
        self.joined: Callable[[Tensor, Tensor, int], Tensor] = joined
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.log_probs: Tensor
        self.gradient: Tensor

    def features(self) -> Tensor:
        """Augmented features (R, T, M) of the rows in the table."""
        samples = self.joined(self.store.samples, self.table,
                              row_samples(self.blocks, self.run.recipe.model))
        return self.waves.augmented(samples, self.run.ease)

    def forward(self) -> None:
        run = self.run
        with torch.no_grad():
            features = self.features()
            seen = view(8 * self.blocks, run.recipe.model.kernel, run.chunk, run.left)
        with torch.autocast(run.device.type, torch.bfloat16):
            logits = run.model(features, seen)
        exits, rows, frames, labels = logits.shape
        logits = logits.permute(2, 0, 1, 3).reshape(frames, exits * rows, labels)
        self.log_probs = logits.float().log_softmax(-1)

    def _backward(self) -> None:
        self.run.gradients.zero_()
        torch.autograd.backward(self.log_probs, self.gradient)

    def losses(self, plan: Plan) -> Tensor:
        """The losses of the exits (exits,) of a plan; leaves the gradients of their weighted sum.

        CTC losses are divided by the number of labels: rows of a batch are of one length, so a mean
        over rows would let the few of a batch of sentences outweigh the many of words.
        """
        run = self.run
        self.table.copy_(torch.from_numpy(plan.table), non_blocking=True)
        if self.graphs:
            self.graphs[0].replay()
        else:
            self.forward()
        exits, rows = run.recipe.model.exits, len(plan.counts)
        log_probs = self.log_probs.detach().requires_grad_()
        labels = torch.from_numpy(plan.labels).to(run.device).long().repeat(exits)
        losses = F.ctc_loss(
            log_probs, labels, (len(log_probs),) * (exits * rows), tuple(plan.counts) * exits,
            reduction="none", zero_infinity=True)
        losses = losses.view(exits, rows).sum(1) / max(1, sum(plan.counts))
        weights = losses.new_tensor(run.recipe.opt.exit_weights)
        gradient, = torch.autograd.grad((losses * weights).sum(), log_probs)
        if self.graphs:
            self.gradient.copy_(gradient)
            self.graphs[1].replay()
        else:
            self.gradient = gradient
            self._backward()
        return losses.detach()

    def capture(self, pool: Any, stream: torch.cuda.Stream) -> None:
        """Record both passes. A backward pass is only replayed after its forward pass, so all
        lengths share one pool of memory."""
        with torch.cuda.stream(stream):
            for _ in range(2):  # what is made at a first call must not be made while recording
                self.forward()
                self.gradient = torch.zeros_like(self.log_probs)
                self._backward()
        self.graphs = [recorded(work, pool, stream) for work in (self.forward, self._backward)]


def recorded(work: Callable[[], None], pool: Any, stream: torch.cuda.Stream
             ) -> torch.cuda.CUDAGraph:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool, stream, "thread_local"):
        work()
    return graph


def compile_passes(run: Run, steps: Mapping[int, Step]) -> None:
    """Let the compiler fuse what a layer and the joining of pieces do; all layers are one to it."""
    torch._dynamo.config.recompile_limit = 64
    together = torch.compile(joined, dynamic=True)
    for step in steps.values():
        step.joined = together
    for module in run.model.modules():
        if isinstance(module, ConformerLayer):
            module.compile(dynamic=True)


def capture(run: Run, steps: Mapping[int, Step]) -> Callable[[], None]:
    """Record the passes of all lengths and the update; returns what runs the update.

    What the trial runs change is put back.
    """
    state = copy.deepcopy(run.model.state_dict())
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    for blocks in sorted(steps, reverse=True):  # the largest first: the others fit into its memory
        steps[blocks].capture(pool, stream)
    with torch.cuda.stream(stream):
        run.gradients.zero_()
        for _ in range(2):
            run.update()
    graph = recorded(run.update, pool, stream)
    for own in run.optimizer.state.values():
        for value in own.values():
            value.zero_()
    run.model.load_state_dict(state)
    return graph.replay

