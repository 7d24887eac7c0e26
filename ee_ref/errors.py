"""The errors of ee_ref.

Every error derives from `EeError` and from the builtin a caller would expect to catch, and its
message names what was wrong, what was expected and what was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def shown(found: object, limit: int = 100) -> str:
    """What a file says, for a message: at most `limit` characters, none of which moves a cursor."""
    text = str(found)
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def some(items: Sequence[object], count: int = 4) -> str:
    """The first few items as text."""
    first = ", ".join(shown(item) for item in items[:count])
    return first + (f", ... ({len(items)} in all)" if len(items) > count else "")


def shown_limit(seconds: float) -> str:
    """A limit for a message, rounded down to hundredths: what exceeds it never looks equal."""
    return f"{math.floor(seconds * 100) / 100 if math.isfinite(seconds) else seconds:.2f}"


class EeError(Exception):
    """Base of every error raised on purpose by ee_ref and weights_io."""


class EeWarning(UserWarning):
    """Something to know when reading the results: a missing backend, a cut file."""


class ArgumentError(EeError, ValueError):
    """An argument or setting out of its range: exit, beam, threshold, backend, EE_REF_ISA."""


class ShapeError(EeError, ValueError):
    """An array of the wrong shape, dtype or layout for an op."""


class AudioError(EeError, ValueError):
    """Audio that cannot be used: not audio at all, NaN samples, an impossible rate."""


class TooLongError(AudioError):
    """An utterance with more encoder frames than the model has positions for."""


class StateError(EeError, RuntimeError):
    """A session that cannot do this now: features after the last ones, or a second thread."""


class ModelFileError(EeError, ValueError):
    """A model file that breaks the profile of weights_io/FORMAT.md."""


class LanguageModelError(EeError, ValueError):
    """A language model that is neither ARPA text nor a packed file, or a list of words (lexicon,
    hotwords) that cannot be read or that the labels of the model cannot spell."""


class PhraseError(EeError, ValueError):
    """Phrases that cannot be read, contradict each other, or cannot be spelled by a model."""


class CheckpointError(EeError, ValueError):
    """A checkpoint that cannot be converted: unreadable, hostile, or of another architecture."""


class FileError(EeError, OSError):
    """A file that cannot be opened, or an output that exists or cannot be written."""


class AudioFileError(FileError):
    """An audio file that is missing or cannot be opened."""


class ArenaError(EeError, MemoryError):
    """A memory arena smaller than its plan."""


class ThreadsError(EeError, OSError):
    """The system has no threads, or gives no more."""


class NativeUnavailable(EeError, ImportError):
    """The C library was not built or cannot be loaded; the NumPy backend still works."""
