"""Files as torch.save writes them, made without PyTorch, and pickles that want to run code."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np

_STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage"}


def text(value: str) -> bytes:
    """Opcode that pushes text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    """Opcode that pushes an integer of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def global_(module: str, name: str) -> bytes:
    """Opcode that pushes a global."""
    return f"c{module}\n{name}\n".encode()


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    """Opcodes that push the storage in zip entry data/`key`."""
    return (b"(" + text("storage") + global_("torch", kind) + text(key) + text("cpu")
            + integer(count) + b"tQ")


def tensor(
    key: str, shape: tuple[int, ...], *, count: int, strides: tuple[int, ...] | None = None,
    offset: int = 0, kind: str = "FloatStorage",
) -> bytes:
    """Opcodes that push a tensor over storage `key` of `count` numbers."""
    if strides is None:
        strides = tuple(int(np.prod(shape[axis + 1:])) for axis in range(len(shape)))
    return (global_("torch._utils", "_rebuild_tensor_v2") + b"(" + storage(key, count, kind)
            + integer(offset) + b"(" + b"".join(map(integer, shape)) + b"t("
            + b"".join(map(integer, strides)) + b"t\x89"
            + global_("collections", "OrderedDict") + b")RtR")


class Writer:
    """Pickles dictionaries, lists, tuples, plain values and arrays as torch.save does."""

    def __init__(self) -> None:
        self.storages: dict[str, bytes] = {}

    def pickle(self, value: Any) -> bytes:
        """The opcodes that push `value`; arrays go to `storages`."""
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return text(value)
            case list():
                return b"](" + b"".join(map(self.pickle, value)) + b"e"
            case tuple():
                return b"(" + b"".join(map(self.pickle, value)) + b"t"
            case dict():
                items = b"".join(self.pickle(k) + self.pickle(v) for k, v in value.items())
                return global_("collections", "OrderedDict") + b")R(" + items + b"u"
            case np.ndarray():
                key = str(len(self.storages))
                self.storages[key] = value.tobytes()
                kind = _STORAGES[value.dtype.str[1:]]
                return tensor(key, value.shape, count=value.size, kind=kind)
        raise TypeError(type(value))


def torch_file(content: Any) -> bytes:
    """`content` as torch.save writes it."""
    writer = Writer()
    return zip_file(b"\x80\x02" + writer.pickle(content) + b".", writer.storages)


def zip_file(
    pickle: bytes, storages: dict[str, bytes] | None = None, *, byteorder: bytes = b"little",
    compression: int = zipfile.ZIP_STORED, extra: dict[str, bytes] | None = None,
) -> bytes:
    """A zip with this pickle and these storages."""
    entries = {"data.pkl": pickle, "byteorder": byteorder, "version": b"3\n", **(extra or {})}
    entries.update({f"data/{key}": data for key, data in (storages or {}).items()})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data, compression)
    return out.getvalue()


def hostile_pickles(command: str) -> dict[str, tuple[bytes, str]]:
    """Name -> (pickle, what the error must name). Each would run `command` if it were unpickled."""
    call = text(command)
    state = b"}" + text("model") + b"}" + text("weight")
    return {
        "reduce os.system": (b"\x80\x02" + global_("os", "system") + call + b"\x85R.",
                             "os.system"),
        "reduce eval": (b"\x80\x02" + global_("builtins", "eval") + call + b"\x85R.",
                        "builtins.eval"),
        "python 2 name": (b"\x80\x02" + global_("__builtin__", "exec") + call + b"\x85R.",
                          "__builtin__.exec"),
        "stack global": (b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + call + b"\x85R.",
                         "posix.system"),
        "inst": (b"(" + call + b"ios\nsystem\n.", "os.system"),
        "obj": (b"(" + global_("os", "system") + call + b"o.", "os.system"),
        "newobj": (b"\x80\x02" + global_("subprocess", "Popen") + call + b"\x85\x81.",
                   "subprocess.Popen"),
        "newobj of an allowed global": (
            b"\x80\x02" + global_("collections", "OrderedDict") + b")\x81.", "NEWOBJ"),
        "build on a global": (
            b"\x80\x02" + global_("torch", "Size") + b"}" + text("__setstate__")
            + global_("torch", "Size") + b"sb.", "attributes"),
        "nested in a dict": (
            b"\x80\x02" + state + global_("os", "system") + call + b"\x85Rss.", "os.system"),
        "beside the state": (
            b"\x80\x02}(" + text("epoch") + global_("numpy.core.multiarray", "scalar") + b"u.",
            "numpy.core.multiarray.scalar"),
        "attribute path": (b"\x80\x02" + global_("torch", "os.system") + call + b"\x85R.",
                           "torch.os.system"),
        "torch function": (b"\x80\x02" + global_("torch.hub", "load") + call + b"\x85R.",
                           "torch.hub.load"),
        "extension registry": (b"\x80\x02\x82\x01" + call + b"\x85R.", "EXT1"),
        "old persistent id": (b"P" + b"os.system\n.", "PERSID"),
        "protocol 0": (b"(dS'a'\nI1\ns.", "DICT"),
    }
