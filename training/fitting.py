"""What every trainer of this folder does with weights: rates, averages, statistics, files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Schedule(Protocol):
    """The part of an `Optimisation` that a cosine needs."""
    rate: float
    rate_end: float
    warmup_steps: int
    flat: float


def cosine(opt: Schedule, step: int, progress: float) -> float:
    """The rate of a step: linear warm-up by steps, flat, then a cosine by progress (0..1)."""
    tail = min(1.0, max(0.0, (progress - opt.flat) / (1.0 - opt.flat)))
    falling = opt.rate_end + (opt.rate - opt.rate_end) * 0.5 * (1.0 + math.cos(math.pi * tail))
    return falling * min(1.0, (step + 1) / opt.warmup_steps)


def noam(opt: Schedule, step: int, progress: float) -> float:
    """The rate of a step: linear warm-up, then as the inverse square root of the steps."""
    warm = (step + 1) / opt.warmup_steps
    return opt.rate * min(warm, warm ** -0.5)


SCHEDULES: dict[str, Callable[[Schedule, int, float], float]] = {"cosine": cosine, "noam": noam}


class Average:
    """Running mean of the parameters."""

    def __init__(self, parameters: Sequence[Tensor]):
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.count = 0

    def add(self, parameters: Sequence[Tensor]) -> None:
        self.count += 1
        values = [parameter.detach() for parameter in parameters]
        torch._foreach_lerp_(self.means, values, 1 / self.count)

    def copy_to(self, parameters: Sequence[Tensor]) -> None:
        for mean, parameter in zip(self.means, parameters):
            parameter.data.copy_(mean)


def decayed(parameters: Sequence[nn.Parameter], share: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: weight decay on matrices only."""
    return [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": share},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]


def batch_norms(model: nn.Module) -> list[nn.BatchNorm1d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]


def measure_norms(model: nn.Module, batches: int, forward: Callable[[], Any]) -> None:
    """Set the batch-norm statistics to the plain average over what `forward` gives each time."""
    momenta = [norm.momentum for norm in batch_norms(model)]
    for norm in batch_norms(model):
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    model.train()
    with torch.no_grad():
        for _ in range(batches):
            forward()
    for norm, momentum in zip(batch_norms(model), momenta):
        norm.momentum = momentum


def save(path: Path, content: dict[str, Any]) -> None:
    """torch.save that leaves either the old file or the whole new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)
