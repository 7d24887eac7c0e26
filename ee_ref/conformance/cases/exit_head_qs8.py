from . import exit_head, exact

CASES = exact(exit_head.CASES, "weight")
