"""The C library: the only importer of the cffi module, and the choice of an instruction set.

`EE_REF_ISA`, a name of kernels/include/ee_isas.inc, caps the instruction set; what the CPU lacks is
never used.
"""

from __future__ import annotations

import functools
import os
from itertools import count, takewhile
from typing import Any

from ..errors import (
    ArenaError,
    ArgumentError,
    NativeUnavailable,
    ShapeError,
    ThreadsError,
    TooLongError,
)

try:
    from ._kernels import ffi, lib
except ImportError as error:
    raise NativeUnavailable(
        f"the C library of ee_ref is not available ({error}); build it with a C compiler "
        "(pip install . or python setup.py build_ext --inplace) or use backend='numpy'"
    ) from error

ABI_VERSION = 7
"""The version of the C declarations that this package was written for."""

if lib.ee_abi_version() != ABI_VERSION:
    raise NativeUnavailable(
        f"the C library of ee_ref has ABI version {lib.ee_abi_version()}, expected {ABI_VERSION}; "
        "build it again"
    )

_ISAS = {
    ffi.string(lib.ee_isa_name(number)).decode(): number
    for number in takewhile(lib.ee_isa_name, count()) if lib.ee_ops_for(number)
}
"""The instruction sets that the library was built with, least first."""

_ERRORS = {
    lib.EE_ERR_ARENA_TOO_SMALL: ArenaError,
    lib.EE_ERR_MODEL_TOO_SMALL: ArenaError,
    lib.EE_ERR_TOO_LARGE: ArenaError,
    lib.EE_ERR_TENSOR_COUNT: ShapeError,
    lib.EE_ERR_TENSOR_SIZE: ShapeError,
    lib.EE_ERR_TOO_MANY_FRAMES: TooLongError,
    lib.EE_ERR_THREADS: ThreadsError,
}


def built_isas() -> tuple[str, ...]:
    """The instruction sets that the library was built with, least first."""
    return tuple(_ISAS)


@functools.cache
def available_isas() -> tuple[str, ...]:
    """The instruction sets that this CPU and this build have, least first."""
    return tuple(name for name, number in _ISAS.items() if number <= lib.ee_isa_best())


def isa() -> str:
    """The instruction set in use: the best one available, capped by `EE_REF_ISA`.

    Raises ArgumentError when `EE_REF_ISA` names none.
    """
    return _capped(os.environ.get("EE_REF_ISA"))[0]


@functools.lru_cache(maxsize=16)
def _capped(cap: str | None) -> tuple[str, Any]:
    """The instruction set for this EE_REF_ISA, and its primitives."""
    if not cap:
        name = available_isas()[-1]
    elif cap not in _ISAS:
        raise ArgumentError(f"EE_REF_ISA: expected one of {', '.join(_ISAS)}, found {cap!r}")
    else:  # asks the system for no set above the cap
        has = lib.ee_isa_find(cap.encode()) == _ISAS[cap]
        name = cap if has else available_isas()[-1]
    return name, lib.ee_ops_for(_ISAS[name])


def ops():
    """The primitives of the instruction set in use, a `const ee_ops *`."""
    return _capped(os.environ.get("EE_REF_ISA"))[1]


def portable_ops():
    """The primitives in portable C."""
    return lib.ee_ops_for(_ISAS["c"])


def team():
    """The team of the composites of this package: NULL, the calling thread alone."""
    return ffi.NULL


def ensure(status: int) -> int:
    """Return a status that is no error; raise the fitting EeError otherwise."""
    if status < 0:
        name = ffi.string(lib.ee_status_name(status)).decode()
        reason = ffi.string(lib.ee_strerror(status)).decode()
        raise _ERRORS.get(status, ArgumentError)(f"{reason} ({name})")
    return status
