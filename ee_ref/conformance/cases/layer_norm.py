import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, rows, size, *, scale=1.0, offset=0.0, weight_scale=1.0, bias_scale=1.0, eps=1e-5,
         tolerance=2e-6, reason="two float32 means and a square root", change=None):
    def arguments():
        draw = Stream(rows * 1000 + size)
        x = draw(rows, size) * np.float32(scale) + np.float32(offset)
        weight, bias = draw.norm(size)
        return {
            "x": x if change is None else change(x),
            "weight": weight * np.float32(weight_scale),
            "bias": bias * np.float32(bias_scale),
            "eps": eps,
        }

    return Case(name, arguments, tolerance, reason)


def _second_row_constant(x):
    x[1] = 3.0
    return x


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 3, n) for n in EDGES),
    case("dim_256", 7, 256),
    case("dim_255", 2, 255),
    case("zeros", 3, 20, scale=0.0),
    case("constant_row", 3, 20, change=_second_row_constant),
    case("large", 3, 64, scale=1e6),
    case("small", 3, 64, scale=1e-4),
    case("eps", 3, 32, scale=0.01, eps=1e-3),
    case("offset", 3, 256, scale=1.0, offset=8.0, tolerance=5e-6,
         reason="the mean, 8, is rounded before it is subtracted from values of size 1"),
]
