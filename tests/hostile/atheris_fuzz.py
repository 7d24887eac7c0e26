"""A reader under atheris, which finds new ways in by coverage: it is no dependency of this package.

    pip install atheris
    python -m tests.hostile.atheris_fuzz READER [-runs=N] [-max_total_time=S] [FOLDER...]

FOLDER: inputs that atheris keeps, the seeds of tests/hostile/corpus besides. A reader of several
kinds of files, as `manifest`, is named with a suffix: manifest.json.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["ee_ref", "weights_io"]):
    from .targets import READERS, hold, seeds


def main() -> None:
    reader, _, suffix = sys.argv[1].partition(".")
    files = {name: data for name, data in seeds(reader)
             if not suffix or name.endswith(f".{suffix}")}
    name = min(files)

    def one(data: bytes) -> None:
        hold(reader, folder, name, data)

    def mutated(data: bytes, size: int, seed: int) -> bytes:
        """Half of the time the change that knows the format, else the byte changes of libFuzzer."""
        rng = Random(seed)
        changed = READERS[reader].mutate(rng, name, data) if rng.random() < 0.5 else data
        return atheris.Mutate(changed[:size], size)[:size]

    with tempfile.TemporaryDirectory() as work:
        folder, known = Path(work) / "file", Path(work) / "seeds"
        folder.mkdir()
        known.mkdir()
        for number, data in enumerate(files.values()):
            (known / str(number)).write_bytes(data)
        # The seeds come second: libFuzzer writes what it finds into the first folder.
        arguments = [sys.argv[0], *sys.argv[2:]]
        if all(argument.startswith("-") for argument in sys.argv[2:]):
            (Path(work) / "found").mkdir()
            arguments.append(str(Path(work) / "found"))
        atheris.Setup([*arguments, str(known)], one, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
