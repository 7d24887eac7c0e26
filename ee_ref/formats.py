"""A transcription as text: txt, json, srt, vtt, ctm or trn.

`render` gives the whole text of one recording; it ends with a newline. Where
`FORMATS[format].concatenates` the texts of several recordings may be joined into one valid file
(txt: one line a recording; json: one object a line; ctm and trn: files for sclite, the scoring
tool). A subtitle file holds one recording.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from weights_io import files

from .errors import ArgumentError, FileError

if TYPE_CHECKING:
    from pathlib import Path

    from .model import Result
    from .stream import Event
    from .tokens import Word

# A subtitle: at most this many words and characters (one line), with no silence longer than this.
CUE_WORDS = 7
CUE_CHARACTERS = 42
CUE_GAP = 600  # milliseconds


class Format(NamedTuple):
    """extension: of its files, with the dot. concatenates: whether texts may follow one another.
    has_ids: whether ids tell recordings apart. render: (name of the recording, or its id where
    there are ids; its result) -> text."""

    extension: str
    concatenates: bool
    render: Callable[[str, Result], str]
    has_ids: bool = False


def render(format: str, name: str, result: Result, id: str | None = None) -> str:
    """`result` as text in `format`; name: the path it came from, "-" for stdin.

    id: that of the recording in ctm and trn, as a manifest has it; None: `utterance_id(name)`.
    Raises ArgumentError for a format that is not in FORMATS.
    """
    chosen = _format(format)
    if chosen.has_ids:
        name = utterance_id(name) if id is None else cleaned_id(id)
    return chosen.render(str(name), result)


def write(
    folder: str | Path, format: str, name: str, text: str, overwrite: bool = False,
    partial: bool = False,
) -> Path:
    """Write `text` to `output_path(folder, format, name, partial)`, whole or not at all; returns
    that path.

    Makes the folder when it is missing. Raises FileError when the file exists and overwrite is
    false, or cannot be written.
    """
    path = output_path(folder, format, name, partial)
    make_folder(path.parent)
    files.write_atomic(path, [text.encode("utf-8")], overwrite)
    return path


def make_folder(folder: str | Path) -> None:
    """Make the folder of `write`, where it is missing. Raises FileError when it cannot be."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise FileError(
            f"{folder}: expected a folder to write to: {getattr(error, 'strerror', None) or error}"
        ) from error


def output_path(folder: str | Path, format: str, name: str, partial: bool = False) -> Path:
    """Where `write` puts the text of recording `name`: folder/STEM.EXTENSION, "stdin" for "-".

    partial: of its beginning alone: folder/STEM.EXTENSION.partial, which is the output of no other
    recording.
    """
    from pathlib import Path

    return Path(folder) / (_stem(name) + _format(format).extension + ".partial" * partial)


def utterance_id(name: str) -> str:
    """The id of recording `name` in ctm and trn: its file name without folder and extension, as
    `cleaned_id` has it."""
    return cleaned_id(_stem(name))


def cleaned_id(id: str) -> str:
    """An id of ctm and trn: white space, parentheses and semicolons, which mean something there,
    become "_", and so do bytes that are no text."""
    return re.sub(r"[\s();\x00-\x1f\ud800-\udfff]", "_", id)


def refuse_shared_ids(format: str, named: Iterable[tuple[str, str]]) -> None:
    """Raise ArgumentError naming two recordings that one file of a format with ids would not tell
    apart. named: (what to call it in a message, its id) of each recording."""
    if not _format(format).has_ids:
        return
    known: dict[str, str] = {}
    for name, id in named:
        if id in known:
            raise ArgumentError(f"{known[id]} and {name} would both be {id} in one {format} file; "
                                "expected ids that differ, or a file for each")
        known[id] = name


def _txt(name: str, result: Result) -> str:
    return result.text + "\n"


def _json(name: str, result: Result) -> str:
    """One line of strict JSON in ASCII; numbers that are not finite become null."""
    fields = {
        "path": name,
        "text": result.text,
        "exit": result.exit,
        "score": result.score,
        "margin": result.margin,
        "confidence": result.confidence,
        "duration": result.duration,
        "intent": result.intent,
        "slots": result.slots,
        "words": [word._asdict() for word in result.words],
        "n_best": [
            {"text": h.text, "score": h.score, "tokens": list(h.tokens)}
            | ({"parts": h.parts._asdict()} if h.parts is not None else {}) for h in result.n_best
        ],
        "timing": dict(result.timing),
    }
    return json.dumps(json_value(fields), allow_nan=False) + "\n"


def event(event: Event) -> str:
    """An event of a stream as a line of strict JSON in ASCII."""
    words = [word._asdict() for word in event.words]
    return json.dumps(json_value({**vars(event), "words": words}), allow_nan=False) + "\n"


def _srt(name: str, result: Result) -> str:
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text.replace('-->', '->')}\n"
        for number, (start, end, text) in enumerate(_cues(result.words), 1)
    ]
    return "\n".join(cues)


def _vtt(name: str, result: Result) -> str:
    from html import escape  # which brings along every name of a character

    cues = [
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{escape(text, quote=False)}\n"
        for start, end, text in _cues(result.words)
    ]
    return "WEBVTT\n" + "".join(cues)


def _ctm(id: str, result: Result) -> str:
    """Lines `ID 1 START DURATION WORD CONFIDENCE`; none for an empty transcript."""
    lines = []
    for word in result.words:
        start, end = _milliseconds(word.start), _milliseconds(word.end)
        lines.append(
            f"{id} 1 {start / 1000:.3f} {(end - start) / 1000:.3f} "
            f"{_scored(word.word)} {word.confidence:.4f}\n"
        )
    return "".join(lines)


def _trn(id: str, result: Result) -> str:
    """One line `TEXT (ID)`."""
    return " ".join([*map(_scored, result.text.split()), f"({id})"]) + "\n"


FORMATS = {
    "txt": Format(".txt", True, _txt),
    "json": Format(".json", True, _json),
    "srt": Format(".srt", False, _srt),
    "vtt": Format(".vtt", False, _vtt),
    "ctm": Format(".ctm", True, _ctm, has_ids=True),
    "trn": Format(".trn", True, _trn, has_ids=True),
}


def _format(format: str) -> Format:
    if format not in FORMATS:
        raise ArgumentError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}")
    return FORMATS[format]


def _stem(name: str) -> str:
    from pathlib import PurePath

    return "stdin" if str(name) == "-" else PurePath(name).stem or "_"


def json_value(value: Any) -> Any:
    """`value` of Python and NumPy numbers, as what json writes: null for those it lacks."""
    if isinstance(value, dict):
        return {str(key): json_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(entry) for entry in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cues(words: list[Word]) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of each subtitle, in milliseconds; end > start, and none overlap."""
    latest = 0
    for group in _grouped(words):
        start = max(_milliseconds(group[0].start), latest)
        end = max(_milliseconds(group[-1].end), start + 1)
        latest = end
        yield start, end, " ".join(word.word for word in group)


def _grouped(words: list[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        length = sum(len(w.word) + 1 for w in group) + len(word.word)
        if group and (
            len(group) == CUE_WORDS
            or length > CUE_CHARACTERS
            or _milliseconds(word.start) - _milliseconds(group[-1].end) > CUE_GAP
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int, point: str) -> str:
    """HH:MM:SS and milliseconds after `point`."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _scored(word: str) -> str:
    """`word` without the characters that sclite takes for optional words and alternatives."""
    return re.sub(r"[(){};]", "_", word)
