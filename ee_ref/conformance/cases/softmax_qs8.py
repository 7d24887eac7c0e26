from . import exact, softmax

CASES = exact([case for case in softmax.CASES if "inf" not in case.name])
