from . import feed_forward, exact

CASES = exact(feed_forward.CASES, "up_weight", "down_weight")
