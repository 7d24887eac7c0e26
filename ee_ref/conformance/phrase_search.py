"""Vectors of the op `phrase`: log-probabilities to sentences, the best one with its meaning."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..decode.graph import PhraseGraph, search
from ..phrases import Phrases, load
from ..phrases.packed import pack
from ..tokens import Tokens
from .draw import Stream
from .judge import EXACT, Bound
from .vector import Vector

TIER = "decision"
BOUND = Bound(EXACT, 0.0, "sums of float32 in one order, and integers")

LETTERS = ("<blank>", "▁", *string.ascii_uppercase)
PIECES = (*LETTERS, "▁T", "TH", "EE", "▁R", "OOM", "EN", "TY", *(f"<{i}>" for i in range(230)))
ROVER = """\
{way} = left | right -> starboard | room three -> bay | room -> nowhere
{n} = 0..30
move: [please] go {way} [{n} [times]]
turn: turn {way} {n}
{way} {n}
"""
PAIRS = "{a} = a | b\n{a} c\n{a} c c\n"
CONFIDENCE = (2.0, 1.0, 0.25, 0.5)


def phrase_vectors() -> Iterator[Vector]:
    """All of them; each brings its phrases."""
    rover, pairs = _loaded(ROVER), _loaded(PAIRS)
    letters, pieces = (Tokens(labels, frozenset({0}), 0) for labels in (LETTERS, PIECES))
    said = "GO ROOM THREE TWENTY TWO TIMES"
    spoken, wide = _spoken(LETTERS, said, 1), _spoken(PIECES, "LEFT TWO", 2)
    noise = Stream(3)(9, len(LETTERS), low=-9.0, high=0.0)
    ties = np.round(Stream(4)(40, len(LETTERS), low=-2.0, high=0.0)) * np.float32(4)
    hidden = np.where(Stream(5)(*spoken.shape) < -0.5, np.float32(-np.inf), spoken)
    hidden[:, 0] = spoken[:, 0]
    for name, phrases, tokens, log_probs, parameters in (
        ("spoken", rover, letters, spoken, {"n": 2}),
        ("spoken_one_best", rover, letters, spoken, {"n": 1}),
        ("spoken_eight_best", rover, letters, spoken, {"n": 8}),
        ("pieces_of_5_frames", rover, letters, spoken, {"n": 3, "piece": 5}),
        ("labels_of_16_bits", rover, pieces, wide, {"n": 3}),
        ("filler", rover, letters, np.concatenate([noise, spoken, noise]),
         {"n": 3, "filler": 5.0}),
        ("filler_in_pieces", rover, letters, np.concatenate([noise, spoken, noise]),
         {"n": 3, "filler": 5.0, "piece": 1}),
        ("filler_for_nothing", rover, letters, spoken, {"n": 3, "filler": 0.0}),
        ("no_phrase", rover, letters, Stream(6)(60, len(LETTERS), low=-9.0, high=0.0), {"n": 4}),
        ("ties", rover, letters, ties, {"n": 8}),
        ("minus_infinity", rover, letters, hidden, {"n": 4}),
        ("no_rows", rover, letters, spoken[:0], {"n": 2}),
        ("too_short_for_any", rover, letters, spoken[:3], {"n": 2}),
        ("turn", rover, letters, _spoken(LETTERS, "TURN LEFT ZERO", 7), {"n": 2}),
        ("no_intent", rover, letters, _spoken(LETTERS, "ROOM THIRTY", 8), {"n": 2}),
        ("most_words_of_a_list", rover, letters, _spoken(LETTERS, "GO ROOM THREE", 9), {"n": 2}),
        ("no_blank_between_letters", rover, letters,
         np.delete(_spoken(LETTERS, "GO ROOM THREE", 10), np.s_[2::3], 0), {"n": 2}),
        ("far_behind_at_first", _loaded("a c\nb d\n"), letters,
         _frames({"A": 0.0, "B": -25.0}, {"▁": 0.0}, {"C": -30.0, "D": 0.0}), {"n": 2}),
        ("ten_below", pairs, letters, _first_letter(-10.0, 0.0), {"n": 2}),
        ("a_bit_more_than_ten_below", pairs, letters,
         _first_letter(float(np.nextafter(np.float32(-10), np.float32(-11))), 0.0), {"n": 2}),
        ("at_the_limit", pairs, letters, _far_behind(-32.75), {"n": 2}),
        ("a_bit_below_the_limit", pairs, letters,
         _far_behind(float(np.nextafter(np.float32(-32.75), np.float32(-33)))), {"n": 2}),
        ("at_the_limit_with_filler", pairs, letters, _far_behind(-42.75),
         {"n": 2, "filler": 10.0}),
        ("apart_by_little", pairs, letters, _first_letter(-(2.0**-30), 0.0), {"n": 2}),
        ("equal_by_rounding", pairs, letters, _first_letter(-(2.0**-30), 0.0, -16.0), {"n": 2}),
        ("equal_when_flushed", pairs, letters, _first_letter(-(2.0**-60), 0.0), {"n": 2}),
    ):
        graph = phrases.compile(tokens)
        section = np.frombuffer(pack(phrases, graph, CONFIDENCE), np.int8)
        expected = _expected(phrases, graph, log_probs, parameters)
        yield Vector(
            f"{TIER}/phrase/{name}", TIER, "phrase", {"section": section, "log_probs": log_probs},
            expected, dict.fromkeys(expected, BOUND), parameters)


def _loaded(text: str) -> Phrases:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.phrases"
        path.write_text(text, encoding="utf-8")
        return load(path)


def _spoken(labels: tuple[str, ...], sentence: str, seed: int) -> np.ndarray:
    """(T, V): two frames a letter and a blank after it, all others less probable."""
    spelled = [labels.index("▁" if letter == " " else letter) for letter in sentence]
    frames = [label for letter in spelled for label in (letter, letter, 0)]
    log_probs = Stream(seed)(len(frames), len(labels), low=-6.0, high=-1.0)
    log_probs[np.arange(len(frames)), frames] = Stream(seed + 100)(len(frames), low=-1.0, high=0.0)
    return log_probs


def _frames(*frames: dict[str, float]) -> np.ndarray:
    """Log-probabilities of labels; those of others are far below."""
    log_probs = np.full((len(frames), len(LETTERS)), -90, np.float32)
    for row, labels in zip(log_probs, frames):
        for label, log_prob in labels.items():
            row[LETTERS.index(label)] = log_prob
    return log_probs


def _first_letter(a: float, b: float, then: float = 0.0) -> np.ndarray:
    """A or B, and a space and C for `then` each, where a blank would cost nothing."""
    return _frames({"A": a, "B": b}, {"<blank>": 0.0, "▁": then}, {"<blank>": 0.0, "C": then})


def _far_behind(a: float) -> np.ndarray:
    """A, a space and C, where something else than A is more probable."""
    return _frames({"Z": 0.0, "A": a}, {"▁": 0.0}, {"C": 0.0})


def _expected(
    phrases: Phrases, graph: PhraseGraph, log_probs: np.ndarray, parameters: dict[str, Any]
) -> dict[str, np.ndarray]:
    found = search(graph, log_probs, parameters["n"], parameters.get("filler"))
    key = np.array([key for _, key in found], np.uint64).astype("<u8").view("<i4")
    expected = {"score": np.array([score for score, _ in found], np.float32),
                "key": key.reshape(-1, 2).astype(np.int32)}
    if found:
        words = phrases.sentence(found[0][1])
        intent, slots = phrases.meaning(words)
        lines = [intent or "", *(f"{name}={value}" for name, value in slots.items())]
        for name, text in (("text", " ".join(words)),
                           ("meaning", "".join(f"{line}\n" for line in lines))):
            expected[name] = np.frombuffer(text.encode(), np.int8)
    return expected
