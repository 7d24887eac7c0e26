from . import exact, linear

# The products are those of `linear_qs8`, whose tiles and blocks its own cases are for.
_OF_TILES = ("tile_", "block_", "up", "down", "no_bias")

CASES = exact([case for case in linear.CASES if not case.name.startswith(_OF_TILES)], "weight")
