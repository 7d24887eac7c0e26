import numpy as np

from ..draw import EDGES, Case, Stream
from . import BIT_EXACT


def case(name, rows, size, *, spread=3.0, change=None):
    """spread: of the scores. change: of the arguments, made in place."""

    def arguments():
        draw = Stream(rows * 1000 + size)
        made = {"x": draw(rows, size, low=-spread, high=spread),
                "value_scale": draw(size, low=0.001, high=0.03)}
        if change is not None:
            change(made)
        return made

    return Case(name, arguments, 0.0, BIT_EXACT)


def _shift(by):
    def change(made):
        made["x"] += np.float32(by)
    return change


def _scale_values(by, every=1):
    def change(made):
        made["value_scale"][::every] *= np.float32(by)
    return change


def _one_value_row_far_larger(made):
    made["value_scale"][5] *= np.float32(2.0**30)


def _large_value_row_far_below(made):
    """Below the least exponential, and yet the largest product."""
    made["x"][:] = 0
    made["x"][:, 5] = -1000
    made["value_scale"][5] *= np.float32(2.0**126)


def _values_only_far_below(by):
    """Products about 2**-80, the least that are not taken for zeros."""
    def change(made):
        made["x"][:] = -by
        made["x"][:, 5] = 0
        made["value_scale"][5] = 0
    return change


def _at_the_least_weight(made):
    """2**-80 is not taken for zero, the number before it is."""
    made["x"][:] = 0
    made["value_scale"][:] = np.float32(2.0**-80)


def _below_the_least_weight(made):
    made["x"][:] = 0
    made["value_scale"][:] = np.nextafter(np.float32(2.0**-80), np.float32(0))


def _only_the_last_value_row(made):
    made["value_scale"][:-1] = 0


def _halves(made):
    """w is an odd number of halves and the factor 16256 / max w is 1: ties of rounding."""
    made["x"][:] = 0
    made["value_scale"][:] = (np.arange(made["value_scale"].size, dtype=np.float32)
                              + np.float32(0.5))
    made["value_scale"][-1] = 16256


def _sum_in_lanes(made):
    """Exponentials whose sum depends on its order."""
    made["x"][:] = np.where(np.arange(made["x"].shape[1]) % 9, np.float32(-15), np.float32(0))


def _smallest_scales(made):
    """Those of the smallest rows that `quantize` does not make zeros."""
    made["value_scale"][:] = np.float32(2.0**-40) / np.float32(127)


CASES = [
    *(case(f"rows_{n}", n, 13) for n in EDGES),
    *(case(f"size_{n}", 2, n) for n in EDGES),
    case("vocab_256", 5, 256),
    case("frames_249", 3, 249),
    case("zeros", 3, 20, spread=0.0),
    case("large", 3, 33, spread=1e4),
    case("huge", 3, 33, spread=1e38),
    case("far_above_zero", 3, 33, change=_shift(1000)),
    case("far_below_zero", 3, 33, change=_shift(-1000)),
    case("least_exponential", 3, 64, spread=60.0, change=_scale_values(2.0**90, every=3)),
    case("zero_value_rows", 4, 33, change=_scale_values(0, every=2)),
    case("all_values_zero", 4, 33, change=_scale_values(0)),
    case("only_the_last_value_row", 3, 33, change=_only_the_last_value_row),
    case("one_value_row_far_larger", 3, 33, change=_one_value_row_far_larger),
    case("large_value_row_far_below", 3, 33, change=_large_value_row_far_below),
    case("values_above_the_least", 3, 33, change=_values_only_far_below(50)),
    case("values_below_the_least", 3, 33, change=_values_only_far_below(60)),
    case("at_the_least_weight", 2, 33, change=_at_the_least_weight),
    case("below_the_least_weight", 2, 33, change=_below_the_least_weight),
    case("ties_to_even", 2, 40, change=_halves),
    case("sum_in_lanes", 2, 1000, change=_sum_in_lanes),
    case("smallest_value_scales", 3, 33, spread=40.0, change=_smallest_scales),
    case("largest_value_scales", 3, 33, change=_scale_values(1e37)),
]
