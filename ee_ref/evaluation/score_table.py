"""Tables of scores measured elsewhere: CSV, a line an utterance, a column a score and exit.

    utterance,words,speaker,errors_1,errors_2,entropy_1,entropy_2,posterior_1,posterior_2
    61-70968-0,8,61,3,0,0.00825,0.00119,0.13,0.97

- `utterance`: its name, each once. `words`: of the reference, 1 or more.
- `NAME_K`, exits K from 1: `errors` or `..._errors` are word errors, whole numbers, of one decoder
  each; everything else is a score, any number, but that those of `exits.SCORES` mean what they mean
  there: entropies are 0 or more, the others in [0, 1]. All go up to the same exit, 2 or deeper.
- `seconds` of audio, above 0. Without it the words stand for the length of the audio, by which
  depth is weighted.
- other columns are text: fields of the utterance, such as its speaker.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weights_io.text import read_text

from .. import exits
from ..errors import ArgumentError, shown, some
from . import manifest
from .run import Table

MAX_BYTES = 1 << 28
"""Largest size of a table."""

_OF_EXIT = re.compile(r"(.+)_([1-9][0-9]{0,3})", re.ASCII)
_LENGTHS = ("words", "seconds")


@dataclass(frozen=True)
class ScoreTable:
    """table: with the scores of the file and, as a score of every exit, `words` and, where it is
    known, `seconds`; its seconds are the words where it is not. errors: the column that was taken
    for errors. fields: column -> text of each utterance."""

    table: Table
    errors: str
    fields: Mapping[str, Sequence[str]]

    def values(self, field: str) -> np.ndarray:
        """(n,) text of a field. Raises ArgumentError for one that is no column of text."""
        if field not in self.fields:
            raise ArgumentError(f"{field}: expected a column of text ({_names(self.fields)}), "
                                "found none of that name")
        return np.array(self.fields[field], object)

    def groups(self, field: str) -> list[str]:
        """Of each utterance, its value of a field; each is a group of its own without the field."""
        return list(self.fields.get(field, self.table.ids))

    def where(self, condition: str) -> ScoreTable:
        """The utterances that meet a condition of `manifest.where`. Raises as it does."""
        which = np.array(manifest.meets(
            [dict(zip(self.fields, values)) for values in zip(*self.fields.values())], condition))
        return ScoreTable(self.table.rows(which), self.errors, {
            name: tuple(np.array(values, object)[which]) for name, values in self.fields.items()})


def read(path: str | Path, errors: str | None = None, layers: Sequence[int] | None = None
         ) -> ScoreTable:
    """The table of a file.

    errors: the column of errors to judge by, without `_K`; None where there is but one. layers: up
    to each exit, rising; None counts exits.
    Raises FileError when it cannot be read, and ArgumentError naming the file, and line and column
    where there is one, for anything that is not as above, or columns or layers that do not fit.
    """
    text = read_text(path, MAX_BYTES, ArgumentError)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(lines, [])
        cells = [(lines.line_num, line) for line in lines if line]
    except csv.Error as error:
        raise ArgumentError(f"{path}, line {lines.line_num}: expected CSV: {error}") from None
    by_exit = _columns(path, names)
    for number, line in cells:
        if len(line) != len(names):
            raise ArgumentError(f"{path}, line {number}: expected {len(names)} fields, as in the "
                                f"first line, found {len(line)}")
    if not cells:
        raise ArgumentError(f"{path}: expected utterances, found none")
    where = [f"{path}, line {number}" for number, _ in cells]
    columns = dict(zip(names, zip(*(line for _, line in cells))))

    ids = columns.pop("utterance")
    _refuse_repeated(where, ids)
    words = _numbers(where, "words", columns.pop("words"), _whole(1))
    seconds = words
    if (given := columns.pop("seconds", None)) is not None:
        seconds = _numbers(where, "seconds", given, _POSITIVE)
    known = [name for name in by_exit if _is_errors(name)]
    errors = _errors_column(path, known, errors)
    count = len(by_exit[errors])
    scores = {}
    for name, of_exit in by_exit.items():
        values = np.stack([_numbers(where, column, columns.pop(column), _domain(name))
                           for column in of_exit], axis=1)
        if name == errors:
            word_errors = values.astype(np.int64)
        elif name not in known:
            scores[name] = values
    lengths = {"words": words} if given is None else {"words": words, "seconds": seconds}
    depths = _layers(layers, count)
    return ScoreTable(
        Table(ids=ids, word_errors=word_errors, character_errors=np.zeros_like(word_errors),
              words=words.astype(np.int64), characters=np.zeros(len(ids), np.int64),
              seconds=seconds, layers=depths, costs=depths * seconds[:, None],
              times=np.zeros((len(ids), count)),
              scores=scores | {name: np.repeat(values[:, None], count, axis=1)
                               for name, values in lengths.items()}),
        errors, columns)


def _names(names: Mapping[str, object] | Sequence[str]) -> str:
    return some(list(names), 8) or "none"


def _is_errors(name: str) -> bool:
    return name == "errors" or name.endswith("_errors")


def _columns(path: str | Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Name of what was measured at every exit -> its columns. Checks the first line."""
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name in seen or not name:
            raise ArgumentError(f"{path}, line 1: expected a name for every column, each once, "
                                f"found {name!r:.80} in column {number}")
        seen.add(name)
    for name in ("utterance", "words"):
        if name not in names:
            raise ArgumentError(f"{path}, line 1: expected a column {name}, found {_names(names)}")
    exits_of: dict[str, set[int]] = {}
    for name in names:
        if match := _OF_EXIT.fullmatch(name):
            exits_of.setdefault(match[1], set()).add(int(match[2]))
    for name in _LENGTHS:
        if name in exits_of:
            raise ArgumentError(f"{path}, line 1: {name}: expected one for all exits")
    if not any(map(_is_errors, exits_of)):
        raise ArgumentError(f"{path}, line 1: expected columns errors_1, errors_2, ..., found "
                            f"{_names(names)}")
    count = max(max(found) for found in exits_of.values())
    if count < 2:
        raise ArgumentError(f"{path}, line 1: expected 2 exits or more, found 1")
    for name, found in exits_of.items():
        if missing := set(range(1, count + 1)) - found:
            raise ArgumentError(f"{path}, line 1: {shown(name)}: expected exits 1 to {count}, as "
                                f"of other columns, found none for exit {min(missing)}")
    return {name: [f"{name}_{exit}" for exit in range(1, count + 1)] for name in exits_of}


