from . import exact, stem_conv

CASES = exact([
    *stem_conv.CASES, stem_conv.case("small", 9, 7, 5, scale=2.0**-39, bias_scale=0),
    stem_conv.case("below_the_smallest_scale", 9, 7, 5, scale=2.0**-41),
    stem_conv.case("longer_than_a_block", 7, 257, 17),
], "weight")
