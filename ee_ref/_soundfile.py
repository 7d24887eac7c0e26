"""libsndfile as `audio` uses it. Imported when the first file needs it: it takes long to load."""

from __future__ import annotations

import numpy as np
from soundfile import SoundFile, SoundFileError

__all__ = ["Sequential", "SoundFileError"]


class Sequential(SoundFile):
    """soundfile seeks after each read, which makes MP3 and Ogg decoders start anew, audibly."""

    done = 0  # frames that were read

    # It is closed where it is opened, and what a signal handler raises in a destructor is lost: a
    # builtin instead, in which no handler runs.
    __del__ = staticmethod(int)

    def seekable(self) -> bool:
        return False

    def read(self, frames: int) -> np.ndarray:
        """The next samples, at most `frames`: (N, channels) float32, full scale at 1."""
        block = super().read(frames, dtype="float32", always_2d=True)
        self.done += len(block)
        return block
