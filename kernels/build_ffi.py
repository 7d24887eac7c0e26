"""Builds `ee_ref.native._kernels`, the cffi module (API mode, stable ABI) of the C library.

setup.py uses `ffibuilder`. The declarations are those of the headers, between the comments
cdef:begin and cdef:end, so that there is one text to keep right.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

KERNELS = Path(__file__).parent
HEADERS = (
    "ee_kernels.h", "ee_kernels_qs8.h", "ee.h", "ee_decoder.h", "ee_frontend.h", "ee_decode.h",
    "ee_exits.h", "ee_phrases.h", "ee_stream.h", "ee_image.h", "ee_pool.h",
)
CDEF = re.compile(r"/\* cdef:begin \*/(.*?)/\* cdef:end \*/", re.DOTALL)


def declarations() -> str:
    """What cffi is told about the headers."""
    texts = [(KERNELS / "include" / name).read_text(encoding="utf-8") for name in HEADERS]
    return "\n".join(part for text in texts for part in CDEF.findall(text))


def relative(pattern: str) -> list[str]:
    """Files under kernels/, named from the root of the source tree as setuptools wants them."""
    paths = (path.relative_to(KERNELS).as_posix() for path in KERNELS.glob(pattern))
    return sorted(f"kernels/{path}" for path in paths)


ffibuilder = FFI()
# Its constants come from a list, by macros that cffi does not read: Python asks for the names.
ffibuilder.cdef("typedef int... ee_isa;")
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "ee_ref.native._kernels",
    "\n".join(f'#include "{name}"' for name in HEADERS),
    sources=relative("src/**/*.c"),
    depends=relative("include/*") + relative("src/**/*.h"),
    include_dirs=["kernels/include"],
    # The library decides what may be reordered or fused, not the compiler (docs/numerics.md).
    extra_compile_args=["-std=c99", "-O3", "-ffp-contract=off", "-pthread"],
    extra_link_args=["-pthread"],
)
