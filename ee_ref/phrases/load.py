"""Reading phrases from a file, whichever language it is in."""

from __future__ import annotations

import os
from pathlib import Path

from .phrases import Phrases


def load(path: str | os.PathLike[str]) -> Phrases:
    """The phrases of a file: sentences of Home Assistant where its name ends in .yaml or .yml, and
    otherwise templates (docs/phrases.md).

    Raises FileError when it cannot be read, and PhraseError, naming the line, for what breaks the
    language. YAML needs the extra `phrases`: ArgumentError without it.
    """
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        from .sentences import read
    else:
        from .text import read
    return read(path)
