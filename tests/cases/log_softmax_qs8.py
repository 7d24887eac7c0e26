from tests.cases import log_softmax, exact

CASES = exact(log_softmax.CASES)
