"""Decodes corpora into packs (packs.py), which a trainer keeps in memory.

    python prepare.py --librispeech DIR --common-voice DIR --manifest DATA --split train --out PACKS
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import corpora
import packs
from corpora import Line
from ee_ref import audio
from ee_ref.errors import AudioError, AudioFileError

RATE = 16000
HOURS = 5.0  # of a pack: 0.6 GB


def samples(line: Line) -> np.ndarray | str:
    """The samples (N,) int16 of a line, or why it has none."""
    try:
        found = audio.read(line["path"], RATE)
    except (AudioError, AudioFileError) as error:
        return str(error)
    return np.round(np.clip(found, -1, 1) * 32767).astype(np.int16)


def parts(lines: Sequence[Line], hours: float) -> Iterator[list[Line]]:
    """The lines in a random order, cut where about so many hours are full."""
    part: list[Line] = []
    seconds = 0.0
    for index in np.random.default_rng(0).permutation(len(lines)):
        part.append(lines[index])
        seconds += lines[index]["seconds"]
        if seconds >= hours * 3600:
            yield part
            part, seconds = [], 0.0
    if part:
        yield part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    corpora.add_arguments(parser)
    parser.add_argument("--split", choices=corpora.SPLITS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        for number, part in enumerate(parts(corpora.read(args, args.split), HOURS)):
            found = list(zip(pool.map(samples, part, chunksize=16), part))
            for reason in (own for own, _ in found if isinstance(own, str)):
                print(f"left out: {reason}", file=sys.stderr)
            found = [(own, line) for own, line in found if not isinstance(own, str)]
            if found:
                hours = packs.write(args.out / f"{args.split}-{number:04d}", found)
                print(f"{args.split}-{number:04d}: {hours:.2f} h")


if __name__ == "__main__":
    main()
