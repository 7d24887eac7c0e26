"""The seeds of the fuzz targets (tests/hostile/fuzz) can be made again."""

from tests.hostile.fuzz import seeds

TARGETS = ("image", "frames", "model", "frontend", "decode", "packed", "stream")


def test_seeds_come_again():
    found = {f"{target}/{path.name}": path.read_bytes() for target in TARGETS
             for path in (seeds.CORPUS / target).iterdir() if not path.name.startswith("was-")}
    assert found == dict(seeds.seeds())
