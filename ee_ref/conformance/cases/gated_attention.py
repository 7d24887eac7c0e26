import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, frames, width, heads, *, scale=1.0, gain=1.0, tolerance=3e-6,
         reason="float32 sums and exponentials"):
    def arguments():
        draw, dim = Stream(frames * 1000 + width * 40 + heads), width * heads
        return {
            "x": draw(frames, dim, low=-1.7 * scale, high=1.7 * scale),
            "in_weight": draw.weight(3 * dim, dim),
            "in_bias": draw.bias(3 * dim),
            "out_weight": draw.weight(dim, dim),
            "out_bias": draw.bias(dim),
            "gate_weight": draw.weight(8, width),
            "gate_bias": draw.bias(8),
            "gate_scale": draw(heads, low=0.5, high=1.5),
            "distances": draw(heads, 2 * frames - 1) * np.float32(gain),
        }

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 6, 2) for n in EDGES),
    *(case(f"width_{n}", 6, n, 3) for n in (5, 16)),
    case("one_head", 6, 12, 1),
    case("zeros", 6, 4, 4, scale=0.0),
    case("strong", 20, 8, 4, gain=4.0, tolerance=1e-5,
         reason="scores near 12 are rounded to 1e-6, and exp() turns that into a relative error"),
]
