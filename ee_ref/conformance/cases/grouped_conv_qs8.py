from . import exact, grouped_conv

CASES = exact([
    *grouped_conv.CASES, grouped_conv.case("small", 5, 3, 2, 4, scale=2.0**-39),
    grouped_conv.case("below_the_smallest_scale", 5, 3, 2, 4, scale=2.0**-41),
    grouped_conv.case("longer_than_a_block", 100, 5, 2, 7),
    grouped_conv.case("whole_vectors", 20, 16, 2, 5), grouped_conv.case("base", 9, 48, 2, 128),
    grouped_conv.case("more_than_1040_inputs", 3, 9, 2, 117),
], "weight")
