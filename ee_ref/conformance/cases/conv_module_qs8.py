from . import conv_module, exact

CASES = exact(conv_module.CASES, "in_weight", "out_weight")
