"""Policies as plain data, as a model file stores them: {"kind": "learned", "weights": ...}."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..errors import ArgumentError, shown
from .policy import KINDS, AnyPolicy, Rule

MAX_DEPTH = 4  # of policies within policies


def to_plain(policy: AnyPolicy) -> dict[str, Any]:
    """A policy of this package as dicts, lists, numbers and strings, for `from_plain`.

    Raises ArgumentError for a policy of another kind: its code is not in a file.
    """
    if KINDS.get(getattr(policy, "kind", "")) is not type(policy):
        raise ArgumentError(f"policy: expected one of {sorted(KINDS)}, found {policy!r}")
    fields = dataclasses.fields(policy)  # type: ignore[arg-type]  # every kind is a dataclass
    return {"kind": policy.kind,
            **{field.name: _to_plain(getattr(policy, field.name)) for field in fields}}


def _to_plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return to_plain(value) if hasattr(value, "decide") or callable(value) else value


def from_plain(plain: Any, depth: int = MAX_DEPTH) -> Rule:
    """The policy that `to_plain` gave. Raises ArgumentError for anything else."""
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(kind, str) or kind not in KINDS or depth == 0:
        raise ArgumentError(
            f"policy: expected an object whose kind is one of {sorted(KINDS)}, found {plain!r:.80}")
    fields = {name: _from_plain(value, depth - 1) for name, value in plain.items()
              if name != "kind"}
    try:
        return KINDS[kind].of_plain(**fields)
    except (TypeError, OverflowError) as error:
        raise ArgumentError(f"policy {kind}: {shown(error)}") from None


def _from_plain(value: Any, depth: int) -> Any:
    """A field, in which every object is a policy."""
    if isinstance(value, list):
        return [from_plain(item, depth) if isinstance(item, dict) else item for item in value]
    return from_plain(value, depth) if isinstance(value, dict) else value
