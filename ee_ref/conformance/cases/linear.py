from ..draw import EDGES, Case, Stream


def case(name, rows, ins, outs, *, scale=1.0, bias=True, tolerance=3e-6,
         reason="a float32 sum of `ins` products"):
    def arguments():
        draw = Stream(ins * 1000 + outs)
        return {
            "x": draw(rows, ins, low=-scale, high=scale),
            "weight": draw.weight(outs, ins),
            "bias": draw.bias(outs) if bias else None,
        }

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"rows_{n}", n, 13, 11) for n in EDGES),
    *(case(f"ins_{n}", 5, n, 9) for n in EDGES),
    case("outs_1", 5, 10, 1, tolerance=1e-5, reason="rows of one value, where terms may cancel"),
    *(case(f"outs_{n}", 5, 10, n) for n in EDGES if n > 1),
    *(case(f"cube_{n}", n, n, n) for n in EDGES),
    *(case(f"tile_rows_{n}", n, 13, 11) for n in (6, 11, 12, 13, 14, 27, 28, 29)),
    *(case(f"tile_rows_{n}_outs_{m}", n, 24, m) for n in (5, 7, 15) for m in (33, 49, 64)),
    *(case(f"block_ins_{n}", 7, n, 17) for n in (351, 352, 353, 704, 705)),
    case("block_rows_257", 257, 9, 17),
    case("one_by_one", 1, 1, 1),
    case("no_bias", 6, 20, 18, bias=False),
    case("zeros", 4, 16, 8, scale=0.0),
    case("large", 4, 33, 17, scale=1e30),
    case("small", 4, 33, 17, scale=1e-30),
    case("stem", 5, 240, 256),
    case("up", 3, 256, 2048),
    case("down", 3, 2048, 256, tolerance=6e-6,
         reason="summed one after another, 2048 products collect that many roundings"),
]
