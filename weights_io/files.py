"""Opening input files and writing output files, with errors that name the path."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from typing import BinaryIO

from ee_ref.errors import ArgumentError, EeError, FileError


def open_regular(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open a file for reading; return it and its size in bytes.

    Raises FileError when it is missing, unreadable, or no regular file (opening a pipe would wait
    for a writer).
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise FileError(f"{path}: expected a file, found a directory")
        if not stat.S_ISREG(mode):
            raise FileError(f"{path}: expected a regular file, found a device, pipe or socket")
        file = open(path, "rb")  # closed by the caller
        return file, os.fstat(file.fileno()).st_size
    except EeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise as_file_error(path, error) from error


def read_limited(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes; FileError when unreadable or larger."""
    file, size = open_regular(path)
    with file:
        if size > limit:
            raise FileError(f"{path}: expected at most {limit} bytes, found {size}")
        try:
            return file.read(size)  # not `limit`, which would be allocated
        except OSError as error:
            raise as_file_error(path, error) from error


def write_atomic(
    path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview], overwrite: bool = False
) -> None:
    """Write the chunks to a temporary file in the folder of `path`, then move it into place.

    `path` is either untouched or complete. Raises FileError when it exists (unless `overwrite`),
    is no regular file, or cannot be written; an error raised by `chunks` passes through.
    """
    from pathlib import Path

    target = Path(path)
    refuse_existing(target, overwrite)
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except EeError:
        raise
    except (OSError, ValueError) as error:
        raise as_file_error(path, error) from error


def refuse_shared(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise ArgumentError when two files that a command reads or writes are the same."""
    seen: set[str] = set()
    for path in paths:
        whole = os.path.abspath(path)
        if whole in seen:
            raise ArgumentError(f"{path}: expected files of different names, found one twice")
        seen.add(whole)


def is_of_system(error: OSError) -> bool:
    """Whether the operating system raised it, or a file object on its behalf.

    False for what code raises itself, such as the TimeoutError of a signal handler: that has no
    error number, or is of a class of its own.
    """
    if isinstance(error, io.UnsupportedOperation):
        return True
    return error.errno is not None and type(error).__module__ == "builtins"


def refuse_existing(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise FileError when `path` exists, or with `overwrite` when it is no regular file."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileError(f"{path}: the output exists already")
    if not os.path.isfile(path):
        raise FileError(f"{path}: expected a regular file to replace, found something else")


def as_file_error(path: str | os.PathLike[str], error: Exception) -> FileError:
    """An error of the operating system as a FileError that names the path; others are raised."""
    if isinstance(error, OSError) and not is_of_system(error):
        raise error
    return FileError(f"{path}: {getattr(error, 'strerror', None) or error}")
