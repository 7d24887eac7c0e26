"""n-gram language models as text: the ARPA form, plain or compressed by gzip.

    \\data\\
    ngram 1=4                          how many n-grams of each order follow
    ngram 2=2

    \\1-grams:
    -0.8<TAB>TURN<TAB>-0.3             log10 p(word), the n-gram, its back-off weight (log10)
    ...
    \\2-grams:
    -0.2<TAB>TURN ON
    ...
    \\end\\

Fields may be separated by any white space. The back-off weight is the last field of an n-gram that
begins longer ones; elsewhere it may be left out.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, NoReturn

import numpy as np

from weights_io.files import as_file_error, open_regular

from ..errors import LanguageModelError, shown

MAX_ORDER = 8
MAX_WORDS = 1 << 24
MAX_NGRAMS = 1 << 31
MAX_LINE = 1 << 16
"""Bytes of a line."""
MAX_SKIPPED = 1000
"""Comments before the head, and blank lines in one place."""
MAX_EXPANSION = 64
"""Bytes of text for each of a compressed file: text of n-grams has three to ten."""

_GZIP = b"\x1f\x8b"
_COUNT = re.compile(rb"[0-9]{1,18}")  # int() refuses thousands of digits


class Section(NamedTuple):
    """The n-grams of one order, as they stand in the file.

    ids: (count, order) int32, indices into the list of words. log_probs, backoffs: (count,)
    float32, natural logs; a back-off is NaN where the file has none. first_line: that of the first.
    """

    ids: np.ndarray
    log_probs: np.ndarray
    backoffs: np.ndarray
    first_line: int


def read(path: str | os.PathLike[str]) -> tuple[list[str], list[Section]]:
    """The words, and the n-grams of each order, order 1 first: row i of it is word i.

    Raises FileError when the file cannot be opened, LanguageModelError, naming the line, for
    everything that is not as above: another number of n-grams than announced, words that are no
    1-gram, numbers that are not finite or probabilities above 1, a file that ends early.
    """
    with _opened(path) as (file, limit):
        lines = _Lines(path, file, limit)
        counts = _counts(lines)
        sections: list[Section] = []
        ids: dict[bytes, int] = {}
        for order, count in enumerate(counts, 1):
            lines.expect(f"\\{order}-grams:")
            sections.append(_section(lines, order, count, order == len(counts), ids))
        lines.expect("\\end\\")
    return [word.decode() for word in ids], sections


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """The text, and how many bytes of it are read at most."""
    file, size = open_regular(path)
    with file:
        try:
            compressed = file.peek(2)[:2] == _GZIP  # type: ignore[attr-defined]
            if compressed:
                yield io.BufferedReader(gzip.GzipFile(fileobj=file)), MAX_EXPANSION * size
            else:
                yield file, size
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise LanguageModelError(f"{path}: expected whole gzip data, found: {error}") from None
        except OSError as error:
            raise as_file_error(path, error) from error


class _Lines:
    """The lines of a file, counted, and errors that name them."""

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO, limit: int):
        self._path, self._file, self._limit = path, file, limit
        self._left = limit
        self.number = 0

    def wrong(self, message: str, line: int | None = None) -> NoReturn:
        raise LanguageModelError(f"{self._path}, line {line or self.number}: {message}")

    def next(self, expected: str) -> bytes:
        line = self._file.readline(MAX_LINE)
        self.number += 1
        if len(line) == MAX_LINE:
            self.wrong(f"expected at most {MAX_LINE} bytes, found more")
        self._left -= len(line)
        if self._left < 0:
            self.wrong(f"expected at most {self._limit} bytes of text, {MAX_EXPANSION} times the "
                       "compressed file, found more")
        if not line:
            self.wrong(f"expected {expected}, found the end of the file")
        return line

    def filled(self, expected: str) -> bytes:
        """The next line that is not blank, stripped."""
        return self.first(expected, bool)

    def first(self, expected: str, wanted: Callable[[bytes], bool]) -> bytes:
        """The next line, stripped, that is wanted."""
        for _ in range(MAX_SKIPPED):
            if wanted(line := self.next(expected).strip()):
                return line
        self.wrong(f"expected {expected}, found {MAX_SKIPPED} other lines")

    def expect(self, heading: str) -> None:
        if (found := self.filled(heading)) != heading.encode():
            self.wrong(f"expected {heading}, found {_shown(found)}")


def _counts(lines: _Lines) -> list[int]:
    """What the head announces. Lines before it are comments, as in the files of several tools."""
    lines.first("\\data\\", b"\\data\\".__eq__)
    counts: list[int] = []
    line = lines.filled("ngram 1=COUNT")
    while line:
        name, _, count = line.partition(b"=")
        order = len(counts) + 1
        if name.split() != [b"ngram", b"%d" % order] or not _COUNT.fullmatch(count.strip()):
            lines.wrong(f"expected ngram {order}=COUNT, found {_shown(line)}")
        limit = MAX_WORDS if order == 1 else MAX_NGRAMS
        if order > MAX_ORDER or not (order > 1 or int(count)) or int(count) > limit:
            lines.wrong(f"expected at most {MAX_ORDER} orders, with 1..{MAX_WORDS} words and at "
                        f"most {MAX_NGRAMS} n-grams of an order, found {_shown(line)}")
        counts.append(int(count))
        line = lines.next("a blank line").strip()
    return counts


def _section(
    lines: _Lines, order: int, count: int, last: bool, ids: dict[bytes, int]
) -> Section:
    """The `count` n-grams of one order; `ids` is filled by those of order 1."""
    first_line = lines.number + 1
    columns, log_probs, backoffs = array("i"), array("f"), array("f")
    expected = f"{count} {order}-grams"
    fields_of = (order + 1,) if last else (order + 1, order + 2)
    for row in range(count):
        fields = lines.next(expected).split()
        if len(fields) not in fields_of:
            _refuse_fields(lines, fields, order, row, count, last)
        words = fields[1 : order + 1]
        if order == 1:
            _add_word(lines, words[0], ids)
        try:
            columns.extend([ids[word] for word in words])
            log_probs.append(float(fields[0]))
            backoffs.append(float(fields[-1]) if len(fields) > order + 1 else math.nan)
        except KeyError as error:
            lines.wrong(f"expected words that are 1-grams, found {_shown(error.args[0])}")
        except (ValueError, OverflowError):
            lines.wrong(f"expected log10 probability, {order} words{' and back-off' * (not last)}, "
                        f"found {_shown(b' '.join(fields))}")
        if not -math.inf < log_probs[-1] <= 0 or math.isinf(backoffs[-1]) or (
                len(fields) > order + 1 and math.isnan(backoffs[-1])):
            lines.wrong("expected a finite log10 probability <= 0 and a finite back-off, "
                        f"found {_shown(b' '.join(fields))}")
    return Section(np.frombuffer(columns, np.int32).reshape(count, order),
                   _natural(log_probs), _natural(backoffs), first_line)


def _add_word(lines: _Lines, word: bytes, ids: dict[bytes, int]) -> None:
    try:
        word.decode()
    except UnicodeDecodeError:
        lines.wrong(f"expected UTF-8 text, found {word[:40]!r}")
    if word in ids:
        lines.wrong(f"expected every word once, found {_shown(word)} twice")
    ids[word] = len(ids)


def _refuse_fields(
    lines: _Lines, fields: list[bytes], order: int, row: int, count: int, last: bool
) -> NoReturn:
    if not fields or fields[0].startswith(b"\\"):
        lines.wrong(f"expected {count} {order}-grams as announced, found {row}")
    lines.wrong(f"expected log10 probability, {order} words{' and a back-off' * (not last)}, "
                f"found {len(fields)} fields: {_shown(b' '.join(fields))}")


def _natural(log10: array) -> np.ndarray:
    return (np.frombuffer(log10, np.float32) * math.log(10)).astype(np.float32)


def _shown(found: bytes) -> str:
    return shown(" ".join(found[:200].decode(errors="replace").split()), 60)
