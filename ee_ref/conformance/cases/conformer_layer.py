from ...families import Kind, spelled
from ...families.conformer import LAYER
from ..draw import EDGES, Case, Stream


def case(name, frames, dim, heads, *, ff=23, kernel=5, scale=1.0, eps=1e-5, tolerance=5e-6,
         reason="some ten float32 products, one after another; the last norm keeps the scale"):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + heads)
        weights = {}
        for name, letters, kind in LAYER:
            shape = spelled(letters, {"D": dim, "F": ff, "K": kernel})
            if kind is Kind.MATRIX:
                weights[name] = draw.weight(*shape)
            elif kind is Kind.TAPS:
                weights[name] = draw.weight(dim, kernel, gain=2.0).T.copy()
            elif name.endswith("bias"):
                weights[name] = draw.bias(*shape)
            else:
                weights[name] = draw(*shape, low=0.5, high=1.5)
        x = draw(frames, dim, low=-1.7 * scale, high=1.7 * scale)
        return {"x": x, "weights": weights, "heads": heads, "eps": eps}

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 12, 3) for n in EDGES),
    *(case(f"dim_{n}", 6, n, 1) for n in EDGES if n > 2),
    case("frames_130", 130, 8, 2, ff=20),
    case("full", 33, 256, 8, ff=2048, kernel=31),
    case("zeros", 6, 16, 4, scale=0.0),
    case("large", 6, 16, 4, scale=1e4),
    case("eps", 6, 16, 4, eps=1e-3),
]
