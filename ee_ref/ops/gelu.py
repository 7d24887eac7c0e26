from __future__ import annotations

import numpy as np

LINE = "x (T D) -> y (T D)"

_SHAPE = 0.3
_TERMS = np.array([0.11968263, 0.11969107, 0.10870054, 0.0892812, 0.0502673, 0.039096355,
                   0.0032158804, -0.048535116, 0.01860035], np.float32)
"""Fitted for the least relative error, 5e-7: upper(a) exp(a a / 2) = the sum over n = 1, 2, ... of
terms[n] t**n, t = 1 / (1 + 0.3 a)."""


def gelu(x: np.ndarray) -> np.ndarray:
    """y = x P(x) = max(x, 0) - |x| upper(|x|), as torch.nn.GELU, the exact one.

    P is the distribution function of the normal distribution, upper(a) = 1 - P(a) its upper tail.
    x (T, D) finite -> (T, D)
    """
    a = np.abs(x)
    t = 1 / (1 + np.float32(_SHAPE) * a)
    terms = np.zeros_like(t)
    for term in _TERMS[::-1]:
        terms = (terms + term) * t
    with np.errstate(over="ignore"):  # exp(-inf) is the limit, 0
        tail = np.exp(-a * a / 2) * terms
    return np.maximum(x, 0) - a * tail
