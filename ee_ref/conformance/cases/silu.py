import numpy as np

from ..draw import EDGES, Case, Stream

ONE_EXPONENTIAL = "one exponential and one quotient, rounded"


def case(name, rows, size, *, scale=4.0, tolerance=5e-7, reason=ONE_EXPONENTIAL):
    def arguments():
        return {"x": Stream(rows * 1000 + size)(rows, size, low=-scale, high=scale)}

    return Case(name, arguments, tolerance, reason)


def _row(*values):
    return {"x": np.array([values], np.float32)}


def _column(*values):
    return {"x": np.array(values, np.float32)[:, None]}


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 2, n) for n in EDGES),
    case("ff_2048", 3, 2048),
    case("zeros", 3, 20, scale=0.0),
    Case("far_below_zero", lambda: _row(1, -20, -87, -88, -89, -104, -1e4, -1e38), 5e-7,
         "relative to silu(1): the tail has to vanish without overflow or NaN"),
    Case("far_above_zero", lambda: _column(20, 87, 88, 89, 104, 1e4, 1e38), 5e-7, ONE_EXPONENTIAL),
    Case("tail", lambda: _column(-1, -2, -5, -10, -20, -40, -80), 1e-5,
         "relative to itself: exp() of 80 is off by 5e-6 when 80 is off by one rounding"),
    Case("powers_to_subnormal", lambda: _column(*(2.0**-n for n in (1, 125, 126, 127, 140, 148))),
         5e-7, ONE_EXPONENTIAL),
    Case("tiny", lambda: _column(1e-30, -1e-30, 1e-10, -1e-10), 5e-7, ONE_EXPONENTIAL),
]
