"""The GGUF container: what is written is read, and a header that lies is refused."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref.errors import ModelFileError
from weights_io import gguf
from weights_io.gguf import Field, TensorInfo, TensorType, ValueType

INTEGERS = {
    ValueType.UINT8: (0, 2**8 - 1), ValueType.INT8: (-(2**7), 2**7 - 1),
    ValueType.UINT16: (0, 2**16 - 1), ValueType.INT16: (-(2**15), 2**15 - 1),
    ValueType.UINT32: (0, 2**32 - 1), ValueType.INT32: (-(2**31), 2**31 - 1),
    ValueType.UINT64: (0, 2**64 - 1), ValueType.INT64: (-(2**63), 2**63 - 1),
}  # fmt: skip
VALUES = {
    **{type_: st.integers(*limits) for type_, limits in INTEGERS.items()},
    ValueType.FLOAT32: st.floats(width=32, allow_nan=False),
    ValueType.FLOAT64: st.floats(allow_nan=False),
    ValueType.BOOL: st.booleans(),
    ValueType.STRING: st.text(max_size=20),
}
FIELDS = st.one_of(
    [st.builds(Field, st.just(type_), values, st.none()) for type_, values in VALUES.items()]
    + [st.builds(Field, st.just(ValueType.ARRAY), st.lists(values, max_size=5), st.just(type_))
       for type_, values in VALUES.items()])
TENSORS = st.lists(
    st.builds(TensorInfo, st.text(max_size=16),
              st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4).map(tuple),
              st.sampled_from(TensorType), st.integers(0, 2**64 - 1)),
    max_size=4, unique_by=lambda tensor: tensor.name)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20), FIELDS, max_size=5), TENSORS,
       st.sampled_from([1, 32, 64]))
def test_read_back(fields, tensors, alignment):
    header, positions = gguf.encode(fields, tensors, alignment)
    found = gguf.parse(bytes(header) + b"data", alignment)
    assert found.fields == fields
    assert found.tensors == tensors
    assert found.positions == positions
    assert found.data_start == len(header) and len(header) % alignment == 0


def small_header() -> bytes:
    fields = {
        "a": Field(ValueType.UINT32, 7),
        "b": Field(ValueType.STRING, "text"),
        "c": Field(ValueType.ARRAY, [True, False], ValueType.BOOL),
        "d": Field(ValueType.ARRAY, ["x", "yz"], ValueType.STRING),
    }
    return bytes(gguf.encode(fields, [TensorInfo("t", (2, 3), TensorType.F32, 0)], 64)[0])


def test_every_truncation_is_refused():
    header = small_header()
    for length in range(len(header)):
        with pytest.raises(ModelFileError, match="expected"):
            gguf.parse(header[:length], 64)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(small_header()) - 1), st.integers(0, 255)),
                min_size=1, max_size=8))
def test_mutations_raise_nothing_else(changes):
    header = bytearray(small_header())
    for position, byte in changes:
        header[position] = byte
    try:
        gguf.parse(header, 64)
    except ModelFileError:
        pass


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_raises_nothing_else(noise):
    try:
        gguf.parse(b"GGUF\x03\0\0\0" + noise, 64)
    except ModelFileError:
        pass


def start(tensors=0, fields=0, version=3, magic=b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, fields)


def string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def field(key: bytes, type_: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", type_) + value


def tensor(name: bytes, dims=(1,), type_=0, offset=0, count=None) -> bytes:
    count = len(dims) if count is None else count
    return (string(name) + struct.pack(f"<I{len(dims)}Q", count, *dims)
            + struct.pack("<IQ", type_, offset))


U64 = struct.Struct("<Q").pack


@pytest.mark.parametrize("data, message", [
    (b"", "magic"),
    (b"GGU", "magic"),
    (start(magic=b"ggjt"), "magic b'GGUF', found b'ggjt'"),
    (start(version=2), "version 3, found version 2"),
    (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
    (start(version=0), "found version 0"),
    (start(tensors=1 << 63), "tensors, found 9223372036854775808"),
    (start(fields=1 << 63), "fields, found 9223372036854775808"),
    (start(tensors=1 << 17), "the file ends inside"),
    (start(fields=2) + field(b"a", 0, b"\1") * 2, "'a': expected once, found twice"),
    (start(fields=1) + U64(1 << 62), "at most 65535 bytes of text, found 4611686018427387904"),
    (start(fields=1) + U64(60000), "the file ends inside"),
    (start(fields=1) + field(b"\xff", 0, b"\1"), "UTF-8"),
    (start(fields=1) + field(b"a", 13, b"\1"), "value type in 0..12, found 13"),
    (start(fields=1) + field(b"a", 7, b"\2"), "truth values 0 or 1, found 2"),
    (start(fields=1) + field(b"a", 8, string(b"\xed\xa0\x80")), "UTF-8"),
    (start(fields=1) + field(b"a", 9, struct.pack("<IQ", 9, 1) + bytes(99)), "arrays of arrays"),
    (start(fields=1) + field(b"a", 9, struct.pack("<IQ", 4, 1 << 61)), "items, found"),
    (start(fields=1) + field(b"a", 9, struct.pack("<IQ", 12, 1 << 17)), "the file ends inside"),
    (start(fields=1) + field(b"a", 9, struct.pack("<IQ", 99, 1)), "value type"),
    (start(tensors=2) + tensor(b"t") * 2, "'t': expected once, found twice"),
    (start(tensors=1) + tensor(b"t" * 65), "at most 64 bytes of text, found 65"),
    (start(tensors=1) + tensor(b"t", dims=()), "dimensions, found 0"),
    (start(tensors=1) + tensor(b"t", dims=(1,), count=0xFFFFFFFF), "dimensions, found 4294967295"),
    (start(tensors=1) + tensor(b"t", type_=2), r"F32 \(0\), .* found 2"),
    (start(fields=1) + field(b"a", 0, b"\1") + b"\1" * 99, "expected zeros"),
    (start(fields=40) + b"".join(
        field(b"%d" % n, 9, struct.pack("<IQ", 10, 1 << 17) + bytes(1 << 20)) for n in range(40)),
     "a header of at most 33554432 bytes"),
])
def test_refusals(data, message):
    with pytest.raises(ModelFileError, match=message):
        gguf.parse(data, 64)
