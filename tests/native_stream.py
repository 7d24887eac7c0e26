"""Streams of the C library (ee_stream.h), as Python sees them."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

import ee_ref
from ee_ref.exits import Entropy, Fixed
from ee_ref.native._arrays import aligned
from ee_ref.native._frontend import NativeFrontEnd
from ee_ref.native._lib import ensure, ffi, lib
from ee_ref.phrases import packed
from ee_ref.stream import Chunks, Endpoint, Windows
from ee_ref.tokens import BOUNDARY


class Said(NamedTuple):
    """An event of C. Times are in samples; words: (word, start, end, confidence)."""

    final: bool
    text: str
    words: tuple[tuple[str, int, int, float], ...]
    exit: int
    start: int
    end: int
    confidence: float
    endpoint: bool
    intent: str | None
    slots: dict[str, str]


class Rows(NamedTuple):
    """Final rows, and their exit: 0, and no log-probabilities, outside of runs."""

    first: int
    exit: int
    count: int
    log_probs: bytes


class NativeStream:
    """`Model.stream` of the C library; the model's backend is native.

    events, rows: what the stream has given so far. memory: the arena. beyond: so many bytes behind
    it, all 0xA5.
    """

    def __init__(self, model: ee_ref.Model, view: Windows | Chunks, policy: Fixed | Entropy,
                 endpoint: Endpoint, phrases: Any = None, filler: float | None = None,
                 confidence: Any = None, beyond: int = 0) -> None:
        config = model.config
        self.events: list[Said] = []
        self.rows: list[Rows] = []
        encoder = model.encoder_of(view)
        tensors = model.file.tensors
        front = NativeFrontEnd(config, tensors.get("frontend.mean"), tensors.get("frontend.scale"))
        spellings = [text.replace(BOUNDARY, " ").encode() for text in model.tokens.spellings]
        text = ffi.new("char[]", b"".join(spellings))
        ends = ffi.new("uint32_t[]", np.cumsum([len(s) for s in spellings]).tolist())
        labels = ffi.new("ee_labels *", {"vocab": config.vocab, "ends": ends, "text": text})
        heard = ffi.callback("ee_stream_heard", self._heard)
        rows = ffi.callback("ee_stream_rows", self._rows)
        self.config = c = ffi.new("ee_stream_config *")
        c.model, c.frontend, c.labels, c.blank = (
            encoder.handle, front.handle, labels, config.blank)
        if isinstance(view, Windows):
            c.left, c.hop, c.ahead = view.left, view.hop, view.ahead
        c.before = 0 if endpoint.before is None else self._count(config, endpoint.before)
        c.after = self._count(config, endpoint.after)
        c.longest = self._count(config, endpoint.longest)
        c.policy.kind = lib.EE_POLICY_FIXED
        if isinstance(policy, Fixed):
            c.policy.exit = policy.n
        else:
            c.policy.kind, c.policy.threshold = lib.EE_POLICY_ENTROPY, policy.threshold
        c.heard, c.rows, c.filler = heard, rows, -1.0 if filler is None else filler
        self._section: Any = None
        if phrases is not None:
            section = packed.pack(phrases, phrases.compile(model.tokens),
                                  dataclasses.astuple(confidence))
            memory = aligned(len(section), lib.EE_MEMORY_ALIGNMENT)
            memory[:] = np.frombuffer(section, memory.dtype)
            self._section = ffi.new("ee_phrases *")
            ensure(lib.ee_phrases_open(self._section, ffi.from_buffer(memory), len(section)))
            c.phrases = self._section
            self._kept_section = memory
        self._kept = model, encoder, front, text, ends, labels, heard, rows
        size = ffi.new("size_t *")
        ensure(lib.ee_stream_size(c, size))
        memory = aligned(size[0] + beyond, lib.EE_MEMORY_ALIGNMENT)
        memory[:] = 0xA5
        self.memory, self.beyond = memory[: size[0]], memory[size[0] :]
        self.open()

    def open(self) -> None:
        """Begin, or begin again, by `config`."""
        opened = ffi.new("ee_stream **")
        ensure(lib.ee_stream_open(opened, self.config, ffi.from_buffer(self.memory),
                                  len(self.memory)))
        self.handle = opened[0]

    @staticmethod
    def _count(config: Any, seconds: float) -> int:
        return max(1, int(seconds / config.frame_seconds + 0.5))

    def feed(self, samples: np.ndarray) -> int:
        """The status."""
        samples = np.ascontiguousarray(samples)
        if samples.dtype == np.int16:
            return lib.ee_stream_feed_s16(
                self.handle, ffi.from_buffer("int16_t[]", samples), len(samples))
        return lib.ee_stream_feed_f32(
            self.handle, ffi.from_buffer("float[]", samples), len(samples))

    def finish(self) -> int:
        return lib.ee_stream_finish(self.handle)

    def _heard(self, _context, event) -> None:
        text = ffi.string(event.text)
        assert len(text) == event.bytes
        words = tuple(
            (text[w.first : w.first + w.bytes].decode(), w.start, w.end, w.confidence)
            for w in event.words[0 : event.count])
        intent, slots = None, {}
        if event.accepted and event.meaning.intent != lib.EE_PHRASES_NONE:
            meaning = event.meaning
            intent = self._named(meaning.intent)
            slots = {self._named(meaning.slot[i]): self._named(meaning.value[i])
                     for i in range(meaning.slots)}
        self.events.append(Said(
            bool(event.final), text.decode(), words, event.exit, event.start, event.end,
            event.confidence, bool(event.endpoint), intent, slots))

    def _named(self, number: int) -> str:
        return ffi.string(lib.ee_phrases_string(self._section, number)).decode()

    def _rows(self, _context, rows) -> None:
        data = b"" if rows.exit == 0 else bytes(
            ffi.buffer(rows.data, 4 * rows.rows * rows.columns))
        self.rows.append(Rows(rows.first, rows.exit, rows.rows, data))
