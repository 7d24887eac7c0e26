"""The options that choose a depth, shared by the commands that run a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..exits import AnyPolicy
    from ..model import Model

_RULES = "entropy, posterior, patience, or another score of docs/exits.md"


ALL = "all"


def add_arguments(parser: argparse.ArgumentParser, or_all: bool = False) -> None:
    """--exit or --policy with its --threshold, --deadline, --floor, --ceiling.

    or_all: `--exit all` is possible too; what it means is the command's business.
    """
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--exit", type=_exit_or_all if or_all else int, metavar="N",
                       help="stop at exit N" + "; all: no policy, every exit" * or_all)
    depth.add_argument(
        "--policy", metavar="P",
        help="let the utterance choose: fast, balanced, accurate or phrases in a calibrated model "
        "(default: phrases with --phrases, for ee-ref listen stream, else balanced, or the last "
        f"exit), or with --threshold a rule: {_RULES}")
    parser.add_argument("--threshold", type=float, metavar="X", help="threshold of --policy")
    parser.add_argument("--deadline", type=float, metavar="S",
                        help="also stop early enough to give a result within S seconds, e.g. 0.03")
    parser.add_argument("--floor", type=int, metavar="N", help="never stop before exit N")
    parser.add_argument("--ceiling", type=int, metavar="N", help="always stop at exit N")


def _exit_or_all(text: str) -> int | str:
    return ALL if text == ALL else int(text)


def policy_of(args: argparse.Namespace, model: Model, stream: bool = False) -> AnyPolicy:
    """The policy that the options ask for, of a stream or not.

    Raises ArgumentError naming the option.
    """
    return _limited(args, model.config.exits, lambda: model.policy(
        args.exit, None if args.policy is None else _named(args, model.policies),
        args.phrases is not None, stream))


def policy_of_points(args: argparse.Namespace, count: int, known: Mapping[str, AnyPolicy]
                     ) -> AnyPolicy | None:
    """The same where operating points are known without a model, of so many exits; balanced is the
    default here too. None for `--exit all`, or where there is nothing to go by."""
    from .. import exits
    from ..model import DEFAULT_POLICY

    def chosen() -> AnyPolicy:
        if args.exit is not None:
            return exits.Fixed(args.exit)
        named = DEFAULT_POLICY if args.policy is None else _named(args, known)
        return known[named] if isinstance(named, str) else named

    if args.exit == ALL or (args.exit is None and args.policy is None
                            and DEFAULT_POLICY not in known):
        for name in ("threshold", "floor", "ceiling"):
            if (value := getattr(args, name)) is not None:
                raise ArgumentError(f"--{name} {value:g} needs --policy P")
        return None
    return _limited(args, count, chosen)


def _limited(args: argparse.Namespace, count: int, chosen: Callable[[], AnyPolicy]) -> AnyPolicy:
    """What is chosen, within the floor, ceiling and deadline that the options ask for."""
    from .. import exits

    for name in ("exit", "floor", "ceiling"):
        number = getattr(args, name)
        if number is not None and not 1 <= number <= count:
            raise ArgumentError(f"--{name} {number}: expected 1..{count}")
    policy = chosen()
    if args.policy is None and args.threshold is not None:
        raise ArgumentError(f"--threshold {args.threshold} needs --policy P")
    if args.floor is not None or args.ceiling is not None:
        policy = exits.Within(policy, args.floor or 1, args.ceiling)
    if args.deadline is not None:
        policy = exits.FirstOf(exits.Deadline(args.deadline), policy)
    return policy


def _named(args: argparse.Namespace, points: Mapping[str, AnyPolicy]) -> AnyPolicy | str:
    """The rule of that name, or the name itself of one of the operating points."""
    from ..exits.policy import named, rule_names

    name, threshold = args.policy, args.threshold
    if name in points:
        if threshold is not None:
            raise ArgumentError(f"--policy {name} has its own thresholds; found --threshold")
        return name
    if name not in rule_names():
        known = ", ".join((*points, *rule_names()))
        raise ArgumentError(f"--policy {name}: expected one of {known}")
    if threshold is None:
        raise ArgumentError(f"--policy {name} needs --threshold X")
    return named(name, threshold)
