import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, rows, size, *, scale=1.0):
    def arguments():
        x = Stream(rows * 1000 + size)(rows, size)
        return {"x": x * np.float32(scale)}

    return Case(name, arguments, 0.0, "int8 mode is bit-exact")


def _rows(name, *rows):
    return Case(name, lambda: {"x": np.array(rows, np.float32)}, 0.0, "int8 mode is bit-exact")


def _beside_ties():
    """Odd multiples of half a step: x (127 / a), 127 x / a and x / (a / 127) round apart there."""
    largest = np.arange(3, 67, 2, dtype=np.float32)[:, None] / np.float32(7)
    steps = np.arange(127, dtype=np.float32) + np.float32(0.5)
    return {"x": np.hstack([largest, steps * largest / np.float32(127)])}


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 3, n) for n in (*EDGES, 63, 64, 65, 255, 256, 257)),
    case("ff_2048", 3, 2048, scale=8.0),
    case("zeros", 4, 20, scale=0.0),
    case("huge", 4, 20, scale=3e38),
    case("tiny", 4, 20, scale=1e-25),
    case("below_the_smallest_scale", 4, 20, scale=2.0**-41),
    case("subnormal", 4, 20, scale=1e-40),
    _rows("at_the_smallest_scale", [2.0**-40, -(2.0**-41)], [np.nextafter(
        np.float32(2.0**-40), np.float32(0)), 2.0**-41]),
    _rows("ties_to_even", [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5, 125.5]),
    Case("beside_ties", _beside_ties, 0.0, "int8 mode is bit-exact"),
    _rows("both_ends", [-1, 1, -1, 1], [1, -0.0, 0.0, -1]),
    _rows("zero_row_among_others", [1, 2, 3], [0, -0.0, 0], [4, 5, 6]),
    _rows("subnormal_beside_large", [1e-40, -1e-40, 1.0], [2.0**-149, 2.0**-40, 0.0]),
]
