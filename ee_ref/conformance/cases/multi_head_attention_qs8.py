from . import multi_head_attention, exact

CASES = exact(multi_head_attention.CASES, "in_weight", "out_weight")
