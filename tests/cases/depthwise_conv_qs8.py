from tests.cases import depthwise_conv, exact

CASES = exact(depthwise_conv.CASES)
