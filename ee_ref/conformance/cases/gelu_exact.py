from . import exact, gelu

CASES = exact([
    *gelu.CASES, gelu.case("smallest", 3, 19, scale=2.0**-95),
    gelu.case("around_the_limit", 5, 33, scale=5.5),
])
