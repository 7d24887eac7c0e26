import numpy as np

from ..draw import EDGES
from . import softmax


def case(name, rows, size, **other):
    return softmax.case(name, rows, size, tolerance=1e-6,
                        reason="a float32 sum of exponentials under a logarithm", **other)


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 2, n) for n in EDGES),
    case("vocab_256", 5, 256),
    case("vocab_32", 4, 32),
    case("zeros", 3, 20, scale=0.0),
    case("large", 3, 33, scale=1e4),
    case("far_above_zero", 3, 33, change=lambda x: x + np.float32(1000)),
    case("far_below_zero", 3, 33, change=lambda x: x - np.float32(1000)),
    case("minus_inf", 3, 17, change=softmax.every_third_minus_inf),
    case("sure", 3, 33, change=lambda x: x + 50 * np.eye(3, 33, dtype=np.float32)),
]
