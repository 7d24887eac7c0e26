from ..draw import EDGES, Case, Stream


def case(name, rows, dim, ff, *, scale=1.0, eps=1e-5, tolerance=3e-6,
         reason="two float32 matrix products after a norm"):
    def arguments():
        draw = Stream(rows * 1000 + dim * 40 + ff)
        norm_weight, norm_bias = draw.norm(dim)
        return {
            "x": draw(rows, dim, low=-scale, high=scale),
            "norm_weight": norm_weight,
            "norm_bias": norm_bias,
            "up_weight": draw.weight(ff, dim),
            "up_bias": draw.bias(ff),
            "down_weight": draw.weight(dim, ff),
            "down_bias": draw.bias(dim),
            "eps": eps,
        }

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"rows_{n}", n, 10, 21) for n in EDGES),
    *(case(f"dim_{n}", 3, n, 12) for n in EDGES),
    *(case(f"ff_{n}", 3, 8, n) for n in EDGES),
    case("rows_130", 130, 8, 20),
    case("full", 5, 256, 2048, tolerance=5e-6, reason="sums of 2048 products"),
    case("zeros", 3, 16, 24, scale=0.0),
    case("large", 3, 16, 24, scale=1e6),
    case("eps", 3, 16, 24, scale=0.01, eps=1e-3),
]
