"""Word n-gram language models with back-off, as sorted arrays that can be mapped from a file.

    p(w | h) = the stored p(h w) where the model has the n-gram h w,
               else backoff(h) * p(w | h without its oldest word)        (Katz 1987)

An n-gram is found order by order: those that begin with the same words stand side by side, sorted
by their last word. An n-gram that begins longer ones, or has a back-off weight, is a *context*;
most are none, so contexts have arrays of their own. docs/decoding.md has the packed file.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weights_io.files import as_file_error, open_regular, write_atomic

from ..errors import LanguageModelError, shown
from . import arpa

State = tuple[int, ...]
"""Word ids of the context that p(w | h) depends on, oldest first."""

BUNDLED = ("english",)
"""Names of the language models that are part of the package."""

MAGIC = b"EE-NGRAM"
VERSION = 1
_HEAD = struct.Struct("<8sIIII")
_COUNTS = struct.Struct("<II")
_CODES = 256
_BEGIN, _END, _UNKNOWN = ("<s>",), ("</s>",), ("<unk>", "<UNK>")


class Grams(NamedTuple):
    """The n-grams of one order, sorted by context, then by last word.

    words: (n,) ids of their last words, None for order 1, where row i is word i. log_probs: (n,)
    float32, natural logs. Of the contexts among them, which the highest order has none of:
    contexts: (c,) their rows, increasing; backoffs: (c,) float32, natural logs; begins: (c + 1,)
    where the n-grams of the next order that begin with them start and end.
    """

    words: Any
    log_probs: np.ndarray
    contexts: np.ndarray
    backoffs: np.ndarray
    begins: np.ndarray


class LanguageModel:
    """A word n-gram model. `read` gives one.

    words: by id. order: 1 for a model of single words, 3 for a 3-gram.
    """

    def __init__(self, words: Sequence[str], grams: Sequence[Grams]):
        self.words = tuple(words)
        self.grams = tuple(grams)
        # Python's bisect reads an element of a memoryview faster than one of an array.
        self._words = [None if g.words is None else g.words.data for g in grams]
        self._contexts = [g.contexts.data for g in grams]
        self._begins = [g.begins.data for g in grams]

    def __reduce__(self) -> tuple[Any, ...]:
        return LanguageModel, (self.words, self.grams)  # views of memory are nothing to be copied

    def __repr__(self) -> str:
        counts = ", ".join(str(len(g.log_probs)) for g in self.grams)
        return f"<LanguageModel of order {self.order}: {counts} n-grams>"

    @property
    def order(self) -> int:
        return len(self.grams)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by word."""
        return {word: id for id, word in enumerate(self.words)}

    def _marked(self, names: Iterable[str]) -> int | None:
        return next((self.ids[name] for name in names if name in self.ids), None)

    @cached_property
    def end(self) -> int | None:
        """Id of `</s>`, None where the model has none."""
        return self._marked(_END)

    @cached_property
    def unknown(self) -> int | None:
        """Id of `<unk>`, the words that the model does not know; None where it has none."""
        return self._marked(_UNKNOWN)

    @cached_property
    def start(self) -> State:
        """The context at the beginning of a sentence."""
        begin = self._marked(_BEGIN)
        return () if begin is None else self._longest((begin,))

    def score(self, state: State, word: int | None) -> tuple[float, State]:
        """(ln p(word | state), the context after it).

        state: as `start` or this function gave it. word: an id, None for a word without one, which
        has probability 0.
        """
        if word is None:
            return -np.inf, ()
        total, context = 0.0, state
        while (row := self._row(context, word)) is None:
            at = self._context(context)
            total += 0.0 if at is None else float(self.grams[len(context) - 1].backoffs[at])
            context = context[1:]
        total += float(self.grams[len(context)].log_probs[row])
        return total, self._longest((*state, word))

    def log_prob(self, words: Sequence[str]) -> float:
        """ln p of a sentence, its end included. words: unknown ones are `<unk>`."""
        total, state = 0.0, self.start
        for word in words:
            log_prob, state = self.score(state, self.ids.get(word, self.unknown))
            total += log_prob
        return total if self.end is None else total + self.score(state, self.end)[0]

    def _row(self, context: State, word: int) -> int | None:
        """The row of the n-gram `context` + `word` in its order."""
        if not context:
            return word
        at = self._context(context)
        if at is None or len(context) == self.order:
            return None
        begins, words = self._begins[len(context) - 1], self._words[len(context)]
        assert words is not None
        end = begins[at + 1]
        row = bisect_left(words, word, begins[at], end)
        return row if row < end and words[row] == word else None

    def _context(self, words: State) -> int | None:
        """The place of an n-gram among the contexts of its order."""
        row = self._row(words[:-1], words[-1])
        if row is None:
            return None
        contexts = self._contexts[len(words) - 1]
        at = bisect_left(contexts, row)
        return at if at < len(contexts) and contexts[at] == row else None

    def _longest(self, words: State) -> State:
        """The longest end of `words` that is a context."""
        words = words[max(0, len(words) - self.order + 1):]
        while words and self._context(words) is None:
            words = words[1:]
        return words


