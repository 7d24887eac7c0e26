import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, frames, channels, outs, *, kernel=3, stride=2, scale=1.0, bias_scale=1.0,
         tolerance=3e-6, reason="a float32 sum of `kernel * channels` products"):
    def arguments():
        draw = Stream(frames * 1000 + channels * 40 + outs)
        return {
            "x": draw(frames, channels, low=0.0, high=scale),
            "weight": draw.weight(outs, kernel * channels),
            "bias": draw.bias(outs) * np.float32(bias_scale),
            "stride": stride,
        }

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 6, 7) for n in EDGES),
    *(case(f"channels_{n}", 9, n, 5) for n in EDGES),
    case("outs_1", 9, 5, 1, tolerance=1e-5, reason="rows of one value, where terms may cancel"),
    *(case(f"outs_{n}", 9, 5, n) for n in EDGES if n > 1),
    case("stride_1", 9, 5, 6, stride=1),
    case("stride_3", 11, 5, 6, stride=3),
    case("kernel_1", 9, 5, 6, kernel=1),
    case("kernel_5", 9, 5, 6, kernel=5),
    case("mels_80", 9, 80, 256),
    case("dim_256", 7, 256, 256),
    case("zeros", 9, 8, 8, scale=0.0),
    case("large", 9, 8, 8, scale=1e30),
]
