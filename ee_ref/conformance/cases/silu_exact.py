from . import exact, silu

CASES = exact([
    *(case for case in silu.CASES if case.name != "powers_to_subnormal"),
    silu.case("smallest", 3, 19, scale=2.0**-95),
])
