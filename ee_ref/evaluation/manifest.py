"""Lists of recordings with transcripts, in three layouts.

- JSON lines: an object a line with `path` (relative to the folder of the manifest) and `text`; `id`
  and other fields (`source`, `speaker`) are kept.
- a LibriSpeech folder: `*.trans.txt` with lines `ID TEXT` beside `ID.flac`, at any depth.
- a Kaldi folder: `wav.scp` (`ID PATH`) and `text` (`ID TEXT`). Commands in `wav.scp` (a line that
  ends in `|`) are refused: nothing that a data file says is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weights_io.files import read_limited

from ..errors import ArgumentError, shown

MAX_BYTES = 1 << 28
"""Of one file of a manifest."""
AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")


@dataclass(frozen=True)
class Recording:
    """id: of the utterance. path: of its audio. text: what is said. fields: of its line."""

    id: str
    path: Path
    text: str
    fields: dict[str, Any] = field(default_factory=dict, compare=False)


def read(path: str | Path) -> list[Recording]:
    """The recordings of a manifest file or folder.

    Raises FileError when it cannot be read, ArgumentError naming the line for another layout, an id
    given twice, a transcript without audio, or no recordings at all. Audio files are not opened.
    """
    path = Path(path)
    if not path.is_dir():
        found = list(_json_lines(path))
    elif (path / "wav.scp").exists():
        found = list(_kaldi(path))
    else:
        found = list(_librispeech(path))
    if not found:
        raise ArgumentError(f"{path}: expected recordings, found none")
    seen: set[str] = set()
    for recording in found:
        if recording.id in seen:
            raise ArgumentError(f"{path}: id {recording.id!r:.80}: expected once, found twice")
        seen.add(recording.id)
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = read_limited(path, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path}: expected UTF-8 text, found {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _json_lines(path: Path) -> Iterator[Recording]:
    for number, line in _lines(path):
        try:
            entry = json.loads(line)
            audio, text = entry["path"], entry["text"]
            id = entry.get("id", Path(audio).stem)
            if not all(isinstance(value, str) for value in (audio, text, id)):
                raise TypeError
            "".join((audio, text, id)).encode()  # JSON can hold half of a character
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ArgumentError(f"{path}, line {number}: expected an object with the strings path "
                                f"and text, found {line[:60]!r}") from None
        yield Recording(id, path.parent / audio, text, entry)


def _table(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line number, id, the rest) of a file of lines `ID REST`."""
    for number, line in _lines(path):
        id, _, rest = line.partition(" ")
        yield number, id, rest.strip()


def _kaldi(folder: Path) -> Iterator[Recording]:
    texts = {id: text for _, id, text in _table(folder / "text")}
    for number, id, audio in _table(folder / "wav.scp"):
        if not audio or audio.endswith("|"):
            raise ArgumentError(
                f"{folder / 'wav.scp'}, line {number}: expected the path of an audio file, found "
                f"{audio[:60]!r}")
        if id not in texts:
            raise ArgumentError(f"{folder / 'text'}: expected a line for {id!r:.80}, found none")
        yield Recording(id, folder / audio, texts[id])


def _librispeech(folder: Path) -> Iterator[Recording]:
    for transcripts in sorted(folder.rglob("*.trans.txt")):
        for number, id, text in _table(transcripts):
            candidates = [transcripts.parent / (id + suffix) for suffix in AUDIO_SUFFIXES]
            # Not path.exists(), which raises for a name that is too long.
            audio = next((path for path in candidates if os.path.exists(path)), None)
            if audio is None:
                raise ArgumentError(f"{transcripts}, line {number}: expected "
                                    f"{shown(candidates[0].name)} "
                                    "beside it, or another audio file of that name, found none")
            yield Recording(id, audio, text)
