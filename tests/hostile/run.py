"""Fuzz the readers: `python -m tests.hostile.run --executions 20000 --seed N [READER ...]`.

Every execution follows from reader, seed and number alone. Findings are printed, and kept with
--keep DIR; the exit code is 1 when there are any.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from .targets import READERS, Finding, hold, seeds

IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a file system, where there is one
MEMORY = 1 << 30  # bytes of address space beyond what the process has at the start


def fuzzed(reader: str, seed: int, number: int, files: list[tuple[str, bytes]]
           ) -> tuple[str, bytes]:
    """(name, content) of execution `number`."""
    rng = Random(f"{reader} {seed} {number}")
    name, data = rng.choice(files)
    return name, READERS[reader].mutate(rng, name, data)


def fuzz(reader: str, seed: int, executions: int, keep: Path | None = None
         ) -> tuple[Counter[str], list[str]]:
    """Outcomes by name with how often each came, and the findings."""
    files, outcomes, findings = seeds(reader), Counter(), []
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        for number in range(executions):
            name, data = fuzzed(reader, seed, number, files)
            try:
                outcomes[hold(reader, Path(folder), name, data)] += 1
            except Finding as finding:
                findings.append(
                    f"{reader}, seed {seed}, execution {number}, from {name}: {finding}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{reader}-{seed}-{number}-{name}").write_bytes(data)
    return outcomes, findings


def limit_memory() -> None:
    """Make this process fail with MemoryError rather than grow without bounds."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--executions", type=int, default=20000, metavar="N",
                        help="in all, shared by the readers (default 20000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where files of findings go")
    args = parser.parse_args(argv)
    readers = args.readers or list(READERS)
    if unknown := sorted(set(readers) - set(READERS)):
        parser.error(f"readers: expected {', '.join(READERS)}; found {unknown[0]}")
    limit_memory()
    failed = 0
    for reader in readers:
        begun = time.perf_counter()
        count = args.executions // len(readers)
        outcomes, findings = fuzz(reader, args.seed, count, args.keep)
        seconds = time.perf_counter() - begun
        shown = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
        print(f"{reader:<12}{count:>9} executions in {seconds:7.1f} s: {shown}", flush=True)
        for finding in findings[:20]:
            print(f"  FINDING {finding}", flush=True)
        failed += len(findings)
    print(f"{failed} findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
