"""The early-exit Conformer-CTC of arXiv:2309.09546, in the layout of the published checkpoints.

Shapes: B utterances, T mel frames (100 a second), T' encoder frames (25 a second), D = dim,
V tokens.
There is no padding mask. At run time utterances are processed alone, and in training the rows of a
batch are filled with background to one length (data.py) rather than padded, so every frame is a
real one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ee_ref.families.conformer import Config

Dropout = Callable[[], nn.Module]


class View(NamedTuple):
    """What a frame of a layer sees of the others, as docs/numerics.md has it."""

    mask: Tensor
    """(T', T'): whether frame t attends to frame u."""
    taps: Tensor
    """(T', K): whether tap k of the depthwise convolution may be used at frame t."""


def view(frames: int, kernel: int, chunk: Tensor, left: Tensor) -> View:
    """The view of a chunk of frames and `left` ones before it, the convolution centred within it.

    chunk, left: integers without axes, on the device of the result. A chunk of at least `frames`
    is the whole.
    """
    t = torch.arange(frames, device=chunk.device)
    begin = t // chunk * chunk
    end = begin + chunk
    mask = (t < end[:, None]) & (t >= begin[:, None] - left)
    tap = t[:, None] + torch.arange(kernel, device=t.device) - kernel // 2
    return View(mask, tap < end[:, None])


class ChannelDropout(nn.Module):
    """Dropout of whole channels of an utterance: (B, T', C) with one draw for all T'.

    A draw for every value would be slow on a CPU.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.share)


class FeedForward(nn.Module):
    """LayerNorm, D -> ff, SiLU, ff -> D. (B, T', D) -> (B, T', D)."""

    def __init__(self, dim: int, ff: int, dropout: Dropout):
        super().__init__()
        self.sequential = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, ff), nn.SiLU(), dropout(),
            nn.Linear(ff, dim), dropout())

    def forward(self, x: Tensor) -> Tensor:
        return self.sequential(x)


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameter names of `nn.MultiheadAttention`.

    (B, T', D) -> (B, T', D).
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, frames, dim = x.shape
        width = dim // self.heads
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = qkv.view(batch, frames, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value, mask)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, frames, dim))


@torch.compiler.disable  # It would pick another kernel, and copy the mask for every layer.
def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, H, T', D / H); mask (T', T') says who sees whom."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, mask)
    # Written out: in the backward pass, and at these lengths, three times faster than the fused CPU
    # kernel.
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ value


class ConvModule(nn.Module):
    """LayerNorm, pointwise, GLU, depthwise, BatchNorm, SiLU, pointwise.

    (B, T', D) -> (B, T', D).
    """

    def __init__(self, dim: int, kernel: int, dropout: Dropout):
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim)
        self.sequential = nn.Sequential(
            nn.Conv1d(dim, 2 * dim, 1), nn.GLU(dim=-1),
            nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim),
            nn.BatchNorm1d(dim), nn.SiLU(), nn.Conv1d(dim, dim, 1), dropout())

    def forward(self, x: Tensor, taps: Tensor | None = None) -> Tensor:
        # The pointwise convolutions run as matrix products: x stays (B, T', D) but for the
        # depthwise one.
        pointwise1, glu, depthwise, norm, silu, pointwise2, dropout = self.sequential
        x = glu(F.linear(self.layer_norm(x), pointwise1.weight.squeeze(-1), pointwise1.bias))
        if taps is None:
            x = depthwise(x.transpose(1, 2)).transpose(1, 2)
        else:
            x = tapped(x, depthwise.weight.squeeze(1).to(x.dtype), taps.to(x.dtype))
            x = x + depthwise.bias.to(x.dtype)
        x = silu(norm(x.flatten(0, 1)).view_as(x))
        return dropout(F.linear(x, pointwise2.weight.squeeze(-1), pointwise2.bias))


def tapped(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Depthwise convolution, centred, of (B, T', D) with weight (D, K) and the taps of a `View`.

    A sum of shifted products is what a compiler makes one kernel of.
    """
    frames, kernel = taps.shape
    padded = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    total = torch.zeros_like(x)
    for k in range(kernel):
        total = total + weight[:, k] * (padded[:, k:k + frames] * taps[:, k, None])
    return total


class ConformerLayer(nn.Module):
    """One macaron layer: half FFN, attention, convolution, half FFN, LayerNorm.

    (B, T', D) -> (B, T', D).
    """

    def __init__(self, dim: int, heads: int, ff: int, kernel: int, dropout: Dropout):
        super().__init__()
        self.ffn1 = FeedForward(dim, ff, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.self_attn = SelfAttention(dim, heads)
        self.self_attn_dropout = dropout()
        self.conv_module = ConvModule(dim, kernel, dropout)
        self.ffn2 = FeedForward(dim, ff, dropout)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, seen: View | tuple[None, None] = (None, None)) -> Tensor:
        mask, taps = seen
        x = x + 0.5 * self.ffn1(x)
        x = x + self.self_attn_dropout(self.self_attn(self.self_attn_layer_norm(x), mask))
        x = x + self.conv_module(x, taps)
        x = x + 0.5 * self.ffn2(x)
        return self.final_layer_norm(x)


class Group(nn.Module):
    """The layers between two exits. (B, T', D) -> (B, T', D)."""

    def __init__(self, layers: int, config: Config, dropout: Dropout):
        super().__init__()
        self.conformer_layers = nn.ModuleList(
            ConformerLayer(config.dim, config.heads, config.ff, config.kernel, dropout)
            for _ in range(layers))

    def forward(self, x: Tensor, seen: View | tuple[None, None] = (None, None)) -> Tensor:
        for layer in self.conformer_layers:
            x = layer(x, seen)
        return x


class Subsampling(nn.Module):
    """Two stride-2 convolutions with no activation between them. (B, mels, T) -> (B, D, T')."""

    def __init__(self, mels: int, dim: int):
        super().__init__()
        self.sequential = nn.Sequential(
            nn.Conv1d(mels, dim, 3, stride=2), nn.Conv1d(dim, dim, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.sequential(x)


class PositionalEncoder(nn.Module):
    """Adds absolute sinusoid positions; `pe` is (max_len, 1, D) as in the published checkpoints."""

    def __init__(self, dim: int, max_len: int):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
        pe = torch.zeros(max_len, 1, dim)
        pe[:, 0, 0::2] = torch.sin(position * rate)
        pe[:, 0, 1::2] = torch.cos(position * rate)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:x.shape[1], 0]


class Frontend(nn.Module):
    """Per-mel normalisation (y - mean) * scale of log-mel energies y.

    Both vectors travel in the checkpoint.
    """

    def __init__(self, mels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("scale", torch.ones(mels))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class EarlyExitConformer(nn.Module):
    """Log-mel energies in, the logits of every exit out."""

    def __init__(self, config: Config, share: float = 0.0, dropout: type[nn.Module] = nn.Dropout):
        """share: of the values that `dropout` drops."""
        super().__init__()
        self.frontend = Frontend(config.mels) if config.has_floor else nn.Identity()
        self.conv_subsample = Subsampling(config.mels, config.dim)
        if config.positions == "table":
            self.positional_encoder = PositionalEncoder(config.dim, config.max_frames)
        else:
            self.positional_encoder = nn.Identity()
        self.linears = nn.ModuleList(
            nn.Linear(config.dim, config.vocab) for _ in config.layers_per_exit)
        self.conformer = nn.ModuleList(
            Group(layers, config, functools.partial(dropout, share))
            for layers in config.layers_per_exit)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, log_mel: Tensor, seen: View | tuple[None, None] = (None, None)) -> Tensor:
        """(B, T, mels) -> (exits, B, T', V) logits."""
        x = self.frontend(log_mel)
        x = self.positional_encoder(self.conv_subsample(x.transpose(1, 2)).transpose(1, 2))
        x = x.float().contiguous()  # of one form for all layers, which then compile as one
        logits = []
        for group, linear in zip(self.conformer, self.linears):
            x = group(x, seen)
            logits.append(linear(x))
        return torch.stack(logits)
