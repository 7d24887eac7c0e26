from ..draw import EDGES, Case, Stream


def case(name, frames, width, groups, kernel, *, scale=1.0, tolerance=3e-6,
         reason="a float32 sum of `kernel * width` products"):
    def arguments():
        draw = Stream(frames * 1000 + width * 100 + groups * 10 + kernel)
        dim = width * groups
        return {
            "x": draw(frames, dim, low=-scale, high=scale),
            "weight": draw.weight(dim, kernel * width),
            "bias": draw.bias(dim),
            "groups": groups,
        }

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 3, 4, 8) for n in EDGES),
    *(case(f"kernel_{n}", 9, 3, 2, n) for n in (1, 3, 4, 16)),
    *(case(f"width_{n}", 6, n, 3, 4) for n in (1, 5)),
    case("one_group", 9, 12, 1, 4),
    case("longer_kernel_than_frames", 5, 4, 3, 32),
    case("zeros", 4, 3, 2, 4, scale=0.0),
]
