from . import depthwise_conv, exact

CASES = exact([
    *depthwise_conv.CASES, depthwise_conv.case("subnormal", 7, 9, 5, scale=1e-39),
])
