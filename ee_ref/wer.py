"""What error rates count: the fewest substitutions, insertions and deletions that turn one sequence
of words, or of characters, into another."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance of two sequences, every edit counted as one."""
    distances = list(range(len(hypothesis) + 1))
    for row, expected in enumerate(reference, start=1):
        diagonal, distances[0] = distances[0], row
        for column, found in enumerate(hypothesis, start=1):
            substituted = diagonal + (expected != found)
            diagonal = distances[column]
            distances[column] = min(substituted, diagonal + 1, distances[column - 1] + 1)
    return distances[-1]
