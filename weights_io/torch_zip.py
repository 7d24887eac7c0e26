"""Checkpoints written by torch.save, read without PyTorch and without running anything.

Such a file is a zip of one pickle (the structure) and one raw entry a storage (the numbers). A
pickle is a program for a machine with an opcode that calls any function, so this module does not
unpickle: it walks the opcodes (`pickletools.genops` only decodes them) and carries out the few that
build dictionaries, lists, tuples and plain values. A global is a pair of names that is never
imported; "calling" one of the four in `_CALLS` builds a NumPy view or a dictionary here, and every
other global or opcode is an error.

The zip is held to what torch.save writes: stored entries only, none encrypted, none named twice,
together no larger than the file. So nothing expands. What a pickle describes can share parts until
it is exponentially larger than the file, so nothing here (or in what uses the result) hashes,
compares or prints a value before it knows its type.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ee_ref.errors import CheckpointError, shown

MAX_PICKLE = 4 << 20  # bytes; that of the published model has 0.1 MB
MAX_DIMS = 8
MAX_REPEATS = 8  # of the file's size: all tensors together, which can share storages

_STORAGES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": "<u2",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
    "ByteStorage": "<u1", "BoolStorage": "|b1",
}  # fmt: skip

STATE_DICT_ONLY = (
    "a checkpoint may hold tensors, numbers, text, lists and dictionaries only; save the weights "
    "alone: torch.save(model.state_dict(), path)"
)


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 numbers, given as their 16 bits, as float32."""
    return (bits.astype("<u4") << 16).view("<f4")


def read(file: BinaryIO, size: int) -> Any:
    """The object in a torch.save file of `size` bytes, with tensors as read-only NumPy arrays.

    Tensors keep their dtype, but bfloat16 becomes float32; parameters become tensors, ordered
    dictionaries become dictionaries. Raises CheckpointError.
    """
    archive = _Archive(file, size)
    return _Machine(archive.storage, MAX_REPEATS * size).run(archive.pickle)


