import numpy as np

from ..draw import Case
from . import BIT_EXACT, depthwise_conv, exact


def _minus_zero():
    """Sums of -0, which a tap outside the utterance, added as +0, would make +0."""
    return {"x": np.full((4, 9), -0.0, np.float32), "weight": np.ones((5, 9), np.float32),
            "bias": np.full(9, -0.0, np.float32), "ahead": 2, "before": 0, "after": 0}


CASES = [
    *exact(depthwise_conv.CASES),
    *exact([depthwise_conv.case("subnormal", 7, 9, 5, scale=1e-39, bias_scale=1e-39)]),
    Case("minus_zero", _minus_zero, 0.0, BIT_EXACT),
]
