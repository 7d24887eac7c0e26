from ..draw import EDGES, Case, Stream


def case(name, frames, dim, vocab, *, scale=1.0):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + vocab)
        return {
            "x": draw(frames, dim, low=-1.7 * scale, high=1.7 * scale),
            "weight": draw.weight(vocab, dim),
            "bias": draw.bias(vocab),
        }

    return Case(name, arguments, 2e-6, "a float32 product, then the sum under a logarithm")


CASES = [
    *(case(f"frames_{n}", n, 10, 12) for n in EDGES),
    *(case(f"dim_{n}", 4, n, 11) for n in EDGES),
    *(case(f"vocab_{n}", 4, 9, n) for n in EDGES),
    case("full", 6, 256, 256),
    case("zeros", 4, 16, 20, scale=0.0),
    case("sure", 4, 16, 20, scale=100.0),
]
