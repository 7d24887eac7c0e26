"""What was measured of each recording, written as it comes, so that a run that ended is resumed.

A file of lines of JSON: the first says what was asked of which model, every other one what a
recording gave. Numbers are written so that they are read back exactly. A last line that is cut
short, as by a full disk or a lost machine, counts for nothing.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO

from weights_io import files
from weights_io.text import parse_json

from .. import __version__
from ..errors import ArgumentError, EeError, FileError, shown
from ..exits import ATTENTION_SCORES, AnyPolicy, PhraseScores, Scores
from ..model import Model
from ..phrase_decoder import Heard
from .manifest import Recording
from .run import Measurement, Spread

MAX_BYTES = 1 << 32
"""Largest size of a journal."""

VERSION = 1
_PIECE = 1 << 20  # bytes that are read at a time


def question(model: Model, policy: AnyPolicy | None = None, *, format: str | None = None,
             posteriors: bool = False, options: Mapping[str, Any] | None = None,
             sources: Iterable[str | os.PathLike[str]] = ()) -> dict[str, Any]:
    """Everything on which depends what is measured of a recording.

    policy, posteriors: of `run.run`; format: of `run.rendered`, None for `run.run`. options: others
    that count, `phrases` among them. sources: what may be paths; the content of those that are
    counts. Raises FileError for a file that cannot be read.
    """
    return {
        "ee_ref": __version__, "model": f"{model.file.header_checksum:08x}",
        "backend": model.backend, "exits": model.config.exits,
        "attends": model.config.has_decoder,
        "policy": None if policy is None else repr(policy), "format": format,
        "posteriors": posteriors, **(options or {}),
        "sources": [_checksum(path) for path in sources if os.path.isfile(path)]}


def _checksum(path: str | os.PathLike[str]) -> str:
    found = 0
    file, _ = files.open_regular(path)
    try:
        with file:
            while piece := file.read(_PIECE):
                found = zlib.crc32(piece, found)
    except OSError as error:
        raise files.as_file_error(path, error) from error
    return f"{found:08x}"


def resumed(path: str | os.PathLike[str], asked: Mapping[str, Any], spread: Spread) -> Spread:
    """A spread of `evaluation.run.each` that gives what the journal has, and adds what it lacks.

    asked: as `question` gives it.
    Errors of recordings are not written: those are tried again.
    Raises FileError for a file that cannot be read or written, and ArgumentError, naming the line,
    for one that is no journal or of something else.
    """
    def kept(function: Callable[[Recording], Any], recordings: Sequence[Recording],
             seconds: Sequence[float]) -> Iterator[tuple[int, Any]]:
        known = {_key(recording): number for number, recording in enumerate(recordings)}
        with _opened(path) as file:
            try:
                done, end = read(file, path, asked)
                file.seek(end)
                file.truncate()
            except OSError as error:
                raise files.as_file_error(path, error) from error
            if not end:
                _write(file, path, {"journal": VERSION, "asked": asked})
            numbers = {known[key]: plain for key, plain in done.items() if key in known}
            for number, plain in numbers.items():
                yield number, _from_plain(recordings[number], plain, asked)
            left = [number for number in range(len(recordings)) if number not in numbers]
            for at, outcome in spread(function, [recordings[number] for number in left],
                                      [seconds[number] for number in left]):
                number = left[at]
                if not isinstance(outcome, EeError):
                    _write(file, path, {**dict(zip(("id", "path"), _key(recordings[number]))),
                                        "found": _plain(outcome)})
                yield number, outcome

    return kept


def _key(recording: Recording) -> tuple[str, str]:
    return recording.id, os.path.abspath(recording.path)


def _opened(path: str | os.PathLike[str]) -> BufferedRandom:
    """For reading and writing; empty where there was none."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileError(f"{path}: expected a regular file, found something else")
    try:
        return open(path, "r+b" if os.path.exists(path) else "x+b")
    except (OSError, ValueError) as error:
        raise files.as_file_error(path, error) from error


def _write(file: BufferedRandom, path: str | os.PathLike[str], plain: Mapping[str, Any]) -> None:
    try:
        file.write(json.dumps(plain).encode() + b"\n")
        file.flush()
    except OSError as error:
        file.raw.close()  # so that closing `file` does not write it, and raise, once more
        raise files.as_file_error(path, error) from error


