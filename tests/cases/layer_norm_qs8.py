from tests.cases import layer_norm, exact

CASES = exact(layer_norm.CASES)
