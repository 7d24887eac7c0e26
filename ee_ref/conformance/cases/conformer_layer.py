from ...families import Kind, spelled
from ...families.conformer import LAYER
from ...ops import LayerPast, View
from ..draw import EDGES, Case, Stream


def case(name, frames, dim, heads, *, ff=23, kernel=5, scale=1.0, eps=1e-5, tolerance=5e-6,
         reason="some ten float32 products, one after another; the last norm keeps the scale",
         view=(0, 0, None), past=None):
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
        chunk, left, ahead = view
        made = {"x": x, "weights": weights, "heads": heads, "eps": eps,
                "view": View(chunk, left, kernel // 2 if ahead is None else ahead)}
        if past is None:
            return made
        kv_rows, gated_rows = past
        return {**made, "past": LayerPast(draw(kv_rows, 2 * dim), draw(gated_rows, dim))}

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"frames_{n}", n, 12, 3) for n in EDGES),
    *(case(f"dim_{n}", 6, n, 1) for n in EDGES if n > 2),
    case("frames_130", 130, 8, 2, ff=20),
    case("full", 33, 256, 8, ff=2048, kernel=31),
    case("chunk_4", 17, 12, 3, view=(4, 0, None)),
    case("chunk_4_left_6", 17, 12, 3, view=(4, 6, None)),
    case("chunk_4_left_6_past", 17, 12, 3, view=(4, 6, None), past=(6, 2)),
    case("chunk_4_left_6_some_past", 17, 12, 3, view=(4, 6, None), past=(4, 1)),
    case("causal_chunk_3_past", 9, 12, 3, view=(3, 5, 0), past=(5, 4)),
    case("causal", 17, 12, 3, view=(0, 0, 0)),
    case("chunk_16_left_32", 100, 8, 2, kernel=31, view=(16, 32, None), past=(32, 15)),
    case("zeros", 6, 16, 4, scale=0.0),
    case("large", 6, 16, 4, scale=1e4),
    case("eps", 6, 16, 4, eps=1e-3),
]
