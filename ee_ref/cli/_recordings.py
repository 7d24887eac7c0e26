"""What is shared by the commands that run a model over a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AudioError, EeError
from . import _console, _progress

if TYPE_CHECKING:
    from ..evaluation.manifest import Recording


class LeftOut:
    """Recordings that cannot be used: each is reported on stderr, and the command ends with exit
    code 1."""

    def __init__(self, total: int):
        self.total, self.count = total, 0

    def __call__(self, recording: Recording, error: EeError) -> None:
        self.count += 1
        _progress.break_line()
        _console.say_of(recording.path, error)

    def require_some(self) -> None:
        """Raises AudioError when all were left out."""
        if self.count == self.total:
            raise AudioError(f"expected recordings that can be used, found none of {self.total}")

    def exit_code(self) -> int:
        """0, or 1 after saying how many were left out. Raises AudioError when all were."""
        self.require_some()
        if not self.count:
            return 0
        _console.say(f"{self.count} of {self.total} recordings left out")
        return 1
