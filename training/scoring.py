"""The nearest word of a list, and the test strings made of several recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ee_ref.evaluation.scoring import edit_distance


def nearest(word: str, words: Sequence[str]) -> str:
    """The word of a list that takes the fewest edits; the first one of several."""
    return min(words, key=lambda other: edit_distance(word, other))


def strings_of_three(
    lines: Sequence[dict[str, Any]], count: int, seed: int
) -> list[list[dict[str, Any]]]:
    """`count` lists of three manifest lines of one speaker, drawn with a fixed seed."""
    by_speaker = {}
    for line in lines:
        by_speaker.setdefault(line["speaker"], []).append(line)
    speakers = sorted(speaker for speaker, own in by_speaker.items() if len(own) >= 3)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        own = by_speaker[speakers[rng.integers(len(speakers))]]
        drawn.append([own[number] for number in rng.choice(len(own), 3, replace=False)])
    return drawn
