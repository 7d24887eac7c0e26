import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, rows, size, *, scale=4.0, gates=4.0):
    def arguments():
        draw = Stream(rows * 1000 + size)
        values = draw(rows, size, low=-scale, high=scale)
        gate = draw(rows, size, low=-gates, high=gates)
        return {"x": np.concatenate([values, gate], axis=1)}

    return Case(name, arguments, 5e-7, "one exponential, one quotient")


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 2, n) for n in EDGES),
    case("dim_256", 3, 256),
    case("zeros", 3, 20, scale=0.0),
    case("gates_zero", 3, 20, gates=0.0),
    case("gates_large", 3, 33, gates=1e4),
    case("values_large", 3, 33, scale=1e30),
]
