"""Text that comes from outside: UTF-8 with or without a signature, and JSON without repeated names.

Every reader of a text file uses `read_text`, and every reader of JSON `parse_json`, so that a file
means the same wherever it is given.
"""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterator
from typing import Any

from ee_ref.errors import EeError

from .files import read_limited

SPACE = string.whitespace
"""What separates fields and ends lines: ASCII white space, as in Kaldi. Others are text."""
SPACES = re.compile(f"[{SPACE}]+")

_SIGNATURE = b"\xef\xbb\xbf"  # written before UTF-8 by editors of Windows
_OTHER_SIGNATURES = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def read_text(path: str | os.PathLike[str], limit: int, wrong: type[EeError]) -> str:
    """The text of a UTF-8 file of at most `limit` bytes; a signature (BOM) at its start is dropped.

    Line ends stay as they are. Raises FileError when it cannot be read or is larger, and `wrong`,
    naming path and line, for another encoding.
    """
    data = read_limited(path, limit)
    # No text begins with NUL: one among the first bytes is half of a character.
    if data.startswith(_OTHER_SIGNATURES) or b"\0" in data[:4]:
        raise wrong(f"{path}: expected UTF-8 text, found UTF-16 or UTF-32: save it as UTF-8")
    try:
        return data.removeprefix(_SIGNATURE).decode("utf-8")
    except UnicodeDecodeError as error:
        data = error.object
        line = 1 + data.count(b"\n", 0, error.start)
        raise wrong(f"{path}, line {line}: expected UTF-8 text, found the byte "
                    f"0x{data[error.start]:02x}: {error.reason}") from None


def filled_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines that are not blank, without the white space around them."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line := line.strip(SPACE):
            yield number, line


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for text that is not JSON, is nested too deeply, or
    has a name twice in one object, of which only the last would count."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"expected every name once, found {name!r:.80} twice")
        found[name] = value
    return found
