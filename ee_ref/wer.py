"""Word error rate: the fewest substitutions, insertions and deletions per word of the reference."""

from __future__ import annotations

from collections.abc import Sequence


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Edit distance of two sequences of words, every edit counted as one."""
    distances = list(range(len(hypothesis) + 1))
    for row, expected in enumerate(reference, start=1):
        diagonal, distances[0] = distances[0], row
        for column, found in enumerate(hypothesis, start=1):
            substituted = diagonal + (expected != found)
            diagonal = distances[column]
            distances[column] = min(substituted, diagonal + 1, distances[column - 1] + 1)
    return distances[-1]
