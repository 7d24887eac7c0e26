import numpy as np

from ..draw import Case
from . import BIT_EXACT, exact, linear

# The products are those of `linear_qs8`, whose tiles and blocks its own cases are for.
_OF_TILES = ("tile_", "block_", "up", "down", "no_bias")


def _largest(ins):
    """Sums as large as they get: rows of the value 16256 times their scale, weights of 127.

    Of 1040 values the sum of 128 high + low fits int32, and those of the digits fit a float."""

    def arguments():
        return {
            "x": np.ones((5, ins), np.float32),
            "weight": np.full((6, ins), 127, np.int8) * np.array([[1], [-1]] * 3, np.int8),
            "weight_scale": np.full(6, 0.5, np.float32),
            "bias": np.zeros(6, np.float32),
        }

    return Case(f"largest_{ins}", arguments, 0.0, BIT_EXACT)


CASES = [
    *exact([case for case in linear.CASES if not case.name.startswith(_OF_TILES)], "weight"),
    # Kernels that multiply both digits at once.
    *exact([linear.case(f"joined_{n}", 6, n, 9) for n in (95, 96, 97, 192, 193, 1040, 1041)],
           "weight"),
    *(_largest(n) for n in (1039, 1040, 1041)),
]
