from . import exact, lstm

CASES = exact(lstm.CASES, "in_weight", "forward_weight", "backward_weight")
