"""The phrase search of firmware (ee_phrases.h)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..checks import check_count, check_number
from ..decode.graph import MAX_N, PhraseGraph, checked_frames
from ._arrays import aligned
from ._lib import ensure, ffi, lib

_FLOATS = ffi.typeof("float[]")


class PhraseSearch:
    """`ee_ref.decode.graph.PhraseSearch`, with the same results to the byte."""

    def __init__(self, graph: PhraseGraph, n: int = 2, filler: float | None = None):
        check_count("n", n, 1, MAX_N)
        if filler is not None:
            check_number("filler", filler, 0, float(np.finfo(np.float32).max))
        self._graph = graph
        described, self._arrays = _described(graph)
        size = _size(described, n)
        self._arena = ffi.from_buffer(aligned(size, lib.EE_MEMORY_ALIGNMENT))
        opened = ffi.new("ee_phrase_search **")
        ensure(lib.ee_phrase_search_open(
            opened, described, n, -1.0 if filler is None else filler, self._arena, size))
        self._search = opened[0]
        self._found, self._count = ffi.new("ee_phrase[]", n), ffi.new("size_t *")

    def feed(self, log_probs: np.ndarray) -> None:
        """As of `ee_ref.decode.graph.PhraseSearch`."""
        rows = self._rows(log_probs)
        self._ensure(rows, lib.ee_phrase_search_feed(
            self._search, ffi.from_buffer(_FLOATS, rows), len(rows)))

    def finish(self) -> list[tuple[float, int]]:
        """As of `ee_ref.decode.graph.PhraseSearch`."""
        ensure(lib.ee_phrase_search_finish(self._search, self._found, self._count))
        return self._phrases()

    def all(self, log_probs: np.ndarray) -> list[tuple[float, int]]:
        """What feeding a whole recording to a new search, and finishing, gives, and quicker.

        What was fed before is forgotten.
        """
        rows = self._rows(log_probs)
        self._ensure(rows, lib.ee_phrase_search_all(
            self._search, ffi.from_buffer(_FLOATS, rows), len(rows), self._found, self._count))
        return self._phrases()

    def _rows(self, log_probs: np.ndarray) -> np.ndarray:
        """Of the right shape; C looks at the values, and Python only to say what is wrong."""
        rows = np.asarray(log_probs)
        if rows.ndim != 2 or rows.shape[1] != self._graph.vocab or rows.dtype.kind != "f":
            rows = checked_frames(rows, self._graph)
        return np.ascontiguousarray(rows, np.float32)

    def _ensure(self, rows: np.ndarray, status: int) -> None:
        if status < 0:
            checked_frames(rows, self._graph)
            ensure(status)

    def _phrases(self) -> list[tuple[float, int]]:
        return [(phrase.score, phrase.key) for phrase in self._found[0 : self._count[0]]]


def search(
    graph: PhraseGraph, log_probs: np.ndarray, n: int = 2, filler: float | None = None
) -> list[tuple[float, int]]:
    """`ee_ref.decode.graph.search`, with the same results to the byte."""
    return PhraseSearch(graph, n, filler).all(log_probs)


def arena_size(graph: PhraseGraph, n: int = 2) -> int:
    """Bytes of memory that a search takes, enough for 32- and 64-bit targets."""
    described, _arrays = _described(graph)
    return _size(described, n)


def _size(described, n: int) -> int:
    size = ffi.new("size_t *")
    ensure(lib.ee_phrase_search_size(described, n, size))
    return size[0]


@lru_cache(maxsize=8)
def _described(graph: PhraseGraph):
    """A graph as an `ee_phrase_graph *`, and the arrays that it leads to."""
    weights, weight = np.unique(graph.weight, return_inverse=True)
    arrays = {
        "first": graph.first.astype(np.uint16),
        "target": graph.target,
        "label": graph.label,
        "weight": weight.astype(np.uint16),
        "after_blank": np.packbits(graph.after_blank, bitorder="little"),
        "weights": weights,
        "finals": np.flatnonzero(graph.final).astype(np.uint16),
    }
    described = ffi.new("ee_phrase_graph *", {
        "vocab": graph.vocab, "blank": graph.blank, "states": graph.states, "arcs": graph.arcs,
        "weight_count": len(weights), "final_count": len(arrays["finals"]),
    })
    for name, array in arrays.items():
        pointer = ffi.from_buffer(f"uint{8 * array.itemsize}_t[]", array)
        if name in ("label", "weight"):
            getattr(described, name).wide = pointer
        else:
            setattr(described, name, pointer)
    return described, arrays
