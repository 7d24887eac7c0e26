"""What a case of the suite is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .judge import Bound

Parameter = int | float | str


@dataclass(frozen=True)
class Vector:
    """One case of the suite: what a port is asked, what it should answer, and how exactly.

    name: "tier/op/case". model: that of `Suite.models` it runs on, or "". parameters: integers,
    float32 numbers and texts; inputs, expected: arrays by name; bounds: one for each expected.
    """

    name: str
    tier: str
    op: str
    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    bounds: Mapping[str, Bound]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    model: str = ""
