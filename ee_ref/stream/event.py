"""What a stream says."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..tokens import Word


@dataclass(frozen=True)
class Event:
    """Words that a stream has heard.

    final: whether they stay; otherwise they replace those of the event before that was not final.
    text: the words, separated by spaces. words: `Word(word, start, end, confidence)`, times in
    seconds since the beginning of the stream. exit: the deepest exit that they come from, 0 for an
    utterance without any. start, end: of the words, or of the endpoint where there are none.
    confidence: least word confidence, 1.0 without words; that of the best phrase, where phrases
    were given. endpoint: whether this ends an utterance. intent, slots: what the phrase means
    (`Phrases.meaning`); None and {} without an accepted one.
    """

    final: bool
    text: str
    words: tuple[Word, ...]
    exit: int
    start: float
    end: float
    confidence: float = 1.0
    endpoint: bool = False
    intent: str | None = None
    slots: dict[str, str | int] = field(default_factory=dict)
