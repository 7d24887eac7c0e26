from . import exact, gated_attention

CASES = exact([
    *gated_attention.CASES, gated_attention.case("longer_than_a_block", 100, 5, 3),
], "in_weight", "out_weight", "gate_weight")
