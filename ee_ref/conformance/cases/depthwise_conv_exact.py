import numpy as np

from ..draw import Case
from . import BIT_EXACT, depthwise_conv, exact


def _minus_zero():
    """Sums of -0, which a tap outside the utterance, added as +0, would make +0."""
    return {"x": np.full((4, 9), -0.0, np.float32), "weight": np.ones((5, 9), np.float32),
            "bias": np.full(9, -0.0, np.float32), "ahead": 2, "before": 0, "after": 0}


def _smallest():
    """Products of 2**-100, of which pairs cancel but for the last digit."""
    (case,) = (case for case in depthwise_conv.CASES if case.name == "kernel_5")
    made = case.arguments()
    x, weight = made["x"], made["weight"]
    x[:] = np.float32(2.0**-50) * np.where(np.arange(len(x)) % 2, -1, 1)[:, None]
    weight[:] = np.float32(2.0**-50) * (1 + np.float32(2.0**-23) * np.arange(5)[:, None])
    return {**made, "bias": made["bias"] * 0}


CASES = [
    *exact(depthwise_conv.CASES),
    Case("smallest", _smallest, 0.0, BIT_EXACT),
    Case("minus_zero", _minus_zero, 0.0, BIT_EXACT),
]
