"""Seeded changes of files: of bytes, of numbers that look like lengths, and of JSON."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Fuzzed = Callable[[Random, bytes], bytes]

INTEGERS = (0, 1, 2, 3, 7, 63, 64, 65, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
            0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
MAX_GROWTH = 4096  # bytes that one change adds at most


def some_bytes(rng: Random, data: bytes) -> bytes:
    """One to eight changes of `data`, each of a kind of its own."""
    for _ in range(1 << rng.randrange(4)):
        data = rng.choice(_CHANGES)(rng, data)
    return data


def _flip(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]


def _overwrite(rng: Random, data: bytes) -> bytes:
    new = rng.randbytes(rng.randrange(1, 9))
    at = rng.randrange(len(data) + 1)
    return data[:at] + new + data[at + len(new):]


def _number(rng: Random, data: bytes) -> bytes:
    """A number of 1 to 8 bytes, such as a length, becomes an interesting one."""
    width = rng.choice((1, 2, 4, 8))
    value = (rng.choice(INTEGERS) + rng.randrange(-1, 2)) % (1 << 8 * width)
    new = value.to_bytes(width, rng.choice(("little", "little", "big")))
    at = rng.randrange(len(data) + 1)
    return data[:at] + new + data[at + width:]


def _nudge(rng: Random, data: bytes) -> bytes:
    """Four bytes, taken for a number, become one a little larger or smaller."""
    if len(data) < 4:
        return data
    at = rng.randrange(len(data) - 3)
    (value,) = struct.unpack_from("<I", data, at)
    value = (value + rng.choice((-64, -16, -4, -1, 1, 4, 16, 64))) % (1 << 32)
    return data[:at] + struct.pack("<I", value) + data[at + 4:]


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 65):]


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 65)) + data[at:]


def _repeat(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.randrange(1, 129)] * rng.choice((1, 2, 2, 50))
    return data[:at] + piece[:MAX_GROWTH] + data[at:]


def _move(rng: Random, data: bytes) -> bytes:
    """A piece is also put somewhere else, over what is there."""
    at, to = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    piece = data[at : at + rng.randrange(1, 129)]
    return data[:to] + piece + data[to + len(piece):]


_CHANGES: Sequence[Fuzzed] = (_flip, _overwrite, _number, _number, _nudge, _cut, _drop, _insert,
                              _repeat, _move)


_MARKS = (b"(", b")", b"[", b"]", b"{", b"}", b"<", b">", b"|", b"|", b";", b":", b"=", b"->",
          b"..", b"#", b"\n", b"\n  - ", b"{x}", b"<x>")
_PAIRS = (b"{n = 0..99} ", b"{room}", b"[a ]", b"[a]", b"(a | b) ", b"((a))", b"%", b" ", b"a",
          b"'s")


def of_brackets(rng: Random, data: bytes) -> bytes:
    """A text of templates, in which some marks are added or replaced, and a line repeated."""
    marks_of = rng.choice((_MARKS, _PAIRS))
    for _ in range(1 << rng.randrange(3)):
        marks = rng.choice(marks_of) * rng.choice((1, 1, 2, 40))
        at = rng.randrange(len(data) + 1)
        data = data[:at] + marks + data[at + rng.randrange(3) * (marks_of is _MARKS):]
    if rng.random() < 0.2:
        lines = data.split(b"\n")
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        data = b"\n".join(lines)
    return data


def values(rng: Random) -> Any:
    """A value for JSON that a reader may not expect."""
    return rng.choice((
        None, True, False, 0, 1, -1, 2, 1 << 31, 1 << 63, 10**30, 10**400, 0.5, -0.0, 1e308,
        float("nan"), float("inf"), "", "x", "\n", "\x1b[2J", "\ud800", "../../x", "a\0b",
        "/" * 300, "x" * 300, "\u2028", [], {}, [[]], [0] * 20, {"x": None}, _nested(rng)))


def _nested(rng: Random) -> Any:
    value: Any = []
    for _ in range(rng.choice((3, 50, 300))):
        value = [value] if rng.random() < 0.9 else {"x": value}
    return value


def some_json(rng: Random, document: Any) -> Any:
    """`document` with one to four of its places changed; it is changed in place."""
    for _ in range(1 << rng.randrange(3)):
        holder: Any = [document]
        outer, place = holder, 0
        while isinstance(holder[place], (dict, list)) and holder[place] and rng.random() < 0.9:
            holder = holder[place]
            place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        _change(rng, holder, place)
        if isinstance(place, int) and holder and holder is outer:
            document = holder[0]
    return document


def _change(rng: Random, holder: Any, place: Any) -> None:
    match rng.randrange(6):
        case 0:
            del holder[place]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("x", "", "path", "name", "\ud800"))] = values(rng)
        case 1:
            holder.append(holder[place])
        case 2 if isinstance(holder[place], (int, float)) and not isinstance(holder[place], bool):
            holder[place] = rng.choice(INTEGERS) + rng.randrange(-1, 2)
        case 3 if isinstance(holder[place], str):
            text = some_bytes(rng, holder[place].encode("utf-8", "surrogatepass"))
            holder[place] = text.decode("utf-8", "replace")
        case _:
            holder[place] = values(rng)


def json_text(document: Any) -> bytes:
    """A document as JSON, NaN, infinities and half pairs of UTF-16 included."""
    return json.dumps(document).encode()


def of_json(rng: Random, data: bytes) -> bytes:
    """A JSON document with places changed; bytes changed where it is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return some_bytes(rng, data)
    return json_text(some_json(rng, document))


def of_json_lines(rng: Random, data: bytes) -> bytes:
    """JSON lines with one of them changed."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = of_json(rng, lines[at])
    return b"\n".join(lines)
