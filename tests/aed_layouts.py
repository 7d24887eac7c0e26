"""Checkpoints of Conformers with attention decoders, by the names of the authors' classes."""

from __future__ import annotations

import re

import numpy as np

from ee_ref.conformance.draw import SMALL_AED, random_state_dict
from ee_ref.families import aed
from tests.support import Clip

AUTHORS = (("positional_encoder.", "positional_encoder_1."),
           ("decoder_positions.", "positional_encoder_2."), ("linears.", "linears_1."))

FULL_AED = aed.Config(
    exits=6, layers_per_exit=(2,) * 6, dim=144, heads=4, ff=1024, kernel=31, vocab=256,
    max_frames=2000, decoder_layers=4, max_tokens=2000,
)
"""The shape of the authors' script: 20,651,136 parameters."""

AED_CLIPS = (Clip(101, 1, 1), Clip(333, 3, 1))
"""Of that shape; see `Clip`."""

LABELS = (1, 3, 5, 5, 2, 7, 7, 9, 4)
"""What the decoders of the small model are asked to continue: 7 pads, 1 starts, 2 ends."""


def authors(state: dict[str, np.ndarray], config: aed.Config = SMALL_AED, groups: str = "conformer."
            ) -> dict[str, np.ndarray]:
    """A random checkpoint as full_conformer has it, or Early_Sequence_Conformer with groups
    "conformers."."""
    found = {}
    for name, tensor in state.items():
        for new, old in AUTHORS:
            name = re.sub(f"^{re.escape(new)}", old, name)
        found[re.sub(r"^conformer\.", groups, name)] = tensor
    for exit_ in range(config.exits):
        for part in ("weight", "bias"):
            found[f"decoders.{exit_}.norm.{part}"] = found[f"layer_norm.{part}"].copy()
    return found


def small_state(seed: int = 9546) -> dict[str, np.ndarray]:
    """A random checkpoint of the small model by the authors' names."""
    return authors(random_state_dict(SMALL_AED, seed))
