"""Reading phrases from a file."""

from __future__ import annotations

import os

from .phrases import Phrases


def load(path: str | os.PathLike) -> Phrases:
    raise NotImplementedError
