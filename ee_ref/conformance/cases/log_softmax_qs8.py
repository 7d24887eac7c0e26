from . import log_softmax, exact

CASES = exact([case for case in log_softmax.CASES if "inf" not in case.name])
