"""Known differences of a port, each with its reason: they do not fail a run, and do not hide.

    {"version": 1, "waivers": [
        {"cases": "f32/silu/*", "port": "chip-x*", "status": "fail", "reason": "vendor's exp"}]}

`cases` and `port` are patterns of shells; port (default "*") is compared with the name in the
port's answer to HELLO, status (default "fail") is one of fail, timeout, died, protocol and
unsupported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from weights_io.text import parse_json, read_text

from ..errors import EeError
from .schema import check

VERSION = 1
WAIVABLE = ("fail", "timeout", "died", "protocol", "unsupported")
SCHEMA = {
    "type": "object", "required": ["version", "waivers"], "additionalProperties": False,
    "properties": {
        "version": {"enum": [VERSION]},
        "waivers": {"type": "array", "items": {
            "type": "object", "required": ["cases", "reason"], "additionalProperties": False,
            "properties": {
                "cases": {"type": "string", "pattern": "^.{1,200}$"},
                "port": {"type": "string", "pattern": "^.{1,200}$"},
                "status": {"enum": list(WAIVABLE)},
                "reason": {"type": "string", "pattern": r"\S"},
            },
        }},
    },
}


class WaiverError(EeError, ValueError):
    """A file of waivers that cannot be used."""


@dataclass(frozen=True)
class Waiver:
    """One known difference."""

    cases: str
    reason: str
    port: str = "*"
    status: str = "fail"

    def covers(self, case: str, port: str, status: str) -> bool:
        """Whether this result of a case is the known one."""
        return status == self.status and fnmatchcase(port, self.port) and fnmatchcase(
            case, self.cases)


def read(path: str | os.PathLike[str]) -> tuple[Waiver, ...]:
    """The waivers of a file. Raises FileError or WaiverError."""
    text = read_text(path, 1 << 20, WaiverError)
    try:
        document = parse_json(text)
        check(document, SCHEMA)
    except ValueError as error:  # of JSON, of the schema
        raise WaiverError(f"{path}: {error}") from error
    return tuple(Waiver(**waiver) for waiver in document["waivers"])


def problems(
    waivers: Iterable[Waiver], used: Iterable[Waiver], port: str, selected: Iterable[str],
    known: Iterable[str],
) -> list[str]:
    """What is wrong with waivers: they name no case at all, or cases that need no waiver.

    selected: the cases that were run; a waiver of none of them is not judged. known: all cases.
    """
    used, selected, known = set(used), list(selected), list(known)
    found = []
    for waiver in waivers:
        if not any(fnmatchcase(case, waiver.cases) for case in known):
            found.append(f"waiver {waiver.cases!r}: no case of this suite has such a name")
        elif waiver not in used and fnmatchcase(port, waiver.port) and any(
                fnmatchcase(case, waiver.cases) for case in selected):
            found.append(f"waiver {waiver.cases!r}: not needed, no case of it ends with "
                         f"{waiver.status!r}")
    return found