def read(path: str | os.PathLike[str]) -> LanguageModel:
    """A language model from ARPA text, plain or compressed by gzip, or from a packed file.

    path: "english" is the bundled one (docs/model-card.md); a file of that very name is
    "./english", or a Path.

    Raises FileError when the file cannot be opened, and LanguageModelError, saying what was
    expected and what was found, and in ARPA text at which line, for a file that is neither.
    """
    path = path_of(path)
    file, _size = open_regular(path)
    with file:
        if file.read(len(MAGIC)) == MAGIC:
            try:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:
                raise as_file_error(path, error) from error
            try:
                return _unpacked(data)
            except LanguageModelError as error:
                raise LanguageModelError(f"{path}: {error}") from None
    words, sections = arpa.read(path)
    return _sorted(path, words, sections)


def path_of(path: str | os.PathLike[str]) -> Path:
    """The file that `read` opens for this."""
    return Path(__file__).parents[1] / "assets" / f"{path}.lm" if path in BUNDLED else Path(path)


def _sorted(
    path: str | os.PathLike[str], words: list[str], sections: list[arpa.Section]
) -> LanguageModel:
    """The model of an ARPA file's sections."""
    lines = [section.first_line for section in sections]

    def wrong(order: int, row: int, message: str) -> LanguageModelError:
        gram = shown(" ".join(words[id] for id in sections[order - 1].ids[row]), 60)
        return LanguageModelError(f"{path}, line {lines[order - 1] + row}: {gram}: {message}")

    # Of each order: the row of its file of each row sorted; parents of the next order's n-grams.
    of_file = [np.arange(len(words))]
    keys: list[np.ndarray] = []
    parents: list[np.ndarray] = []
    for order, (ids, *_rest) in enumerate(sections[1:], 2):
        parent = ids[:, 0].astype(np.int64)
        for column, key in zip(range(1, order - 1), keys):
            wanted = parent * len(words) + ids[:, column]
            parent = np.searchsorted(key, wanted)
            lacking = (parent == len(key)) | (key[np.minimum(parent, len(key) - 1)] != wanted) \
                if len(key) else np.ones(len(wanted), bool)
            if lacking.any():
                raise wrong(order, int(lacking.argmax()),
                            f"expected its first {order - 1} words as an n-gram, found none")
        key = parent * len(words) + ids[:, -1]
        rows = np.argsort(key, kind="stable")
        key = key[rows]
        twice = np.flatnonzero(key[1:] == key[:-1])
        if len(twice):
            raise wrong(order, int(rows[twice[0] + 1]), "expected once, found twice")
        keys.append(key)
        parents.append(key // len(words))
        of_file.append(rows)
    grams = []
    for order, (section, rows) in enumerate(zip(sections, of_file), 1):
        begun = parents[order - 1] if order < len(sections) else np.zeros(0, np.int64)
        backoffs = section.backoffs[rows]
        contexts = np.union1d(begun, np.flatnonzero(np.nan_to_num(backoffs)))
        missing = np.isnan(backoffs[contexts])
        if missing.any():
            raise wrong(order, int(rows[contexts[missing][0]]),
                        f"expected a back-off weight, as it begins {order + 1}-grams, found none")
        grams.append(Grams(
            None if order == 1 else _ids(section.ids[rows, -1], len(words)),
            section.log_probs[rows], contexts.astype(np.uint32), backoffs[contexts],
            np.append(np.searchsorted(begun, contexts), len(begun)).astype(np.uint32)))
    return LanguageModel(words, grams)


def _id_type(words: int) -> str:
    return "<u2" if words <= 1 << 16 else "<u4"


def _ids(ids: np.ndarray, words: int) -> np.ndarray:
    return np.ascontiguousarray(ids, _id_type(words))


# The packed file


def write(
    path: str | os.PathLike[str],
    model: LanguageModel,
    quantise: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a packed file, which `read` maps. Raises FileError.

    quantise: keep one of 256 values for each probability, and for each back-off weight: a quarter
    of the size.
    """
    write_atomic(path, [packed(model, quantise)], overwrite)


def packed(model: LanguageModel, quantise: bool = False) -> bytes:
    """The bytes of a packed file."""
    text = "\n".join(model.words).encode()
    tables = [np.zeros(0, "<f4"), np.zeros(0, "<f4")]
    if quantise:
        tables = [_table(np.concatenate([g.log_probs for g in model.grams])),
                  _table(np.concatenate([g.backoffs for g in model.grams]))]
    data = bytearray(_HEAD.pack(MAGIC, VERSION, model.order, quantise, len(text)))
    for g in model.grams:
        data += _COUNTS.pack(len(g.log_probs), len(g.contexts))
    coded = (lambda values, table: _nearest(values, table)) if quantise else (
        lambda values, table: values.astype("<f4"))
    arrays = list(tables)
    for g in model.grams:
        arrays += [] if g.words is None else [g.words]
        arrays += [coded(g.log_probs, tables[0]), g.contexts, coded(g.backoffs, tables[1]),
                   g.begins]
    for array in (*arrays, np.frombuffer(text, np.uint8)):
        data += array.tobytes()
        data += bytes(-len(data) % 4)
    return bytes(data + struct.pack("<I", zlib.crc32(data)))


def _table(values: np.ndarray) -> np.ndarray:
    """256 values, increasing: medians of as many parts of equal size, or the values themselves."""
    levels = np.unique(values) if len(values) else np.zeros(1)
    if len(levels) > _CODES:
        parts = np.array_split(np.sort(values), _CODES)
        levels = np.unique([np.median(part) for part in parts])
    return np.concatenate([levels, np.full(_CODES - len(levels), levels[-1])]).astype("<f4")


def _nearest(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    return np.searchsorted(borders, values).astype(np.uint8)


def _unpacked(data: memoryview) -> LanguageModel:
    """The model of a packed file, its arrays views of `data` but for values that were quantised."""
    parts = _Parts(data)
    _magic, version, order, quantised, text_bytes = parts.struct(_HEAD)
    if version != VERSION:
        raise LanguageModelError(f"expected version {VERSION}, found {version}")
    if not 1 <= order <= arpa.MAX_ORDER or quantised > 1:
        raise LanguageModelError(f"expected an order of 1..{arpa.MAX_ORDER} and quantised 0 or 1, "
                                 f"found {order} and {quantised}")
    counts = [parts.struct(_COUNTS) for _ in range(order)]
    count = counts[0][0]
    if not 1 <= count <= arpa.MAX_WORDS:
        raise LanguageModelError(f"expected 1..{arpa.MAX_WORDS} words, found {count}")
    values = "u1" if quantised else "<f4"
    tables = [parts.array("<f4", _CODES if quantised else 0) for _ in range(2)]
    found = []
    for number, (rows, contexts) in enumerate(counts):
        words = None if number == 0 else parts.array(_id_type(count), rows)
        log_probs = parts.array(values, rows)
        places, backoffs = parts.array("<u4", contexts), parts.array(values, contexts)
        begins = parts.array("<u4", contexts + 1)
        if quantised:
            log_probs, backoffs = tables[0][log_probs], tables[1][backoffs]
        found.append(Grams(words, log_probs, places, backoffs, begins))
    text = bytes(parts.array("u1", text_bytes))
    parts.end()
    _check(found, count)
    try:
        words_found = text.decode().split("\n")
    except UnicodeDecodeError:
        raise LanguageModelError("expected words in UTF-8") from None
    if len(words_found) != count or len(set(words_found)) != count:
        raise LanguageModelError(f"expected {count} different words, found "
                                 f"{len(set(words_found))} of {len(words_found)}")
    return LanguageModel(words_found, found)


class _Parts:
    """The parts of a packed file, one after another, each from a multiple of four bytes on."""

    def __init__(self, data: memoryview):
        self._data, self._at = data, 0
        crc = int.from_bytes(data[-4:], "little")
        if len(data) < 4 or zlib.crc32(data[:-4]) != crc:
            raise LanguageModelError("expected a packed language model, found a checksum that "
                                     "does not fit: the file is cut or damaged")

    def _take(self, size: int) -> memoryview:
        left = len(self._data) - 4 - self._at
        if size > left:
            raise LanguageModelError(f"expected {size} more bytes at {self._at}, found {left}")
        begin, self._at = self._at, self._at + size + -size % 4
        return self._data[begin : begin + size]

    def struct(self, layout: struct.Struct) -> tuple:
        return layout.unpack(self._take(layout.size))

    def array(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self._take(count * np.dtype(dtype).itemsize), dtype)

    def end(self) -> None:
        if self._at != len(self._data) - 4:
            raise LanguageModelError(f"expected {self._at + 4} bytes, found {len(self._data)}")


def _check(grams: Sequence[Grams], words: int) -> None:
    """Raise LanguageModelError unless every index leads to something, and every search ends."""
    for order, g in enumerate(grams, 1):
        following = len(grams[order].log_probs) if order < len(grams) else 0
        sound: Iterator[bool] = (bool(np.all(test)) for test in (
            g.words is None or g.words < words,
            np.isfinite(g.log_probs) & (g.log_probs <= 0), np.isfinite(g.backoffs),
            g.contexts < len(g.log_probs), g.contexts[1:] > g.contexts[:-1],
            g.begins[0] == 0, g.begins[-1] == following, g.begins[1:] >= g.begins[:-1]))
        if not all(sound):
            raise LanguageModelError(f"expected sorted {order}-grams whose contexts lead to all "
                                     "longer ones, with finite values, found others")
