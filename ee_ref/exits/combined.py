"""Rules made of other rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_count
from ..errors import ArgumentError
from .policy import AnyPolicy, Decision, Rule, as_policy, needs_phrases, needs_scores
from .utterance import Observation


class _Combined(Rule):
    """A rule that asks others, all of them at every exit: they may count exits."""

    @property
    def inner(self) -> tuple[AnyPolicy, ...]:
        raise NotImplementedError

    @property
    def needs_scores(self) -> bool:
        return any(map(needs_scores, self.inner))

    @property
    def needs_phrases(self) -> bool:
        return any(map(needs_phrases, self.inner))

    @property
    def deepest(self) -> int:
        return max(getattr(policy, "deepest", 0) for policy in self.inner)


@dataclass(frozen=True)
class Within(_Combined, kind="within"):
    """`policy` with a floor and a ceiling: never before exit `floor`, always at exit `ceiling`.

    Score and margin are those of `policy`; at the ceiling the margin may be negative.
    """

    policy: AnyPolicy
    floor: int = 1
    ceiling: int | None = None

    def __post_init__(self) -> None:
        as_policy(self.policy)
        check_count("floor", self.floor, 1)
        if self.ceiling is not None:
            check_count("ceiling", self.ceiling, self.floor)

    @property
    def inner(self) -> tuple[AnyPolicy, ...]:
        return (self.policy,)

    def decide(self, at: Observation, state: Any = None) -> tuple[Decision, Any]:
        decision, state = as_policy(self.policy).decide(at, state)
        at_ceiling = self.ceiling is not None and at.exit >= self.ceiling
        stop = at_ceiling or (at.exit >= self.floor and decision.stop)
        return decision._replace(stop=stop), state


@dataclass(frozen=True)
class FirstOf(_Combined, kind="first_of"):
    """Stop when any of several policies says so: `FirstOf(Learned(...), Deadline(0.02))`.

    Score and margin are those of the first one that says stop, or of the first.
    """

    policies: tuple[AnyPolicy, ...]

    def __init__(self, *policies: AnyPolicy) -> None:
        if not policies:
            raise ArgumentError("policies: expected one or more, found none")
        for policy in policies:
            as_policy(policy)
        object.__setattr__(self, "policies", policies)

    @property
    def inner(self) -> tuple[AnyPolicy, ...]:
        return self.policies

    def decide(self, at: Observation, state: Any = None) -> tuple[Decision, Any]:
        states = state or (None,) * len(self.policies)
        decisions, states = zip(*(as_policy(policy).decide(at, before)
                                  for policy, before in zip(self.policies, states)))
        chosen = decisions[0]
        for decision in reversed(decisions):
            if isinstance(decision.stop, np.ndarray):
                chosen = Decision(*(np.where(decision.stop, new, old)
                                    for new, old in zip(decision, chosen)))
            elif decision.stop:
                chosen = decision
        return chosen, states

    @classmethod
    def of_plain(cls, policies: list[AnyPolicy]) -> Rule:  # type: ignore[override]  # by name
        return cls(*policies)
