from . import exact, glu

CASES = exact([*glu.CASES, glu.case("flushed", 3, 19, scale=2.0**-48)])
