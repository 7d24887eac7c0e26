from tests.cases import silu, exact

CASES = exact(silu.CASES)
