from . import exact, exit_head

CASES = exact(exit_head.CASES, "weight")
