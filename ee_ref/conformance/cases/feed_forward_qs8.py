from . import exact, feed_forward

CASES = exact(feed_forward.CASES, "up_weight", "down_weight")
