"""CRC-32 as zlib.crc32 computes it, at the speed of memory."""

from __future__ import annotations

from ._lib import ffi, isa, lib


def crc32(buffer) -> int:
    """CRC-32 (zlib, PNG) of any contiguous buffer."""
    compute = lib.ee_crc32_c if isa() == "c" else lib.ee_crc32
    with ffi.from_buffer(buffer) as data:
        return compute(data, len(data))
