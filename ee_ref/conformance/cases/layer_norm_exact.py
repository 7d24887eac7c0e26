from . import exact, layer_norm

CASES = exact([
    *layer_norm.CASES,
    layer_norm.case("differences_flushed", 3, 19, scale=2.0**-49, bias_scale=0, eps=2.0**-40),
    layer_norm.case("products_flushed", 3, 19, weight_scale=2.0**-50, bias_scale=0),
])
