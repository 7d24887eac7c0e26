"""A rule that goes by the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_number
from ..errors import ArgumentError
from .policy import Decision, Rule, judged
from .utterance import Observation

Float = float | np.float32

LONGEST = 10
"""Seconds that a deadline may be set to: milliseconds, given by mistake, are more."""


@dataclass(frozen=True)
class Deadline(Rule, kind="deadline"):
    """Stop when the next group would not be done in time; exit 1 is always computed.

    seconds: the time allowed from the call of `transcribe` to its result, at most 10; `reserve`,
    also in seconds, is kept back for decoding. The time that the next group will take is predicted
    from its multiply-accumulates, at the slowest rate of this utterance's groups so far, times
    `safety`. Where costs are unknown, all groups count as equal. score = margin = the seconds by
    which the next group would be late: 0 or more means stop. The arithmetic is float32, that of
    ee_deadline_stop.
    """

    seconds: float
    safety: float = 1.25
    reserve: float = 0.001
    needs_scores = False

    def __post_init__(self) -> None:
        check_number("safety", self.safety, 1)
        for name in ("seconds", "reserve"):
            number = getattr(self, name)
            check_number(name, number, 0)
            if number > LONGEST:
                raise ArgumentError(f"{name}: expected seconds, at most {LONGEST}, found "
                                    f"{number:g}: of milliseconds, write {number / 1000:g}")

    def decide(self, at: Observation, state: tuple[float, Float] | None = None
               ) -> tuple[Decision, tuple[float, Float]]:
        utterance = at.utterance
        now = utterance.clock()
        before, rate = state or (utterance.encoder_started, 0.0)
        rate, missing = deadline_stop(
            self, now - utterance.started, now - before, *_work(utterance.costs, at.exit), rate)
        return judged(float(missing), float(missing)), (now, rate)

    @classmethod
    def of_plain(cls, **fields: Any) -> Rule:
        """Fields of 0.1 files before seconds: `milliseconds`, and a reserve in these too."""
        if "milliseconds" not in fields:
            return cls(**fields)
        if "reserve" in fields:
            fields["reserve"] /= 1000
        return cls(fields.pop("milliseconds") / 1000, **fields)


def deadline_stop(
    deadline: Deadline, elapsed: Float, group: Float, cost: Float, next_cost: Float, rate: Float
) -> tuple[Float, Float]:
    """(rate, seconds that would be missing) after a group; `ee_deadline_stop` in NumPy.

    elapsed: since the call; group: of the group just done; cost, next_cost: of that group and the
    next; rate: the slowest so far, 0 before the first. All as float32. A group that costs nothing,
    as without frames, says nothing of the rate.
    """
    elapsed, group, cost, next_cost, rate, limit, safety, reserve = map(np.float32, (
        elapsed, group, cost, next_cost, rate, deadline.seconds, deadline.safety,
        deadline.reserve))
    if cost > 0:
        rate = max(rate, group / cost)
    return rate, ((elapsed + (rate * next_cost) * safety) + reserve) - limit


def _work(costs: tuple[float, ...], exit: int) -> tuple[float, float]:
    """Cost of the group of an exit and of the next, 0 past the last; 1 and 1 where unknown."""
    if not costs:
        return 1.0, 1.0
    upto = (0, *costs, costs[-1])
    return upto[exit] - upto[exit - 1], upto[exit + 1] - upto[exit]
