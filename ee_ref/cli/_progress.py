"""A bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

_WIDTH = 30


def bar(items: Iterable, total: int) -> Iterator:
    """Yield the items and show how many of `total` have come."""
    if not sys.stderr.isatty():
        yield from items
        return
    try:
        for number, item in enumerate(items, start=1):
            _draw(number / max(1, total), f"{number}/{total}")
            yield item
    finally:
        print(file=sys.stderr)


def show(seconds: float, of: float | None) -> None:
    """How many seconds of a recording have come; of: in all, None where it is not known."""
    if of is None:
        print(f"\r{_clock(seconds)}", end="", file=sys.stderr, flush=True)
    else:
        _draw(min(1.0, seconds / of), f"{_clock(seconds)}/{_clock(of)}")


def _draw(share: float, text: str) -> None:
    filled = "#" * int(_WIDTH * share)
    print(f"\r[{filled:<{_WIDTH}}] {text}", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def break_line() -> None:
    """Begin a new line below a bar, for a message between two of its items."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
