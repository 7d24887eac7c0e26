from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .glu import glu
from .linear import linear

LINE = (
    "x (T I), in_weight (8H I), in_bias (8H), forward_weight (4H H), backward_weight (4H H) -> "
    "y (T 2H)"
)


def lstm(
    x: np.ndarray, in_weight: np.ndarray, in_bias: np.ndarray, forward_weight: np.ndarray,
    backward_weight: np.ndarray,
) -> np.ndarray:
    """A layer of torch.nn.LSTM(bidirectional=True); of y the forward half, then the backward one.

    In each direction, from h = c = 0 on, in the order of its frames,
        i, f, g, o = in_weight x + in_bias + weight h
        c = sigmoid(f) c + sigmoid(i) tanh(g);  y = h = sigmoid(o) tanh(c)
    x (T, I), in_weight (8H, I) and in_bias (8H,): i, f, g, o of the forward direction, then of the
    backward one, in_bias the sum of PyTorch's two; forward_weight, backward_weight (4H, H)
    -> (T, 2H)
    """
    gates = linear(x, in_weight, in_bias)
    return both_directions(
        gates,
        lambda h, bias: linear(h, forward_weight, bias),
        lambda h, bias: linear(h, backward_weight, bias),
        glu)


def both_directions(
    gates: np.ndarray, forward: Callable[[np.ndarray, np.ndarray], np.ndarray],
    backward: Callable[[np.ndarray, np.ndarray], np.ndarray],
    glu: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The recurrence, whatever the arithmetic of its products and its glu.

    gates (T, 8H): what the input adds to the gates of both directions. forward, backward: the
    product (1, H) -> (1, 4H) of a direction, with the bias (4H,) that it is given. -> (T, 2H)
    """
    frames, width = len(gates), gates.shape[1] // 8
    y = np.zeros((frames, 2 * width), np.float32)
    for half, (product, order) in enumerate(
            ((forward, range(frames)), (backward, range(frames - 1, -1, -1)))):
        h = c = np.zeros((1, width), np.float32)
        for t in order:
            h, c = _cell(product(h, gates[t, half * 4 * width :][: 4 * width]), c, glu)
            y[t, half * width :][:width] = h[0]
    return y


def _cell(
    gates: np.ndarray, c: np.ndarray, glu: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """h and c after one frame; all that an LSTM has beside products is a glu."""
    def gated(values: np.ndarray, gate: np.ndarray) -> np.ndarray:
        return glu(np.concatenate([values, gate], axis=1))

    def tanh(x: np.ndarray) -> np.ndarray:
        return gated(np.full_like(x, 2), x + x) - np.float32(1)  # 2 sigmoid(2x) - 1

    i, f, g, o = np.split(gates, 4, axis=1)
    c = gated(c, f) + gated(tanh(g), i)
    return gated(tanh(c), o), c
