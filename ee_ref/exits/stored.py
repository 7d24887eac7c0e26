"""Policies as plain data, as a model file stores them: {"kind": "learned", "weights": ...}."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..errors import ArgumentError, shown
from . import policies

KINDS = {
    "fixed": policies.Fixed, "entropy": policies.Entropy, "posterior": policies.Posterior,
    "threshold": policies.Threshold, "learned": policies.Learned, "patience": policies.Patience,
    "deadline": policies.Deadline, "budget": policies.Budget, "within": policies.Within,
    "first_of": policies.FirstOf,
}
MAX_DEPTH = 4  # of policies within policies


def to_plain(policy: policies.AnyPolicy) -> dict[str, Any]:
    """A policy of this package as dicts, lists, numbers and strings, for `from_plain`.

    Raises ArgumentError for a policy of another kind: its code is not in a file.
    """
    kind = next((name for name, cls in KINDS.items() if type(policy) is cls), None)
    if kind is None:
        raise ArgumentError(f"policy: expected one of {sorted(KINDS)}, found {policy!r}")
    fields = {field.name: _to_plain(getattr(policy, field.name))
              for field in dataclasses.fields(policy)}
    return {"kind": kind, **fields}


def _to_plain(value: Any) -> Any:
    if type(value) in KINDS.values():
        return to_plain(value)
    return [_to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_plain(plain: Any, depth: int = MAX_DEPTH) -> policies.Policy:
    """The policy that `to_plain` gave. Raises ArgumentError for anything else."""
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(kind, str) or kind not in KINDS or depth == 0:
        raise ArgumentError(
            f"policy: expected an object whose kind is one of {sorted(KINDS)}, found {plain!r:.80}")
    fields = {name: value for name, value in plain.items() if name != "kind"}
    try:
        if plain["kind"] == "within":
            fields["policy"] = from_plain(fields["policy"], depth - 1)
        if plain["kind"] == "first_of":
            return policies.FirstOf(*(from_plain(item, depth - 1) for item in fields["policies"]))
        return KINDS[plain["kind"]](**fields)
    except (TypeError, KeyError, OverflowError) as error:
        raise ArgumentError(f"policy {plain['kind']}: {shown(error)}") from None
