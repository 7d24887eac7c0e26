"""What a frame sees of the others, and what is kept of the frames before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class View(NamedTuple):
    """What a frame of a layer sees of the others.

    chunk: frames of a chunk, or 0, where all frames are one. The first frame given to an op is the
    first of a chunk. Attention sees the frame's chunk and `left` frames before it; the depthwise
    convolution reaches `ahead` frames ahead, kernel // 2 when it is None, but not past the chunk.
    """

    chunk: int = 0
    left: int = 0
    ahead: int | None = None


FULL = View()
"""All frames, and a centred convolution."""


class LayerPast(NamedTuple):
    """What a layer keeps of the frames before those it is given; fewer rows where there were fewer.

    kv: (left, 2D) keys and values; gated: (kernel - 1 - ahead, D) what the depthwise convolution
    sees, both float32. With chunk 0 nothing is kept: both are empty.
    """

    kv: np.ndarray
    gated: np.ndarray


def reach_ahead(ahead: int | None, kernel: int) -> int:
    """Frames ahead that a depthwise convolution of so many taps reaches."""
    return kernel // 2 if ahead is None else ahead


def windows(frames: int, chunk: int, left: int, past: int) -> Iterator[tuple[slice, slice]]:
    """For every chunk its frames, and what they see: `left` frames before them, and themselves.

    The second slice is of the frames with `past` older ones before them.
    """
    step = chunk or max(frames, 1)
    for start in range(0, frames, step):
        end = min(start + step, frames)
        yield slice(start, end), slice(max(past + start - left, 0), past + end)


def after_past(past: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Rows with those of the past, if any, before them."""
    return rows if past is None else np.concatenate([past, rows])


def newest(past: LayerPast | None, kv: np.ndarray, gated: np.ndarray, view: View, kernel: int
           ) -> LayerPast:
    """What a layer with so many taps keeps for the next call, of its past and of its frames."""
    behind = kernel - 1 - reach_ahead(view.ahead, kernel)
    counts = (view.left, behind) if view.chunk else (0, 0)
    rows = (after_past(old, new) for old, new in zip(past or (None, None), (kv, gated)))
    return LayerPast(*(row[max(len(row) - count, 0) :].copy() for row, count in zip(rows, counts)))


def strided(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """What each frame of a convolution without padding sees: `kernel` rows from stride t on.

    x (T, C) -> (T', kernel C), taps outer, T' = (T - kernel) // stride + 1, or none for T < kernel
    """
    starts = stride * np.arange((len(x) - kernel) // stride + 1)
    return x[starts[:, None] + np.arange(kernel)].reshape(-1, kernel * x.shape[1])
