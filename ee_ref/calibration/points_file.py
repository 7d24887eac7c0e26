"""Operating points outside of a model file: JSON, of rules fitted to a table of scores.

    {"errors": "lexicon_errors", "layers": [2, 4], "points": {"balanced": {"policy": {...}, ...}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weights_io.text import parse_json, read_text

from .. import exits
from ..checks import check_count
from ..errors import ArgumentError, shown

MAX_BYTES = 1 << 24
"""Largest size of a file of points."""


@dataclass(frozen=True)
class PointsFile:
    """errors: the column that the points were fitted to. layers: up to each exit. policies: by the
    name of the point."""

    errors: str
    layers: tuple[int, ...]
    policies: dict[str, exits.AnyPolicy]


def dump(errors: str, layers: Sequence[int], points: Mapping[str, Any]) -> bytes:
    """The file. points: name -> operating point, as `Calibrator.points_` has them."""
    found = {"errors": errors, "layers": list(layers), "points": dict(points)}
    return (json.dumps(found, indent=1) + "\n").encode()


def read(path: str | Path) -> PointsFile:
    """What `dump` wrote. Raises FileError, and ArgumentError naming the file for anything else."""
    text = read_text(path, MAX_BYTES, ArgumentError)
    try:
        found = parse_json(text)
        errors, layers, points = found["errors"], found["layers"], found["points"]
        if not isinstance(errors, str) or not isinstance(layers, list):
            raise ArgumentError("errors and layers: expected a name and a list")
        for layer in layers:
            check_count("layers", layer, 1)
        policies = {name: exits.from_plain(point["policy"]) for name, point in points.items()}
        for policy in policies.values():
            if deepest := policy.deepest:
                check_count("exit", deepest, 1, len(layers))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{path}: expected operating points that ee-ref calibrate --scores "
                            f"wrote: {shown(error, 300)}") from None
    return PointsFile(errors, tuple(layers), dict(policies))
