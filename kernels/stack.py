"""Stack of the C library, from the call graphs that GCC writes (-fcallgraph-info=su): `make stack`.

    python stack.py FOLDER

Prints the deepest chain of calls below each public function, in bytes, and the worst at the end.
A call through a table counts as the worst that the table may hold: the functions of a graph, when
the runtime calls, and primitives otherwise. Functions of the C library and of the compiler's
runtime, whose call graphs are not there, are named and not counted.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path

NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(?:\\n(\d+) bytes \(([\w,]+)\))?"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
PRIMITIVE = re.compile(r"ee_\w+_(f32|qs8)_[a-z0-9]+")
GRAPH = re.compile(r".*/ee_graph_\w+\.c:.*")
RUNTIME = ("ee_model_", "ee_session_", "ee_arena_")
INDIRECT = "__indirect_call"


def main(folder: Path) -> int:
    """Print the report on the call graphs in a folder and below."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for path in folder.rglob("*.ci"):
        text = path.read_text()
        for name, size, kind in NODE.findall(text):
            if size:
                if kind not in ("static", "dynamic,bounded"):
                    sys.exit(f"{name}: its stack is {kind}: no array of variable length, no alloca")
                frames[name] = max(frames.get(name, 0), int(size))
        for source, target in EDGE.findall(text):
            calls.setdefault(source, set()).add(target)
    if not frames:
        sys.exit(f"{folder}: no call graphs: GCC 10 or later, with -fcallgraph-info=su")
    graph = [name for name in frames if GRAPH.fullmatch(name)]
    primitives = [name for name in frames
                  if PRIMITIVE.fullmatch(name) and INDIRECT not in calls.get(name, ())]

    @lru_cache(maxsize=None)
    def depth(name: str) -> int:
        below = set(calls.get(name, ()))
        if INDIRECT in below:
            below.update(graph if name.startswith(RUNTIME) else primitives)
        return frames.get(name, 0) + max(map(depth, below), default=0)

    for name in sorted(filter(re.compile(r"ee_\w+").fullmatch, frames), key=depth):
        print(f"{depth(name):6} {name}")
    outside = {target for targets in calls.values() for target in targets} - set(frames)
    print("not counted:", " ".join(sorted(outside - {INDIRECT})) or "nothing")
    print(f"stack: {max(map(depth, frames))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
