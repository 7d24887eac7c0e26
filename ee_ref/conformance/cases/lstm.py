from ..draw import EDGES, Case, Stream


def case(name, frames, ins, width, *, scale=1.7, gain=1.5):
    def arguments():
        draw = Stream(frames * 1000 + ins * 40 + width)
        return {
            "x": draw(frames, ins, low=-scale, high=scale),
            "in_weight": draw.weight(8 * width, ins, gain),
            "in_bias": draw.bias(8 * width),
            "forward_weight": draw.weight(4 * width, width, gain),
            "backward_weight": draw.weight(4 * width, width, gain),
        }

    return Case(name, arguments, 2e-6, "as many products as frames, one after another, each under "
                                       "sigmoids and tanhs, which damp their errors")


CASES = [
    *(case(f"frames_{n}", n, 6, 5) for n in EDGES),
    *(case(f"ins_{n}", 3, n, 4) for n in EDGES),
    *(case(f"width_{n}", 3, 5, n) for n in EDGES),
    case("full", 6, 64, 64),
    case("frames_130", 130, 6, 5),
    case("zeros", 4, 6, 8, scale=0.0),
    case("gates_large", 6, 9, 8, scale=400.0),
    case("cell_grows", 40, 3, 8, scale=9.0, gain=3.0),
]
