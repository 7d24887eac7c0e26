"""Speech corpora as people have them on disk, as lines of one form.

A line has the fields of the data pack's manifests: `id`, `path` (as the working folder sees it),
`text` in the alphabet of the labels, `speaker`, `source` and `seconds`. The splits are train, dev
and test.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from ee_ref.errors import ArgumentError, FileError, shown, some
from ee_ref.evaluation import manifest as manifests

Line = dict[str, Any]

SPLITS = ("train", "dev", "test")
SHORTEST = 0.2  # seconds: less than three encoder frames
FASTEST = 30.0  # characters of text a second; who speaks faster did not say what is written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name corpora, each of which may be given several times."""
    for option, what in (
            ("--manifest", "a folder with train.jsonl, dev.jsonl, test.jsonl and their audio"),
            ("--librispeech", "LibriSpeech as unpacked: the folder with train-clean-100, ..."),
            ("--common-voice", "a language of Common Voice: the folder with clips and *.tsv")):
        parser.add_argument(option, type=Path, action="append", default=[], metavar="DIR",
                            help=what)


def read(args: argparse.Namespace, split: str) -> list[Line]:
    """The usable lines of the corpora of `add_arguments`; says on stderr what was left out.

    Raises FileError, ArgumentError when a corpus is not what its option says or when none is
    given, and when no line is left.
    """
    lines = [*itertools.chain(
        *(manifest(folder, f"{split}.jsonl") for folder in _with_split(args.manifest, split)),
        *(librispeech(folder, split) for folder in args.librispeech),
        *(common_voice(folder, split) for folder in args.common_voice))]
    found = usable(lines)
    if found.left_out:
        print(f"{split}: {found.left_out} of {len(lines)} recordings left out, such as "
              f"{some(found.examples)}", file=sys.stderr)
    if not found.lines:
        raise ArgumentError(f"{split}: expected recordings in --manifest, --librispeech or "
                            f"--common-voice, found none that can be used")
    return found.lines


def manifest(folder: Path, name: str) -> list[Line]:
    """The lines of a JSONL manifest in a folder, which its paths are relative to.

    Raises FileError and ArgumentError as `ee_ref.evaluation.manifest.read`.
    """
    return [{**recording.fields, "id": recording.id, "path": str(recording.path),
             "text": recording.text} for recording in manifests.read(Path(folder) / name)]


def _with_split(folders: Sequence[Path], split: str) -> Iterator[Path]:
    """Those of the folders that have the split: a set of synthetic speech is for training alone."""
    for folder in folders:
        if not any((folder / f"{name}.jsonl").exists() for name in SPLITS):
            raise FileError(f"{folder}: expected a manifest {split}.jsonl, found none of any split")
        if (folder / f"{split}.jsonl").exists():
            yield folder


def librispeech(folder: Path, split: str) -> list[Line]:
    """The lines of LibriSpeech's folders of a split, such as train-clean-100 and train-other-500.

    Raises ArgumentError when there is none or one breaks the layout (`ee_ref.evaluation.manifest`).
    """
    parts = sorted(path for path in _listed(folder) if path.name.startswith(f"{split}-"))
    if not parts:
        raise ArgumentError(f"{folder}: expected folders named {split}-..., as in LibriSpeech, "
                            f"found {some([path.name for path in _listed(folder)]) or 'nothing'}")
    return [{"id": recording.id, "path": str(recording.path), "text": recording.text,
             "speaker": f"ls-{recording.id.partition('-')[0]}",
             "source": f"librispeech-{part.name}"}
            for part in parts for recording in manifests.read(part)]


def common_voice(folder: Path, split: str) -> list[Line]:
    """The lines of a language of Common Voice.

    For train it takes validated.tsv without the speakers of dev.tsv and test.tsv, which is more
    than train.tsv, where every sentence stands once. Durations come from clip_durations.tsv, where
    there is one.
    Raises FileError for a missing list, ArgumentError naming the line for one of another layout.
    """
    rows = [row for row in _table(folder / f"{'validated' if split == 'train' else split}.tsv",
                                  ("client_id", "path", "sentence")) if row["sentence"].strip()]
    if split == "train":
        kept_apart = {row["client_id"] for other in ("dev", "test")
                      for row in _table(folder / f"{other}.tsv", ("client_id",))}
        rows = [row for row in rows if row["client_id"] not in kept_apart]
    seconds = _durations(folder / "clip_durations.tsv")
    return [{"id": Path(row["path"]).stem, "path": str(folder / "clips" / row["path"]),
             "text": row["sentence"], "speaker": f"cv-{row['client_id']}", "source": "common-voice",
             **({"seconds": seconds[row["path"]]} if row["path"] in seconds else {})}
            for row in rows]


