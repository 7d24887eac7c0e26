import numpy as np

from ..draw import EDGES, Case, Stream

FITTED = "the tail is fitted to 5e-7 of itself, and multiplied by at most 0.17"


def case(name, rows, size, *, scale=4.0, tolerance=5e-7, reason=FITTED):
    def arguments():
        return {"x": Stream(rows * 1000 + size)(rows, size, low=-scale, high=scale)}

    return Case(name, arguments, tolerance, reason)


def _column(*values):
    return {"x": np.array(values, np.float32)[:, None]}


CASES = [
    *(case(f"size_{n}", 2, n, tolerance=2e-6, reason="a row may hold tails alone")
      for n in EDGES),
    case("rows_7", 7, 13),
    case("zeros", 3, 5, scale=0.0),
    Case("tail", lambda: _column(-1, -2, -3, -5), 2e-6,
         "relative to itself: exp() of 12 is off by 5e-7 when 12 is off by one rounding"),
    Case("far", lambda: {"x": np.array([[-1e38, -100, -15, 0, 15, 100]], np.float32)}, 5e-7,
         "relative to 100: the tail has to vanish without overflow or NaN"),
    Case("tiny", lambda: _column(1e-30, -1e-30, 1e-10, -1e-10), 1e-6,
         "half of x, to what the fit leaves"),
]
