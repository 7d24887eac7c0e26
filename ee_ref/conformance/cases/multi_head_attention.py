import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, frames, dim, heads, *, scale=1.0, qk_gain=1.0, tolerance=3e-6,
         reason="float32 sums and exponentials", chunk=0, left=0, past=None):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + heads)
        in_weight = draw.weight(3 * dim, dim)
        in_weight[: 2 * dim] *= np.float32(qk_gain)
        made = {
            "x": draw(frames, dim, low=-1.7 * scale, high=1.7 * scale),
            "in_weight": in_weight,
            "in_bias": draw.bias(3 * dim),
            "out_weight": draw.weight(dim, dim),
            "out_bias": draw.bias(dim),
            "heads": heads,
            "chunk": chunk,
            "left": left,
        }
        return made if past is None else {**made, "past": draw(past, 2 * dim)}

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 12, 2) for n in EDGES),
    case("head_size_1", 6, 1, 1, tolerance=1e-5,
         reason="rows of one value, where terms may cancel"),
    *(case(f"head_size_{n}", 6, n, 1) for n in EDGES if n > 1),
    *(case(f"head_size_{n}_three_heads", 6, 3 * n, 3) for n in (4, 5, 16)),
    *(case(f"heads_{n}", 6, 48, n) for n in (1, 2, 3, 4, 6, 8, 16, 48)),
    case("dim_256", 9, 256, 8),
    case("frames_100", 100, 32, 4),
    *(case(f"chunk_{n}", 17, 12, 2, chunk=n) for n in (1, 4, 16, 17, 18)),
    *(case(f"chunk_4_left_{n}", 17, 12, 2, chunk=4, left=n) for n in (1, 4, 6, 100)),
    *(case(f"past_{n}", 17, 12, 2, chunk=4, left=6, past=n) for n in (0, 3, 6, 9)),
    *(case(f"past_{n}_one_chunk", 5, 12, 3, chunk=5, left=16, past=n) for n in (0, 7, 16, 17)),
    case("past_unseen", 9, 12, 2, chunk=4, left=0, past=8),
    case("chunk_16_left_32", 100, 32, 4, chunk=16, left=32, past=32),
    case("chunk_64_left_33", 130, 32, 4, chunk=64, left=33, past=20),
    case("zeros", 6, 16, 4, scale=0.0),
    case("sharp", 20, 32, 4, qk_gain=2.5, tolerance=1e-5,
         reason="scores near 20 are rounded to 1e-6, and exp() turns that into a relative error"),
]
