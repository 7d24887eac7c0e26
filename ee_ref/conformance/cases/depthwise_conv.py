import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, frames, dim, kernel, *, scale=1.0, bias_scale=1.0, ahead=None, before=0, after=0):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + kernel)
        return {
            "x": draw(frames, dim, low=-scale, high=scale),
            "weight": draw.weight(dim, kernel).T.copy(),
            "bias": draw.bias(dim) * np.float32(bias_scale),
            "ahead": kernel // 2 if ahead is None else ahead,
            "before": before,
            "after": after,
        }

    return Case(name, arguments, 2e-6, "a float32 sum of `kernel` products")


CASES = [
    *(case(f"frames_{n}", n, 5, 7) for n in EDGES),
    *(case(f"dim_{n}", 9, n, 3) for n in EDGES),
    *(case(f"kernel_{n}", 12, 6, n) for n in (1, 3, 5, 7, 9, 15, 17, 31, 33)),
    case("kernel_31_one_frame", 1, 20, 31),
    case("kernel_31_inside", 47, 20, 31),
    *(case(f"ahead_{n}", 12, 6, 7, ahead=n) for n in (0, 1, 5, 6)),
    case("causal_31", 40, 20, 31, ahead=0),
    *(case(f"before_{n}", 12, 6, 7, before=n) for n in (1, 2, 3, 4, 12)),
    *(case(f"after_{n}", 12, 6, 7, after=n) for n in (1, 2, 3, 4, 12)),
    case("neighbours_all_there", 62, 20, 31, before=15, after=15),
    case("cut_after_a_chunk", 31, 20, 31, before=15),
    case("causal_with_its_past", 46, 20, 31, ahead=0, before=30),
    case("dim_256", 6, 256, 31),
    case("zeros", 5, 9, 5, scale=0.0),
    case("large", 5, 9, 5, scale=1e30),
]
