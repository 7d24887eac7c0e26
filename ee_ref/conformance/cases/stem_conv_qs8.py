from . import exact, stem_conv

CASES = exact([
    *stem_conv.CASES, stem_conv.case("subnormal", 9, 7, 5, scale=1e-39, bias_scale=1e-39),
], "weight")
