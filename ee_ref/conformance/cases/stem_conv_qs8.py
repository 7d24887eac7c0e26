from . import stem_conv, exact

CASES = exact(stem_conv.CASES, "weight")
