from dataclasses import replace

from weights_io.layout import layer_shapes

from ..draw import EDGES, SMALL, Case, Stream


def case(name, frames, dim, heads, *, ff=23, kernel=5, scale=1.0, eps=1e-5, tolerance=5e-6,
         reason="some ten float32 products, one after another; the last norm keeps the scale"):
    def arguments():
        draw = Stream(frames * 1000 + dim * 40 + heads)
        config = replace(SMALL, dim=dim, heads=heads, ff=ff, kernel=kernel)
        weights = {}
        for suffix, shape in layer_shapes(config).items():
            if suffix.endswith("norm.weight"):
                weights[suffix] = draw(*shape, low=0.5, high=1.5)
            elif suffix.endswith("bias"):
                weights[suffix] = draw.bias(*shape)
            elif suffix == "conv.depthwise.weight":
                weights[suffix] = draw.weight(dim, kernel, gain=2.0).T.copy()
            else:
                weights[suffix] = draw.weight(*shape)
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
