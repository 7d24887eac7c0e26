"""Phrases of a flash image as firmware reads them (ee_phrases.h)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ee_ref.native._arrays import aligned, pointer
from ee_ref.native._lib import ensure, ffi, lib


class NativePhrases:
    """A section of `ee_ref.phrases.packed.pack`, in memory of just its size.

    Raises ArgumentError for what is none.
    """

    def __init__(self, section: bytes):
        self._section = aligned(len(section), lib.EE_MEMORY_ALIGNMENT)
        self._section[:] = np.frombuffer(section, np.uint8)
        self.opened = ffi.new("ee_phrases *")
        ensure(lib.ee_phrases_open(self.opened, ffi.from_buffer(self._section), len(section)))

    def _words(self, number: int, capacity: int = 255):
        words, count = ffi.new("uint16_t[]", capacity), ffi.new("size_t *")
        ensure(lib.ee_phrases_sentence(self.opened, number, words, capacity, count))
        return words, count[0]

    def sentence(self, number: int, capacity: int = 255) -> list[str]:
        """The words of a sentence."""
        words, count = self._words(number, capacity)
        return [self._string(word) for word in words[0:count]]

    def letters(self, number: int) -> int:
        return lib.ee_phrases_letters(self.opened, *self._words(number))

    def text(self, number: int, capacity: int = 1024) -> tuple[int, str, int]:
        """(status, text, length) of `ee_phrases_text`."""
        words, count = self._words(number)
        text, length = ffi.new("char[]", capacity + 1), ffi.new("size_t *")
        text[capacity] = b"\x7f"
        status = lib.ee_phrases_text(text, capacity, length, self.opened, words, count)
        assert text[capacity] == b"\x7f"
        return status, ffi.string(text, capacity).decode(), length[0]

    def meaning(self, number: int) -> tuple[str | None, dict[str, str]]:
        """`Phrases.meaning` of a sentence, all values as text."""
        words, count = self._words(number)
        size, meaning = ffi.new("size_t *"), ffi.new("ee_phrase_meaning *")
        ensure(lib.ee_phrases_meaning_size(self.opened, count, size))
        memory = ffi.from_buffer(np.empty(size[0], np.uint8))
        ensure(lib.ee_phrases_meaning(meaning, self.opened, words, count, memory, size[0]))
        slots = {self._string(meaning.slot[i]): self._string(meaning.value[i])
                 for i in range(meaning.slots)}
        none = meaning.intent == lib.EE_PHRASES_NONE
        return None if none else self._string(meaning.intent), slots

    def search(self, log_probs: np.ndarray, n: int = 2) -> Sequence[tuple[float, int]]:
        """`ee_ref.decode.graph.search` in an arena of just the size planned."""
        graph = ffi.addressof(self.opened.graph)
        size, opened = ffi.new("size_t *"), ffi.new("ee_phrase_search **")
        ensure(lib.ee_phrase_search_size(graph, n, size))
        arena = aligned(size[0], lib.EE_MEMORY_ALIGNMENT)
        ensure(lib.ee_phrase_search_open(opened, graph, n, -1.0, ffi.from_buffer(arena), size[0]))
        found, count = ffi.new("ee_phrase[]", n), ffi.new("size_t *")
        ensure(lib.ee_phrase_search_all(
            opened[0], pointer(log_probs), len(log_probs), found, count))
        return [(phrase.score, phrase.key) for phrase in found[0 : count[0]]]

    def _string(self, number: int) -> str:
        return ffi.string(lib.ee_phrases_string(self.opened, number)).decode()
