from . import exact, stem_conv

CASES = exact([
    *stem_conv.CASES, stem_conv.case("subnormal", 9, 7, 5, scale=1e-39, bias_scale=1e-39),
    stem_conv.case("longer_than_a_panel", 7, 257, 17),
], "weight")
