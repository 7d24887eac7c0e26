"""Time spent by stage."""

from __future__ import annotations

import time
from collections.abc import Callable


class StageClock:
    """Seconds spent in each stage; a stage visited twice adds up.

    now: what tells the time, in seconds: `time.perf_counter`, or `time.thread_time` for the CPU
    time of the calling thread alone. started: when it was made.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.started = self._last = now()
        self._seconds: dict[str, float] = {}

    def lap(self, stage: str) -> float:
        """Count the time since the last lap as `stage`; returns it."""
        now = self._now()
        spent, self._last = now - self._last, now
        self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
        return spent

    def timing(self) -> dict[str, float]:
        """Seconds by stage, and their total."""
        return {**self._seconds, "total": self._last - self.started}
