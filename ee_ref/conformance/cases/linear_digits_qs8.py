from . import exact, linear

CASES = exact([case for case in linear.CASES if case.arguments().get("bias") is not None], "weight")
