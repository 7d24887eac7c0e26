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
            filled = "#" * (_WIDTH * number // max(1, total))
            print(f"\r[{filled:<{_WIDTH}}] {number}/{total}", end="", file=sys.stderr, flush=True)
            yield item
    finally:
        print(file=sys.stderr)


def break_line() -> None:
    """Begin a new line below a bar, for a message between two of its items."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
