from . import glu, exact

CASES = exact([*glu.CASES, glu.case("subnormal", 3, 19, scale=1e-39)])
