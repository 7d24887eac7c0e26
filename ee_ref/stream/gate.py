"""What is louder than the background, by rows: what the encoder hears, in runs, and what not."""

from __future__ import annotations

LEAST_POWER = 64
"""Of a value of 16 bits, on average: what is not above is silence (-72 dB of full scale)."""
BLOCK_ROWS = 64
"""The floor is the least power of a row that is no silence, in the last block of so many rows and
since: what became quieter is known at once, what became louder in 5 s at most, at 25 rows a
second."""
OVER_FLOOR = 2
"""A row is loud above so many times the floor: 3 dB."""
ROWS_BESIDE = 5
"""Rows that a run has before its first loud one, and behind its last."""
ROWS_QUIET = 18
"""Rows without a loud one that end a run."""


class Gate:
    """Says of each row whether it is loud. row_values: values of the signal in a row."""

    def __init__(self, row_values: int) -> None:
        self._least = LEAST_POWER * row_values
        self._complete = 0  # the least power of the last complete block; 0 for one of silence
        self._lowest, self._rows = 0, 0  # the same of the block that is not complete

    def __call__(self, power: int) -> bool:
        """Whether the next row, of this power, is loud."""
        if power > self._least:  # silence says nothing of a background
            self._lowest = min(self._lowest or power, power)
        floor = min(self._complete, self._lowest or self._complete)
        self._rows += 1
        if self._rows == BLOCK_ROWS:
            self._complete, self._lowest, self._rows = self._lowest, 0, 0
        return power > max(self._least, OVER_FLOOR * floor)
