from tests.cases import glu, exact

CASES = exact(glu.CASES)
