from . import exact, group_norm

CASES = exact([
    *group_norm.CASES, *(group_norm.case(f"frames_{n}", n, 3) for n in (1, 255, 256, 257, 513)),
])
