"""Lists of recordings with transcripts, in three layouts.

- JSON lines: an object a line with `path` (relative to the folder of the manifest) and `text`; `id`
  and other fields (`source`, `speaker`) are kept.
- a LibriSpeech folder: `*.trans.txt` with lines `ID TEXT` beside `ID.flac`, at any depth.
- a Kaldi folder: `wav.scp` (`ID PATH`) and `text` (`ID TEXT`); `utt2spk` (`ID SPEAKER`), if there
  is one, gives the field `speaker`. Commands in `wav.scp` (a line that ends in `|`) are refused:
  nothing that a data file says is executed.

All text is UTF-8, with or without a signature; spaces and tabs separate fields, and lines may end
in CR LF. The lists of a folder must name the same recordings, each once: a recording that only one
list has would silently leave the set.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weights_io.text import SPACES, filled_lines, parse_json, read_text

from ..errors import ArgumentError, shown

MAX_BYTES = 1 << 28
"""Largest size of one file of a manifest."""
AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")
"""Audio of a LibriSpeech folder; where an id has several files, the first of these counts."""


@dataclass(frozen=True)
class Recording:
    """id: of the utterance. path: of its audio. text: what is said. fields: of its line."""

    id: str
    path: Path
    text: str
    fields: dict[str, Any] = field(default_factory=dict, compare=False)


def read(path: str | Path) -> list[Recording]:
    """The recordings of a manifest file or folder.

    Raises FileError when it cannot be read, and ArgumentError naming file and line for another
    layout, an id given twice, a transcript without audio or audio without transcript, or no
    recordings at all. Audio files are not opened.
    """
    path = Path(path)
    if not path.is_dir():
        found = _json_lines(path)
    elif (path / "wav.scp").exists():
        found = _kaldi(path)
    else:
        found = _librispeech(path)
    recordings = [recording for _, _, recording in _each_once(found)]
    if not recordings:
        raise ArgumentError(f"{path}: expected recordings, found none")
    return recordings


def where(recordings: Sequence[Recording], condition: str) -> list[Recording]:
    """The recordings whose field is one of the values of a condition `FIELD=VALUE,VALUE,...`.

    Raises ArgumentError for a condition of another form, or one that no recording meets.
    """
    return [r for r, held in zip(recordings, meets([r.fields for r in recordings], condition))
            if held]


def meets(fields: Sequence[Mapping[str, Any]], condition: str) -> list[bool]:
    """Which of these meet the condition of `where`. Raises as it does."""
    field, equals, values = condition.partition("=")
    held = [str(of_one.get(field, "")) in values.split(",") for of_one in fields]
    if not equals or not any(held):
        raise ArgumentError(f"{condition}: expected FIELD=VALUE of some recordings, found none")
    return held


def group(recording: Recording, field: str = "speaker") -> str:
    """The recording's group by a field; each recording of an unknown speaker is one of its own."""
    value = str(recording.fields.get(field) or "unknown")
    return recording.id if value.endswith("unknown") else value


Line = tuple[str, str, Any]
"""(where it stands, id, what it says)."""


def _each_once(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines as they are. Raises ArgumentError naming both lines for an id given twice."""
    seen: dict[str, str] = {}
    for where, id, content in lines:
        if id in seen:
            raise ArgumentError(f"{where}: id {id!r:.80}: expected once, found before in "
                                f"{seen[id]}")
        seen[id] = where
        yield where, id, content


def _json_lines(path: Path) -> Iterator[Line]:
    for number, line in filled_lines(read_text(path, MAX_BYTES, ArgumentError)):
        where = f"{path}, line {number}"
        try:
            entry = parse_json(line)
            audio, text = entry["path"], entry["text"]
            id = entry.get("id", Path(audio).stem)
            if not all(isinstance(value, str) for value in (audio, text, id)):
                raise TypeError
            "".join((audio, text, id)).encode()  # JSON can hold half of a character
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            because = f" ({shown(error)})" if type(error) is ValueError else ""
            raise ArgumentError(f"{where}: expected an object with the strings path and text, "
                                f"found {line[:60]!r}{because}") from None
        yield where, id, Recording(id, path.parent / audio, text, entry)


def _table(path: Path) -> Iterator[Line]:
    """The lines `ID REST` of a file."""
    for number, line in filled_lines(read_text(path, MAX_BYTES, ArgumentError)):
        id, *rest = SPACES.split(line, maxsplit=1)
        yield f"{path}, line {number}", id, "".join(rest)


def _kaldi(folder: Path) -> Iterator[Line]:
    if (folder / "segments").exists():
        raise ArgumentError(f"{folder / 'segments'}: expected one utterance a recording, found "
                            "segments of recordings: cut the audio first")
    audio = _kaldi_list(folder / "wav.scp")
    texts = _kaldi_list(folder / "text", like=audio)
    speakers = (_kaldi_list(folder / "utt2spk", like=audio)
                if (folder / "utt2spk").exists() else {})
    for id, (where, path) in audio.items():
        if not path or path.endswith("|"):
            raise ArgumentError(f"{where}: expected the path of an audio file, found {path[:60]!r}")
        fields = {"speaker": speakers[id][1]} if speakers else {}
        yield where, id, Recording(id, folder / path, texts[id][1], fields)


def _kaldi_list(path: Path, like: dict[str, tuple[str, str]] | None = None
                ) -> dict[str, tuple[str, str]]:
    """id -> (where, the rest of its line).

    Raises ArgumentError for an id given twice, or unless the ids are those of the list `like`.
    """
    found = {id: (where, rest) for where, id, rest in _each_once(_table(path))}
    if like is None:
        return found
    for id, (where, _) in found.items():
        if id not in like:
            raise ArgumentError(f"{where}: id {id!r:.80}: expected in wav.scp too, found no line")
    for id, (where, _) in like.items():
        if id not in found:
            raise ArgumentError(f"{path}: expected a line for {id!r:.80} of {where}, found none")
    return found


def _librispeech(folder: Path) -> Iterator[Line]:
    files = sorted(_visible(folder))
    transcribed: set[Path] = set()
    for transcripts in files:
        if not transcripts.name.endswith(".trans.txt"):
            continue
        for where, id, text in _table(transcripts):
            candidates = [transcripts.parent / (id + suffix) for suffix in AUDIO_SUFFIXES]
            # Not path.exists(), which raises for a name that is too long.
            audio = next((path for path in candidates if os.path.exists(path)), None)
            if audio is None:
                raise ArgumentError(f"{where}: expected {shown(candidates[0].name)} beside it, or "
                                    "another audio file of that name, found none")
            transcribed.update(candidates)
            yield where, id, Recording(id, audio, text)
    for path in files:
        if path.suffix in AUDIO_SUFFIXES and path not in transcribed:
            raise ArgumentError(f"{path}: expected a line for it in a *.trans.txt beside it, "
                                "found none")


def _visible(folder: Path) -> Iterator[Path]:
    """Everything below a folder except hidden files, such as the ._NAME of a Mac's archives."""
    for path in folder.rglob("*"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