def read(file: BinaryIO, path: str | os.PathLike[str], asked: Mapping[str, Any]
         ) -> tuple[dict[tuple[str, str], Any], int]:
    """What a journal has of each (id, path), as plain data that was checked, and where its last
    whole line ends. Raises ArgumentError as `resumed` does."""
    if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
        raise ArgumentError(f"{path}: expected at most {MAX_BYTES} bytes, found {size}")
    found: dict[tuple[str, str], Any] = {}
    end = 0
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break
        where = f"{path}, line {number}"
        try:
            entry = parse_json(line)
            if number == 1:
                _require_same(path, entry, asked)
            else:
                _from_plain(_NOBODY, entry["found"], asked)
                found[_string(entry["id"]), _string(entry["path"])] = entry["found"]
        except ArgumentError:
            raise
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            text = line[:60].decode(errors="replace").rstrip("\n")
            raise ArgumentError(f"{where}: expected a line of a journal of ee-ref, found "
                                f"{shown(text)!r}") from None
        end += len(line)
    return found, end


def _require_same(path: str | os.PathLike[str], first: Any, asked: Mapping[str, Any]) -> None:
    if first["journal"] != VERSION:
        raise ArgumentError(f"{path}: expected a journal of version {VERSION}, found "
                            f"{shown(first['journal'])}")
    was, now = dict(first["asked"]), json.loads(json.dumps(asked))
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            raise ArgumentError(
                f"{path}: expected a journal of the same run, found one whose {shown(name)} was "
                f"{shown(was.get(name))}, now {shown(now.get(name))}: resume it with the same "
                "options, or name another file")


# ---- Measurements as plain data ----

_PLAIN = ("seconds", "texts", "times", "costs", "posteriors", "exit", "text", "seconds_used",
          "score_seconds")
"""Fields that are plain already."""


def _plain(outcome: Measurement | str) -> Any:
    if isinstance(outcome, str):
        return outcome
    found = {name: getattr(outcome, name) for name in _PLAIN}
    return json.loads(json.dumps({
        **found, "scores": outcome.scores,
        "attention": outcome.attention,
        "heard": [{"found": heard.found, "words": heard.words, "scores": heard.scores,
                   "accepted": heard.accepted} for heard in outcome.heard]}, default=_of_numpy))


def _of_numpy(value: Any) -> Any:
    return value.item()


_NOBODY = Recording("", Path(), "")


def _from_plain(recording: Recording, plain: Any, asked: Mapping[str, Any]) -> Measurement | str:
    """Raises TypeError, ValueError, KeyError or OverflowError for what is not what was asked."""
    if asked["format"] is not None:
        return _string(plain)
    exits = asked["exits"]
    return Measurement(
        recording, _float(plain["seconds"]), tuple(map(_string, _list(plain["texts"], exits))),
        tuple(map(_float, _list(plain["times"], exits))),
        tuple(_whole(costs, 1 << 63) for costs in _list(plain["costs"], exits)),
        tuple(Scores(*map(_number, _list(scores, len(Scores._fields))))
              for scores in _list(plain["scores"], exits)),
        tuple((_number(one), _number(other)) for one, other in _list(
            plain["posteriors"], exits if asked["posteriors"] else 0)),
        tuple({name: _number(of_exit[name]) for name in ATTENTION_SCORES} for of_exit in _list(
            plain["attention"], exits if asked["attends"] else 0)),
        tuple(map(_heard, _list(plain["heard"], exits if asked.get("phrases") else 0))),
        _whole(plain["exit"], exits), _string(plain["text"]), _float(plain["seconds_used"]),
        _float(plain["score_seconds"]))


def _heard(plain: Any) -> Heard:
    scores = PhraseScores(*map(_number, _list(plain["scores"], len(PhraseScores._fields))))
    return Heard(
        tuple((_number(score), _whole(number, 1 << 63)) for score, number in _list(plain["found"])),
        tuple(map(_string, _list(plain["words"]))), scores, _one_of(plain["accepted"], bool))


def _one_of(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise TypeError
    return value


def _list(value: Any, length: int | None = None) -> list[Any]:
    if len(_one_of(value, list)) != (len(value) if length is None else length):
        raise ValueError
    return value


def _string(value: Any) -> str:
    _one_of(value, str).encode()  # JSON can hold half of a character
    return value


def _whole(value: Any, most: int) -> int:
    if not 0 <= _one_of(value, int) <= most:
        raise ValueError
    return value


def _number(value: Any) -> Any:
    float(_one_of(value, int, float))  # which raises for integers that are too large
    return value


def _float(value: Any) -> float:
    if not 0 <= _number(value) < math.inf:
        raise ValueError
    return value
