"""Stack of the C library, from the call graphs that GCC writes (-fcallgraph-info=su): `make stack`.

    python stack.py FOLDER

Prints the deepest chain of calls below each public function, in bytes, and the worst at the end.
A call through a table counts as the worst that the table may hold: the functions of a graph, when
the runtime calls, and primitives otherwise. A file that has tasks (`..._task`) gives them to a
team, so its indirect calls may be of these as well; the pool of threads runs the tasks of any file.
A team that a program brings of its own comes on top. Functions of the C library and of the
compiler's runtime, whose call graphs are not there, are named and not counted.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(?:\\n(\d+) bytes \(([\w,]+)\))?"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
PRIMITIVE = re.compile(r"ee_\w+_(f32|qs8|exact)_[a-z0-9]+")
GRAPHS = "graphs"  # the folder of their files
RUNTIME = ("ee_model", "ee_session")  # files that call them
POOL = "ee_pool"
TASK = re.compile(r".*\.c:\w+_task")
INDIRECT = "__indirect_call"


def main(folder: Path) -> int:
    """Print the report on the call graphs in a folder and below."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    tasks: dict[str, set[str]] = {}  # of the file that a function is in
    files: dict[str, Path] = {}
    for path in folder.rglob("*.ci"):
        text = path.read_text()
        in_file = {name for name, _, _ in NODE.findall(text) if TASK.fullmatch(name)}
        for name, size, kind in NODE.findall(text):
            if size:
                if kind not in ("static", "dynamic,bounded"):
                    sys.exit(f"{name}: its stack is {kind}: no array of variable length, no alloca")
                frames[name] = max(frames.get(name, 0), int(size))
                tasks.setdefault(name, set()).update(in_file - {name})
                files[name] = path
        for source, target in EDGE.findall(text):
            calls.setdefault(source, set()).add(target)
    if not frames:
        sys.exit(f"{folder}: no call graphs: GCC 10 or later, with -fcallgraph-info=su")
    graph = [name for name in frames if files[name].parent.name == GRAPHS]
    every_task = {name for name in frames if TASK.fullmatch(name)}
    in_tasks = reachable(every_task, calls)  # what tasks call has none of its own
    primitives = [name for name in frames
                  if PRIMITIVE.fullmatch(name) and INDIRECT not in reachable({name}, calls)
                  and not tasks[name]]

    @cache
    def depth(name: str) -> int:
        below = set(calls.get(name, ()))
        if INDIRECT in below:
            if files[name].stem in RUNTIME:
                # Nothing here is recursive: what calls this is not what this calls.
                below.update(entry for entry in graph if name not in reachable({entry}, calls))
            elif files[name].stem == POOL:
                below.update(every_task)
            else:
                below.update(primitives, () if name in in_tasks else tasks[name])
        return frames.get(name, 0) + max(map(depth, below), default=0)

    for name in sorted(filter(re.compile(r"ee_\w+").fullmatch, frames), key=depth):
        print(f"{depth(name):6} {name}")
    outside = {target for targets in calls.values() for target in targets} - set(frames)
    print("not counted:", " ".join(sorted(outside - {INDIRECT})) or "nothing")
    print(f"stack: {max(map(depth, frames))} bytes")
    return 0


def reachable(names: set[str], calls: dict[str, set[str]]) -> set[str]:
    """These functions and all that they call directly, and so on."""
    found, new = set(names), set(names)
    while new:
        new = {target for name in new for target in calls.get(name, ())} - found
        found |= new
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
