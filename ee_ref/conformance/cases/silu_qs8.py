from . import silu, exact

CASES = exact([*silu.CASES, silu.case("subnormal", 3, 19, scale=1e-39)])
