from ..draw import EDGES, Case, Stream


def case(name, rows, size, *, scale=1.0, offset=0.0, eps=1e-5, tolerance=3e-6,
         reason="a mean and a square root, rounded"):
    def arguments():
        draw = Stream(rows * 1000 + size)
        x = draw(rows, size, low=offset - scale, high=offset + scale)
        weight, bias = draw.norm(size)
        return {"x": x, "weight": weight, "bias": bias, "eps": eps}

    return Case(name, arguments, tolerance, reason)


CASES = [
    *(case(f"rows_{n}", n, 13) for n in (2, 3, 9, 33)),  # of one, PyTorch gives no variance
    *(case(f"size_{n}", 9, n, tolerance=1e-5, reason="a row of few values, where terms may cancel")
      for n in EDGES),
    case("zeros", 3, 5, scale=0.0),
    case("eps", 9, 5, scale=0.01, eps=1e-3),
    case("small", 9, 8, scale=1e-4),
    case("offset", 64, 8, offset=8.0, tolerance=5e-6,
         reason="the mean, 8, is rounded before it is subtracted from values of size 1"),
]
