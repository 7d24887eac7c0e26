"""From the name of a model to a model: files, backends, threads."""

from __future__ import annotations

import copyreg
import os
import re
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from . import model_file
from .checks import check_count
from .errors import ArgumentError, EeWarning, ModelFileError, NativeUnavailable, shown
from .model import Model

if TYPE_CHECKING:
    from pathlib import Path

BACKENDS = ("native", "numpy")
MAX_THREADS = 256
"""EE_MAX_WORKERS of the C library."""

BUNDLED = ("english", "commands")
"""Names of the models that are part of the package; the first is the default."""


def load(
    path: str | Path | None = None, backend: str = "native", threads: int | None = 1,
    packed: bool = False,
) -> Model:
    """Open a model file, check all of it, and make it ready to run.

    path: a model file (weights_io/FORMAT.md), or the name of a bundled model: "english", which
    spells any word and is the default, or "commands", the small model of command words
    (docs/model-card.md). A file of that very name is "./commands", or a Path.
    backend: "native" (the C kernels) or "numpy" (the reference). Where the C library was not built,
    "native" falls back to NumPy and warns once. For an int8 model both give the same bytes, from
    the samples to the text, unless an EeWarning says that its front end cannot.
    threads: how many share the work of one utterance, the calling one included, 1..MAX_THREADS;
    None takes the number from EE_REF_THREADS, or 1. Results are the same bytes for every number.
    The NumPy backend leaves threads to its BLAS library (OPENBLAS_NUM_THREADS and the like).
    packed: on x86-64, in int8 mode with VNNI or AMX, keep a second copy of the matrices in the
    order in which the kernels take them, instead of making it in each call: more memory, by the
    size of the file, and a longer start, for less time an utterance (docs/performance.md).
    Elsewhere it does nothing. Results are the same bytes.
    Raises FileError, ModelFileError, ArgumentError, or ThreadsError when the system gives no more.
    """
    if backend not in BACKENDS:
        raise ArgumentError(f"backend: expected one of {BACKENDS}, found {backend!r}")
    threads = thread_count(threads)
    crc32: Callable[[Any], int] = zlib.crc32
    if backend == "native":
        try:
            from .native._crc32 import crc32
        except NativeUnavailable as error:
            _warn_once(f"{error}; using the NumPy backend")
            backend = "numpy"
    return Model(model_file.read(model_path(path), crc32=crc32), backend, threads, packed)


def model_path(path: str | Path | None = None) -> Path | str:
    """The file that `load` opens for this. Raises ArgumentError for an empty path."""
    if path is None:
        path = BUNDLED[0]
    if path in BUNDLED:
        return _bundled(str(path))
    if not os.fspath(path):
        raise ArgumentError("path: expected a model file, found an empty path")
    return path


def bundled_model(name: str = BUNDLED[0]) -> Path:
    """Path of a model that is part of the package (docs/model-card.md)."""
    from pathlib import Path

    return Path(_bundled(name))


def _bundled(name: str) -> str:
    return os.path.join(os.path.dirname(__file__), "assets", f"{name}.gguf")


def thread_count(threads: int | None = None) -> int:
    """The number itself, or that of EE_REF_THREADS for None; ArgumentError for one out of range."""
    name = "threads"
    found: Any = threads
    if threads is None:
        name, text = "EE_REF_THREADS", os.environ.get("EE_REF_THREADS") or "1"
        # Not int() alone: that takes "1_0", " 2" and digits of other scripts.
        found = int(text) if re.fullmatch("[0-9]{1,9}", text) else shown(text, 60)
    check_count(name, found, 1, MAX_THREADS)
    return int(found)


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, EeWarning, stacklevel=3)


# A copy, also in another process, is loaded again: C keeps pointers into the memory of a model.


def _reduced(model: Model) -> tuple[Callable[..., Model], tuple[Any, ...]]:
    file = model.file
    # A bundled model by its name: the other process may have the package elsewhere.
    names = {_bundled(name): name for name in BUNDLED}
    path = names.get(file.path) or os.path.abspath(file.path)
    return _load_again, (path, model.backend, model.threads, model.packed, file.header_checksum,
                         file.size)


def _load_again(
    path: str, backend: str, threads: int, packed: bool, header_checksum: int, size: int
) -> Model:
    """The model that was pickled or copied; ModelFileError when its file holds another by now."""
    model = load(path, backend, threads, packed)
    if (model.file.header_checksum, model.file.size) != (header_checksum, size):
        raise ModelFileError(f"{path}: expected the model that was copied, found another in it")
    return model


copyreg.pickle(Model, _reduced)
