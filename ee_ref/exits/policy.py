"""What a policy is, and the course of one utterance under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from ..errors import ArgumentError
from .attention import Attention
from .scores import Scores
from .utterance import ExitLike, Heard, Observation, Utterance


class Decision(NamedTuple):
    """What a rule says at an exit.

    stop: whether to stop there. score: why. margin: how far the score lies on the stopping side of
    the threshold, in the score's own unit; stop means margin >= 0. Near zero, rounding could have
    turned the decision. NaN where a rule has no threshold.
    Of n utterances at once each may be an array (n,).
    """

    stop: bool
    score: float
    margin: float = math.nan


def judged(score: float, margin: float) -> Decision:
    """Stop where margin >= 0."""
    return Decision(margin >= 0, score, margin)


class Policy(Protocol):
    """A rule that picks the exit of an utterance.

    It may have an attribute `needs_scores`: False says that it never looks at `Observation.scores`,
    which are then not measured; and `needs_phrases`: True says that it looks at
    `Observation.phrase`.
    """

    def decide(self, at: Observation, state: Any, /) -> tuple[Decision, Any]:
        """(decision at this exit, state for the next one): a function of nothing but its arguments.

        It is asked at every exit on the way, in order. state: what it gave at the exit before, None
        at the first.
        """
        ...


class Function(Protocol):
    """The short way to write a policy that remembers nothing."""

    def __call__(self, out: Observation, /) -> Decision | tuple[bool, float]:
        """A `Decision`, or (stop, score)."""
        ...


AnyPolicy = Policy | Function
"""What is taken where a policy is asked for."""

KINDS: dict[str, type[Rule]] = {}
"""The rules of this package by the name that a model file stores them under."""


class Rule:
    """A policy of this package. A subclass declares all that the rest of the package asks of it.

    kind: its name in a model file. needs_scores, needs_phrases: see `Policy`. names: the names by
    which a rule can be made from one number, as by `ee-ref transcribe --policy NAME --threshold X`.
    asks: scores that every one of `candidates` looks at.
    deepest: the deepest exit that its arguments name, 0 for none.
    """

    kind: ClassVar[str]
    names: ClassVar[Sequence[str]] = ()
    asks: ClassVar[Sequence[str]] = ()

    @property
    def needs_scores(self) -> bool:
        return True

    @property
    def needs_phrases(self) -> bool:
        return False

    @property
    def deepest(self) -> int:
        return 0

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind is not None:
            cls.kind = kind
            KINDS[kind] = cls

    def decide(self, at: Observation, state: Any = None) -> tuple[Decision, Any]:
        """See `Policy.decide`."""
        raise NotImplementedError

    def __call__(self, out: ExitLike) -> Decision:
        """The decision at one exit by itself, as at a first one of a model whose blank is 0."""
        return Course(self, Utterance())(out)

    @classmethod
    def named(cls, name: str, number: float) -> Rule:
        """The rule that one of `names` and a number ask for."""
        return cls(number)  # type: ignore[call-arg]  # that of the subclass

    @classmethod
    def candidates(cls, exits: int) -> Sequence[Rule]:
        """The rules of this kind that calibration picks from, the deepest first; () for none."""
        return ()

    @classmethod
    def of_plain(cls, **fields: Any) -> Rule:
        """The rule of these fields, as a model file has them."""
        return cls(**fields)


def named(name: str, number: float) -> Rule:
    """The rule of a name in `rule_names()` with this threshold. Raises ArgumentError."""
    for cls in KINDS.values():
        if name in cls.names:
            return cls.named(name, number)
    raise ArgumentError(f"policy: expected one of {', '.join(rule_names())}, found {name!r}")


def rule_names() -> tuple[str, ...]:
    """What `named` takes."""
    return tuple(name for cls in KINDS.values() for name in cls.names)


class _OfFunction:
    """A `Function` as a policy."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def decide(self, at: Observation, state: None = None) -> tuple[Decision, None]:
        return Decision(*self._function(at)), None


def as_policy(policy: AnyPolicy) -> Policy:
    """The policy itself, or one that asks a function. Raises ArgumentError for anything else."""
    if hasattr(policy, "decide"):
        return cast(Policy, policy)
    if not callable(policy):
        raise ArgumentError("policy: expected an object with decide(at, state) or a function of an "
                            f"exit, found {policy!r:.80}")
    return _OfFunction(policy)


def needs_scores(policy: AnyPolicy) -> bool:
    """Whether the policy may look at scores."""
    return getattr(policy, "needs_scores", True)


def needs_phrases(policy: AnyPolicy) -> bool:
    """Whether the policy looks at phrases."""
    return getattr(policy, "needs_phrases", False)


def require_phrases(policy: AnyPolicy, given: bool) -> None:
    """Raise ArgumentError for a policy that looks at phrases where there are none."""
    if needs_phrases(policy) and not given:
        raise ArgumentError(f"policy: {policy!r:.80} goes by phrases: expected phrases, found none")


class Course:
    """One utterance under a policy: called with each exit, in order, it gives the `Decision`.

    measured: scores and alignment of the last exit (`measure`), None for a policy that needs none.
    heard: what was found there of the phrases that may be said, None for a policy that asks for
    none. attended: what the attention decoder of the last exit says, None without one. Raises
    ArgumentError for a policy that needs phrases where the utterance has none.
    """

    def __init__(self, policy: AnyPolicy, utterance: Utterance, measures: bool = False) -> None:
        """measures: also for a policy that needs no scores."""
        self.measured: tuple[Scores, Any] | None = None
        self._policy, self._utterance, self._state = as_policy(policy), utterance, None
        self._measures = measures or needs_scores(policy)
        self.heard: Heard | None = None
        self.attended: Attention | None = None
        self._hear = utterance.hear if needs_phrases(policy) else None
        require_phrases(policy, utterance.hear is not None)

    def __call__(self, out: ExitLike) -> Decision:
        scores: Any = None  # a policy that needs none does not look
        if self._measures:
            before = self.measured and self.measured[1]
            self.measured = self._utterance.measure(out.log_probs, self._utterance.blank, before)
            scores = self.measured[0]
        if self._hear is not None:
            self.heard = self._hear(out.log_probs)
        if self._utterance.attend is not None:
            self.attended = self._utterance.attend(out)
        phrase = None if self.heard is None else self.heard.scores
        (stop, score, margin), self._state = self._policy.decide(
            Observation(out.exit, out.log_probs, scores, self._utterance, phrase, self.attended),
            self._state)
        return Decision(bool(stop), float(score), float(margin))
