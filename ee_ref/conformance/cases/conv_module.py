from ..draw import EDGES, Case, Stream


def case(name, frames, dim, kernel, *, scale=1.0, eps=1e-5, ahead=None, chunk=0, past=None):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + kernel)
        norm_weight, norm_bias = draw.norm(dim)
        made = {
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
            "ahead": kernel // 2 if ahead is None else ahead,
            "chunk": chunk,
        }
        return made if past is None else {**made, "past": draw(past, dim)}

    return Case(name, arguments, 3e-6, "three float32 products, one after another")


CASES = [
    *(case(f"frames_{n}", n, 10, 7) for n in EDGES),
    *(case(f"dim_{n}", 6, n, 3) for n in EDGES),
    *(case(f"kernel_{n}", 12, 6, n) for n in (1, 3, 5, 15, 31, 33)),
    case("frames_130", 130, 8, 31),
    case("dim_256", 40, 256, 31),
    *(case(f"chunk_{n}", 17, 10, 7, chunk=n) for n in (1, 2, 4, 16, 17, 18)),
    *(case(f"causal_{n}", 17, 10, n, ahead=0) for n in (1, 7, 31)),
    case("causal_chunk_4", 17, 10, 7, ahead=0, chunk=4),
    *(case(f"past_{n}", 17, 10, 7, chunk=4, past=n) for n in (0, 2, 3, 5)),
    *(case(f"causal_past_{n}", 9, 10, 7, ahead=0, chunk=3, past=n) for n in (0, 5, 6, 7)),
    case("chunk_16_kernel_31", 100, 8, 31, chunk=16, past=15),
    case("zeros", 6, 12, 5, scale=0.0),
    case("large", 6, 12, 5, scale=1e6),
    case("eps", 6, 12, 5, scale=0.01, eps=1e-3),
]