class _Archive:
    """The zip: the pickle, and the storages by key."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
            entries = self._zip.infolist()
        except Exception as error:  # zipfile lets many types through for a damaged file
            raise CheckpointError(f"damaged zip file: {shown(error)}") from None
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise CheckpointError("expected every zip entry once, found a name twice")
        roots = [name[: -len("data.pkl")] for name in self._entries if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise CheckpointError(
                f"expected a zip written by torch.save with one data.pkl, found {len(roots)}"
            )
        self._root = roots[0]
        if self._has("constants.pkl"):
            raise CheckpointError(
                f"expected a checkpoint, found a TorchScript module; {STATE_DICT_ONLY}"
            )
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise CheckpointError(
                    f"zip entry {entry.filename!r:.80}: expected it stored as it is, found it "
                    "compressed or encrypted; torch.save does neither"
                )
        total = sum(entry.file_size for entry in entries)
        if total > size:
            raise CheckpointError(f"zip entries claim {total} bytes, the file has {size}")
        order = self._bytes("byteorder") if self._has("byteorder") else b"little"
        if order != b"little":
            raise CheckpointError(f"expected byte order little, found {order[:20]!r}")
        length = self._entries[f"{self._root}data.pkl"].file_size
        if length > MAX_PICKLE:
            raise CheckpointError(f"data.pkl: expected at most {MAX_PICKLE} bytes, found {length}")
        self.pickle = self._bytes("data.pkl")
        self._storages: dict[tuple[str, str], np.ndarray] = {}

    def _has(self, name: str) -> bool:
        return self._root + name in self._entries

    def _bytes(self, name: str) -> bytes:
        try:
            return self._zip.read(self._entries[self._root + name])
        except Exception as error:
            raise CheckpointError(f"zip entry {name!r:.80} is damaged: {shown(error)}") from None

    def storage(self, key: str, kind: str, count: int) -> np.ndarray:
        """The numbers of storage `key`; they must be `count` of storage type `kind`."""
        if (key, kind) not in self._storages:
            if not self._has(f"data/{key}"):
                raise CheckpointError(
                    f"storage {key!r:.80}: expected zip entry data/{shown(key, 40)}, found none")
            data, dtype = self._bytes(f"data/{key}"), np.dtype(_STORAGES[kind])
            if len(data) % dtype.itemsize:
                raise CheckpointError(
                    f"storage {key!r:.80}: expected a multiple of {dtype.itemsize} bytes, "
                    f"found {len(data)}"
                )
            numbers = np.frombuffer(data, dtype)
            if kind == "BFloat16Storage":
                numbers = widen_bfloat16(numbers)
                numbers.flags.writeable = False
            self._storages[key, kind] = numbers
        found = self._storages[key, kind]
        if len(found) != count:
            raise CheckpointError(
                f"storage {key!r:.80}: expected {count} numbers, found {len(found)}")
        return found


class _Global(NamedTuple):
    """A global, by name only. Nothing is imported."""

    module: str
    name: str


_STORAGE_TYPES = {_Global("torch", kind): kind for kind in _STORAGES}
_MARK = object()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> np.ndarray:
    """torch._utils._rebuild_tensor_v2: a view of a storage, strides counted in numbers."""
    if not isinstance(storage, np.ndarray) or not _are_counts(offset):
        raise CheckpointError("a tensor without a proper storage and offset")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple)
            and len(shape) == len(strides) <= MAX_DIMS and _are_counts(*shape, *strides)):
        raise CheckpointError("a tensor whose shape and strides are not proper sizes")
    count, last = 1, offset
    for length, stride in zip(shape, strides, strict=True):
        count *= length
        last += (length - 1) * stride
    if count == 0:
        return np.empty(shape, storage.dtype)
    # No more numbers than the storage has: a tensor that repeats them could be of any size.
    if last >= len(storage) or count > len(storage):
        raise CheckpointError(
            f"a tensor of shape {shape} with strides {strides} at offset {offset} does not fit "
            f"its storage of {len(storage)} numbers"
        )
    byte_strides = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, byte_strides, writeable=False)


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    """torch._utils._rebuild_parameter: its tensor."""
    return data


def _ordered_dict(*items: Any) -> dict:
    """collections.OrderedDict, which pickles as empty and is filled by later opcodes."""
    if items:
        raise CheckpointError("an OrderedDict with arguments")
    return {}


def _size(items: Any) -> tuple:
    """torch.Size."""
    if not isinstance(items, tuple):
        raise CheckpointError("a torch.Size of something else than a tuple")
    return items


_CALLS: dict[_Global, Callable] = {
    _Global("collections", "OrderedDict"): _ordered_dict,
    _Global("torch", "Size"): _size,
    _Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    _Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)


class _Machine:
    """The part of the pickle machine that builds plain data."""

    def __init__(self, storage: Callable[[str, str, int], np.ndarray], limit: int) -> None:
        self._storage = storage
        self._bytes_left = limit
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """The object that the pickle describes."""
        try:
            for opcode, argument, _position in pickletools.genops(pickle):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except CheckpointError:
            raise
        except (ValueError, TypeError, LookupError, OverflowError, struct.error, Warning) as error:
            raise CheckpointError(f"damaged pickle: {shown(error)}") from None
        raise CheckpointError("damaged pickle: no end")

    def _step(self, opcode: str, argument: Any) -> None:
        stack, memo = self._stack, self._memo
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case ("BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE"
                  | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINBYTES" | "SHORT_BINBYTES"):
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                stack.append(_MARK)
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(opcode[-1]))))
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._set_items(self._pop(2))
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_allowed(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_allowed(*self._pop(2)))
            case "BINPERSID":
                stack.append(self._persistent(stack.pop()))
            case "REDUCE":
                function, arguments = self._pop(2)
                stack.append(self._call(function, arguments))
            case "BUILD":
                target, _attributes = self._pop(2)
                # Attributes of an OrderedDict: the versions of the modules, of no use here.
                if not isinstance(target, dict):
                    raise CheckpointError("a pickled object with attributes; " + STATE_DICT_ONLY)
                stack.append(target)
            case "INST":
                _allowed(*argument.split(" ", 1))
                raise CheckpointError(f"refused opcode INST of {argument!r:.80}; {STATE_DICT_ONLY}")
            case _:
                raise CheckpointError(f"refused pickle opcode {opcode}; {STATE_DICT_ONLY}")

    def _pop(self, count: int) -> list[Any]:
        items = self._stack[-count:]
        if len(items) < count or any(item is _MARK for item in items):
            raise CheckpointError("damaged pickle: too few values on the stack")
        del self._stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise CheckpointError("damaged pickle: items for something else than a list")
        self._stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target, keys = self._stack[-1], items[::2]
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError("damaged pickle: items for something else than a dictionary")
        # Larger integers could all have one hash, and a dictionary of them takes a time that grows
        # with the square of their number.
        if not all(isinstance(key, str) or isinstance(key, int) and 0 <= key < 1 << 31
                   for key in keys):
            raise CheckpointError("expected text or integers of 31 bits as keys of a dictionary")
        target.update(zip(keys, items[1::2], strict=True))

    def _persistent(self, reference: Any) -> np.ndarray:
        match reference:
            case ("storage", _Global() as kind, str(key), str(), int(count)) if (
                kind in _STORAGE_TYPES
            ):
                return self._storage(key, _STORAGE_TYPES[kind], count)
        raise CheckpointError("expected a reference to a storage of numbers, found something else")

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or function not in _CALLS:
            raise CheckpointError("damaged pickle: a call of something that is no function")
        if not isinstance(arguments, tuple):
            raise CheckpointError("damaged pickle: arguments that are no tuple")
        result = _CALLS[function](*arguments)
        if function.name == "_rebuild_tensor_v2":
            self._bytes_left -= result.nbytes
            if self._bytes_left < 0:
                raise CheckpointError(
                    f"the tensors together have more than {MAX_REPEATS} times the bytes of the file"
                )
        return result


def _allowed(module: Any, name: Any) -> _Global:
    """The global of this name, if it is one of those this module knows."""
    found = _Global(module, name)
    if not (isinstance(module, str) and isinstance(name, str)) or (
        found not in _CALLS and found not in _STORAGE_TYPES
    ):
        what = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?"
        raise CheckpointError(
            f"refused global {shown(what, 80)}, and ran nothing of the file: {STATE_DICT_ONLY}"
        )
    return found
