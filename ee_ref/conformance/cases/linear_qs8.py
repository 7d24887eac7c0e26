import numpy as np

from ..draw import EDGES, Case, Stream


def case(name, rows, ins, outs, *, fill=None, change=None):
    """fill: (q, weight) that all entries have, instead of random ones."""

    def arguments():
        draw = Stream(ins * 1000 + outs)
        q, weight = draw.int8(rows, ins), draw.int8(outs, ins)
        if fill is not None:
            q[:], weight[:] = fill
        made = {
            "q": q,
            "scale": draw(rows, low=0.001, high=0.1),
            "weight": weight,
            "weight_scale": draw(outs, low=0.0001, high=0.01),
            "bias": draw.bias(outs),
        }
        return made if change is None else change(made)

    return Case(name, arguments, 0.0, "int8 mode is bit-exact")


def _zero_scales(arguments):
    arguments["scale"][::2] = 0
    arguments["q"][::2] = 0
    arguments["weight_scale"][1::2] = 0
    arguments["bias"][1::3] = -0.0
    return arguments


def _alternating(arguments):
    arguments["q"][:, ::2] = -127
    arguments["weight"][1::2, ::2] = -127
    return arguments


def _unit_scales(arguments):
    """The bare sums of products, which all fit a float exactly below 2**24."""
    arguments["scale"][:] = 1
    arguments["weight_scale"][:] = 1
    arguments["bias"][:] = 0
    return arguments


def _smallest_scales(arguments):
    """Those of the smallest rows that `quantize` does not make zeros."""
    arguments["scale"][:] = arguments["weight_scale"][:] = np.float32(2.0**-40) / np.float32(127)
    arguments["bias"][::2] = 0
    return arguments


CASES = [
    *(case(f"sums_of_{n}", 3, n, 7, change=_unit_scales) for n in (1, 15, 16, 17, 64, 255, 256)),
    case("sums_largest", 2, 1040, 3, fill=(127, 127), change=_unit_scales),
    case("sums_smallest", 2, 1040, 3, fill=(-127, 127), change=_unit_scales),
    case("sums_beyond_2_24", 2, 2047, 3, fill=(127, 127), change=_unit_scales),
    *(case(f"rows_{n}", n, 13, 11) for n in (*EDGES, 127, 128, 129, 255, 256, 257)),
    *(case(f"ins_{n}", 5, n, 9)
      for n in (*EDGES, 47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129, 255, 256, 257)),
    *(case(f"outs_{n}", 5, 20, n) for n in EDGES),
    *(case(f"cube_{n}", n, n, n) for n in EDGES),
    *(case(f"product_exact_to_{n}", 3, n, 5, fill=(127, 127)) for n in (1023, 1024, 1025, 2049)),
    case("largest_product", 2, 2048, 5, fill=(127, 127)),
    case("smallest_product", 2, 2048, 5, fill=(127, -127)),
    case("products_of_both_signs", 3, 96, 6, fill=(127, 127), change=_alternating),
    case("zero_products", 3, 33, 5, fill=(0, 127)),
    case("zero_scales", 6, 17, 7, change=_zero_scales),
    case("smallest_scales", 3, 17, 7, change=_smallest_scales),
    case("attention_in", 5, 256, 768),
    case("up", 3, 256, 2048),
    case("down", 3, 2048, 256),
]
