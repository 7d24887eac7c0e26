from ..draw import EDGES, Case, Stream


def case(name, frames, dim, kernel, *, scale=1.0, eps=1e-5):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + kernel)
        norm_weight, norm_bias = draw.norm(dim)
        return {
            "x": draw(frames, dim, low=-scale, high=scale),
            "norm_weight": norm_weight,
            "norm_bias": norm_bias,
            "in_weight": draw.weight(2 * dim, dim),
            "in_bias": draw.bias(2 * dim),
            "depthwise_weight": draw.weight(dim, kernel, gain=2.0).T.copy(),
            "depthwise_bias": draw.bias(dim),
            "out_weight": draw.weight(dim, dim),
            "out_bias": draw.bias(dim),
            "eps": eps,
        }

    return Case(name, arguments, 3e-6, "three float32 products, one after another")


CASES = [
    *(case(f"frames_{n}", n, 10, 7) for n in EDGES),
    *(case(f"dim_{n}", 6, n, 3) for n in EDGES),
    *(case(f"kernel_{n}", 12, 6, n) for n in (1, 3, 5, 15, 31, 33)),
    case("frames_130", 130, 8, 31),
    case("dim_256", 40, 256, 31),
    case("zeros", 6, 12, 5, scale=0.0),
    case("large", 6, 12, 5, scale=1e6),
    case("eps", 6, 12, 5, scale=0.01, eps=1e-3),
]