def _refuse_repeated(where: Sequence[str], ids: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for place, id in zip(where, ids):
        if id in seen:
            raise ArgumentError(f"{place}: utterance {id!r:.80}: expected once, found before in "
                                f"{seen[id]}")
        seen[id] = place


Domain = tuple[str, Callable[[np.ndarray], np.ndarray]]
"""What a number is expected to be, and whether it is."""

_FLOAT32 = np.finfo(np.float32)
"""The range of what a model computes: fits square such numbers, in float64."""

_ANY: Domain = "a number of float32", lambda x: np.abs(x) <= _FLOAT32.max
_POSITIVE: Domain = ("a positive number of float32",
                     lambda x: (x >= _FLOAT32.tiny) & (x <= _FLOAT32.max))
_SHARE: Domain = "a number in [0, 1]", lambda x: (x >= 0) & (x <= 1)
_ENTROPY: Domain = ("an entropy, 0 or more (the negative scores of the paper's own code need their "
                    "sign turned)", lambda x: (x >= 0) & (x <= _FLOAT32.max))


def _whole(least: int) -> Domain:
    return (f"a whole number, {least} or more",
            lambda x: np.isfinite(x) & (x >= least) & (x == np.floor(x)) & (x < 2**53))


def _domain(name: str) -> Domain:
    if _is_errors(name):
        return _whole(0)
    if name in exits.SCORES:
        return _SHARE if exits.SCORES[name] else _ENTROPY
    return _ANY


def _numbers(where: Sequence[str], name: str, cells: Sequence[str], domain: Domain) -> np.ndarray:
    """(n,) float64. Raises ArgumentError for the first cell outside the domain."""
    values = np.array([_number(cell) for cell in cells])
    bad = ~domain[1](values)
    if bad.any():
        first = int(bad.argmax())
        raise ArgumentError(f"{where[first]}, {shown(name)}: expected {domain[0]}, found "
                            f"{cells[first]!r:.40}")
    return values


def _number(cell: str) -> float:
    try:
        return math.nan if "_" in cell else float(cell)  # Python reads 1_0 as 10
    except ValueError:
        return math.nan


def _errors_column(path: str | Path, known: Sequence[str], errors: str | None) -> str:
    if errors is None and len(known) == 1:
        return known[0]
    if errors not in known:
        found = "none named" if errors is None else repr(errors)
        raise ArgumentError(f"{path}: errors: expected one of {_names(known)}, found {found:.80}")
    return str(errors)


def _layers(layers: Sequence[int] | None, count: int) -> np.ndarray:
    if layers is None:
        return np.arange(1, count + 1)
    if len(layers) != count or any(a >= b for a, b in zip((0, *layers), layers)):
        raise ArgumentError(f"layers: expected {count} numbers that rise, one an exit, found "
                            f"{','.join(map(str, layers))}")
    return np.array(layers)
