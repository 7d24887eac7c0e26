from . import layer_norm, exact

CASES = exact([
    *layer_norm.CASES, layer_norm.case("subnormal", 3, 19, scale=1e-39, bias_scale=1e-39),
])
