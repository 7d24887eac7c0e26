import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, rows, size, *, scale=3.0, tolerance=2e-6, change=None,
         reason="exponentials of rounded differences, a float32 sum"):
    def arguments():
        x = Stream(rows * 1000 + size)(rows, size, low=-scale, high=scale)
        return {"x": x if change is None else change(x)}

    return Case(name, arguments, tolerance, reason)


def every_third_minus_inf(x):
    x[:, ::3] = -np.inf
    x[0, :-1] = -np.inf
    return x


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 2, n) for n in EDGES),
    case("vocab_256", 5, 256),
    case("frames_249", 3, 249),
    case("zeros", 3, 20, scale=0.0),
    case("large", 3, 33, scale=1e4),
    case("huge", 3, 33, scale=1e38),
    case("far_above_zero", 3, 33, change=lambda x: x + np.float32(1000)),
    case("far_below_zero", 3, 33, change=lambda x: x - np.float32(1000)),
    case("minus_inf", 3, 17, change=every_third_minus_inf),
]