def _durations(path: Path) -> dict[str, float]:
    """Seconds of clips by file name; none without the list, which old releases lack."""
    rows = list(_table(path, ("clip", "duration[ms]"))) if path.exists() else []
    try:
        return {row["clip"]: int(row["duration[ms]"]) / 1000 for row in rows}
    except ValueError as error:
        raise ArgumentError(f"{path}: expected whole milliseconds: {error}") from None


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise FileError(f"{folder}: expected a folder: {error.strerror}") from None


def _table(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a file with tabs and a line of names. Nothing is quoted in it."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = file.readline().rstrip("\n").split("\t")
            if missing := [name for name in needed if name not in names]:
                raise ArgumentError(f"{path}, line 1: expected the columns {', '.join(needed)}, "
                                    f"found no {', '.join(missing)}")
            for number, line in enumerate(file, start=2):
                cells = line.rstrip("\n").split("\t")
                if len(cells) != len(names):
                    raise ArgumentError(f"{path}, line {number}: expected {len(names)} fields, "
                                        f"found {len(cells)}")
                yield dict(zip(names, cells))
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path}: expected UTF-8 text: {error}") from None
    except OSError as error:
        raise FileError(f"{path}: expected a list of recordings: {error.strerror}") from None


_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc`\u00b4", "'"))
_SPACES = re.compile(r"[\s\-\u2010-\u2015.,;:!?\"()\[\]\u201c\u201d\u201e\u00ab\u00bb\u2026]+")
_QUOTES = re.compile(r"(?<![A-Z])'+|'+(?![A-Z])")
_WORDS = re.compile(r"[A-Z']+(?: [A-Z']+)*")


def normalised(text: str) -> str | None:
    """A text in the labels' alphabet: A-Z, apostrophes within words, single spaces.

    Accents fall, punctuation parts words. None for a text with anything else, digits above all:
    nobody knows how they were read.
    """
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).upper()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = _QUOTES.sub(" ", _SPACES.sub(" ", text))
    text = " ".join(text.split())
    return text if _WORDS.fullmatch(text) or not text else None


def known_from(
    kept_apart: Iterable[Sequence[str]], run: int
) -> Callable[[Sequence[str]], bool]:
    """Whether a sentence of words is one that is kept apart, or has `run` words in a row of one."""
    whole = {tuple(words) for words in kept_apart}
    runs = {part for words in whole for part in _runs(words, run)}
    return lambda words: tuple(words) in whole or not runs.isdisjoint(_runs(words, run))


def _runs(words: Sequence[str], run: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[first:] for first in range(run)))


@dataclass(frozen=True)
class Usable:
    lines: list[Line]
    left_out: int
    examples: list[str]
    """The first ones left out, with the reason."""


def usable(lines: Iterable[Line]) -> Usable:
    """The lines with normalised texts and lengths in seconds, read from the audio's header where a
    line has none.

    Left out are recordings that cannot be read, are shorter than SHORTEST, or whose text has other
    letters or more than FASTEST of them a second.
    """
    kept: list[Line] = []
    examples: list[str] = []
    left_out = 0
    with ThreadPoolExecutor() as pool:  # opening a file waits for the disk
        for line in pool.map(_checked, lines):
            if isinstance(line, str):
                left_out += 1
                examples = examples or [line]
            else:
                kept.append(line)
    return Usable(kept, left_out, examples)


def _checked(line: Line) -> Line | str:
    """The line as it is used, or why it is not."""
    text = normalised(line["text"])
    if text is None or not text and line["text"]:
        return f"{line['id']}: {shown(line['text'], 40)!r}"
    try:
        seconds = line.get("seconds")
        if not isinstance(seconds, (int, float)):
            seconds = soundfile.info(line["path"]).duration
    except (soundfile.LibsndfileError, OSError) as error:
        return shown(error)
    if seconds < SHORTEST or len(text) > FASTEST * seconds:
        return f"{line['id']}: {len(text)} characters in {seconds:.2f} s"
    return {**line, "text": text, "seconds": seconds}
