"""The adapters of ee_ref.native: what they refuse, EE_REF_ISA, sessions, memory plan, CRC-32."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from ee_ref import ops
from ee_ref.conformance.cases import cases_of, outputs
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_LSTM,
    SMALL_SPLITFORMER,
    SMALL_ZIPFORMER,
    Stream,
    random_features,
    random_int8_model,
)
from ee_ref.errors import (
    ArenaError,
    ArgumentError,
    NativeUnavailable,
    ShapeError,
    StateError,
    TooLongError,
)
from ee_ref.families import padded_shape, splitformer
from ee_ref.families import tensors as tensor_specs
from tests.support import assert_close

ROOT = Path(__file__).parent.parent

native = pytest.importorskip("ee_ref.native")
try:
    from ee_ref.native import _lib, _session
    from ee_ref.native._arrays import aligned
    from ee_ref.native._crc32 import crc32
    from ee_ref.native._session import NativeModel
except NativeUnavailable as error:
    pytest.skip(str(error), allow_module_level=True)

def random_tensors(config, seed=7):
    draw = Stream(seed)
    return {
        spec.name: draw.weight(*spec.shape) if len(spec.shape) == 2
        else draw(*spec.shape, low=0.5, high=1.0)
        for spec in tensor_specs(config)
    }


@pytest.fixture(scope="module")
def model():
    return NativeModel(SMALL, random_tensors(SMALL))


@pytest.fixture(scope="module")
def features():
    return random_features(70, 1, SMALL.mels)


# Ops


def usable_arguments(op):
    """Those of a case with several rows and columns, so that layouts can be got wrong, and with a
    past where there may be one."""
    cases = [case.arguments() for case in cases_of(op)]
    return max((
        arguments for arguments in cases
        if min(next(iter(arguments.values())).shape) > 3
        and all(min(value.shape) > 1 for value in arguments.values()
                if isinstance(value, np.ndarray))
    ), key=len)


ARRAYS = [
    (op, name)
    for op in native.__all__
    for name, value in usable_arguments(op).items()
    if isinstance(value, np.ndarray)
]


@pytest.mark.parametrize("op, name", ARRAYS)
def test_wrong_arrays_are_refused(op, name):
    arguments = usable_arguments(op)
    right = arguments[name]
    wrong = {
        "float64": right.astype(np.float64),
        "int32": right.astype(np.int32),
        "int8" if right.dtype == np.float32 else "float32":
            right.astype(np.int8 if right.dtype == np.float32 else np.float32),
        "big-endian": right.astype(">f4"),
        "another axis": right[None],
        "no columns": right[..., :0],
        "a list": right.tolist(),
        "not contiguous": np.repeat(right, 2, axis=-1)[..., ::2],
    }
    if name not in ("x", "q"):
        wrong["a column too many"] = np.concatenate([right, right[..., :1]], axis=-1)
    for what, array in wrong.items():
        with pytest.raises(ShapeError, match=f"^{name}: expected .*found "):
            getattr(native, op)(**{**arguments, name: array})
            pytest.fail(f"{op} took {what} as {name}")


@pytest.mark.parametrize("op", native.__all__)
def test_no_rows_give_no_rows(op):
    arguments = usable_arguments(op)
    results = outputs(op, getattr(native, op)(**arguments))
    for name in ("x", "q", "scale"):
        if name in arguments:
            arguments[name] = arguments[name][:0]
    for empty, result in zip(outputs(op, getattr(native, op)(**arguments)), results, strict=True):
        assert empty.shape == (0, *result.shape[1:]) and empty.dtype == result.dtype


@pytest.mark.parametrize("op", native.__all__)
def test_arguments_are_not_changed(op):
    arguments = usable_arguments(op)
    getattr(native, op)(**arguments)
    for name, fresh in usable_arguments(op).items():
        np.testing.assert_equal(arguments[name], fresh)


@pytest.mark.parametrize("op", native.__all__)
def test_read_only_arrays_will_do(op):
    arguments = usable_arguments(op)
    for value in arguments.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    getattr(native, op)(**arguments)


def test_heads_must_divide_the_width():
    for op in ("multi_head_attention", "multi_head_attention_qs8", "conformer_layer",
               "conformer_layer_qs8"):
        for heads in (0, -1, 5):
            with pytest.raises(ArgumentError, match="heads: expected a divisor"):
                getattr(native, op)(**{**usable_arguments(op), "heads": heads})


def test_kernels_of_convolutions_are_odd():
    x = np.ones((6, 4), np.float32)
    with pytest.raises(ShapeError, match="odd number of taps, found 2"):
        native.depthwise_conv(x, np.ones((2, 4), np.float32), np.ones(4, np.float32))
    with pytest.raises(ShapeError, match="multiple of 4 columns, found 6"):
        native.stem_conv(x, np.ones((3, 6), np.float32), np.ones(3, np.float32))
    with pytest.raises(ArgumentError, match="stride: expected at least 1, found 0"):
        native.stem_conv(x, np.ones((3, 8), np.float32), np.ones(3, np.float32), stride=0)
    with pytest.raises(ShapeError, match="even number of columns, found 3"):
        native.glu(np.ones((2, 3), np.float32))


@pytest.mark.parametrize("op", ["conformer_layer", "conformer_layer_qs8"])
def test_conformer_layer_names_the_missing_weight(op):
    arguments = usable_arguments(op)
    for suffix in arguments["weights"]:
        weights = {name: w for name, w in arguments["weights"].items() if name != suffix}
        with pytest.raises(ArgumentError, match=f"expected {suffix}, found none"):
            getattr(native, op)(**{**arguments, "weights": weights})


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "silu"])
def test_nan_goes_through(op, monkeypatch):
    for isa in _lib.available_isas():
        monkeypatch.setenv("EE_REF_ISA", isa)
        for column in (0, 7, 8, 12):
            x = np.ones((2, 13), np.float32)
            x[1, column] = np.nan
            result = getattr(native, op)(x)
            assert np.isnan(result[1, column]) and not np.isnan(result[0]).any(), (isa, column)


def test_exponentials_at_the_ends_of_the_range(monkeypatch):
    x = np.array([[0, -1, -80, -87.3, -88, -95, -103, -104, -1000, -np.inf]], np.float32)
    exact = np.exp(x.astype(np.float64))
    for isa in _lib.available_isas():
        monkeypatch.setenv("EE_REF_ISA", isa)
        found = native.softmax(x) * exact.sum()
        np.testing.assert_allclose(found, exact, rtol=3e-7, atol=1.5e-45, err_msg=isa)
        gates = np.array([[-np.inf, -200, -89, 89, 200, np.inf]], np.float32)
        values = native.glu(np.concatenate([np.ones_like(gates), gates], axis=1))
        np.testing.assert_allclose(values, [[0, 0, 0, 1, 1, 1]], atol=1e-37, err_msg=isa)


# Instruction sets


def test_isa_is_capped_by_the_environment(monkeypatch):
    for isa in _lib.available_isas():
        monkeypatch.setenv("EE_REF_ISA", isa)
        assert _lib.isa() == isa
    for isa in set(_lib.built_isas()) - set(_lib.available_isas()):
        monkeypatch.setenv("EE_REF_ISA", isa)
        assert _lib.isa() == _lib.available_isas()[-1]
    for unset in ("", None):
        monkeypatch.setenv("EE_REF_ISA", unset) if unset == "" else monkeypatch.delenv("EE_REF_ISA")
        assert _lib.isa() == _lib.available_isas()[-1]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "c ", "mve"])
def test_unknown_isa_is_refused(monkeypatch, name):
    monkeypatch.setenv("EE_REF_ISA", name)
    with pytest.raises(ArgumentError, match="EE_REF_ISA: expected one of c, .*, found"):
        native.silu(np.ones((1, 1), np.float32))
    with pytest.raises(ArgumentError, match="EE_REF_ISA"):
        NativeModel(SMALL, random_tensors(SMALL))


def test_isas_agree_on_a_whole_model(monkeypatch, features):
    tensors, results = random_tensors(SMALL), []
    for isa in _lib.available_isas():
        monkeypatch.setenv("EE_REF_ISA", isa)
        results.append([out.log_probs for out in NativeModel(SMALL, tensors).exits(features)])
    for other in results[1:]:
        for exit_, (a, b) in enumerate(zip(results[0], other), start=1):
            assert_close(b, a, 1e-5, f"exit {exit_}")


PACKABLE = [
    dataclasses.replace(SMALL, dim=48, heads=4, ff=405, vocab=33),
    dataclasses.replace(SMALL_SPLITFORMER, dim=16, heads=4),
    dataclasses.replace(SMALL_ZIPFORMER, dim=16, heads=4, max_frames=50),
    dataclasses.replace(SMALL_LSTM, dim=16, heads=4, lstm_width=9),
]
"""Models whose matrices are several blocks of `in`, and no whole panels."""
PACKING_ISAS = {"f32": {"avx2", "avx512", "vnni", "amx"}, "qs8": {"vnni", "amx"}}


def packable(config, dtype):
    """The model with random weights."""
    return (config, random_tensors(config)) if dtype == "f32" else random_int8_model(config, 7)


@pytest.mark.parametrize("dtype", PACKING_ISAS)
@pytest.mark.parametrize("config", PACKABLE, ids=lambda one: one.architecture)
def test_packing_changes_no_byte(config, dtype, isa):
    config, tensors = packable(config, dtype)
    features = random_features(163, 5)[:, :config.mels]
    plain = NativeModel(config, tensors)
    for threads in (1, 2):
        packed = NativeModel(config, tensors, threads, packed=True)
        assert same(plain.exits(features), packed.exits(features))
        assert (len(packed._packed) > 0) == (isa in PACKING_ISAS[dtype])


@pytest.mark.parametrize("dtype", PACKING_ISAS)
def test_a_packed_model_reads_its_copy(dtype, features, isa):
    packed = NativeModel(*packable(PACKABLE[0], dtype), packed=True)
    before = list(packed.exits(features))
    packed._packed[: len(packed._packed) // 2] = 0  # matrices; the table of ops is at the end
    assert same(before, packed.exits(features)) == (len(packed._packed) == 0)


def test_packing_does_nothing_where_it_gains_nothing(features):
    packed = NativeModel(SMALL, random_tensors(SMALL), packed=True)  # dim 20
    assert len(packed._packed) == 0
    assert same(NativeModel(SMALL, random_tensors(SMALL)).exits(features), packed.exits(features))


# Sessions


def same(a, b):
    """Whether two lists of outputs are of the same exits, rows and bytes."""
    return [(x.exit, x.first, x.hidden.tobytes(), x.log_probs.tobytes()) for x in a] == [
        (x.exit, x.first, x.hidden.tobytes(), x.log_probs.tobytes()) for x in b]


def test_exits_come_one_after_another(model, features):
    outputs = list(model.exits(features))
    assert [(out.exit, out.first) for out in outputs] == [(1, 0), (2, 0), (3, 0)]
    for out in outputs:
        assert out.log_probs.dtype == out.hidden.dtype == np.float32
        assert out.log_probs.shape == (SMALL.encoder_frames(70), SMALL.vocab)
        assert out.hidden.shape == (SMALL.encoder_frames(70), SMALL.dim)
        np.testing.assert_allclose(np.exp(out.log_probs).sum(axis=1), 1, atol=1e-5)


def test_the_hidden_rows_are_what_the_head_is_given(features):
    tensors = random_tensors(SMALL)
    for out in NativeModel(SMALL, tensors).exits(features):
        head = [tensors[f"head.{out.exit}.{part}"] for part in ("weight", "bias")]
        assert_close(out.log_probs, ops.exit_head(out.hidden, *head), 1e-5, f"exit {out.exit}")


@pytest.mark.parametrize("slices", [[70], [1] * 70, [7, 0, 60, 3], [69, 1], [10] * 7])
def test_slices_give_what_the_whole_gives(model, features, slices):
    session = model.start(90)
    for end in np.cumsum(slices):
        assert not list(session.exits())  # a full view waits for the end
        piece = features[end - slices[0] : end].copy()
        session.feed(piece, last=bool(end == 70))
        piece[:] = np.nan  # nothing of it is read later
        slices = slices[1:]
    assert same(session.exits(), model.exits(features))


def test_exits_go_on_where_they_stopped(model, features):
    session = model.start(70)
    session.feed(features, last=True)
    assert [next(session.exits()).exit for _ in range(3)] == [1, 2, 3]
    assert not list(session.exits())


def test_what_is_refused_leaves_the_session_as_it_was(model, features):
    session = model.start(70)
    session.feed(features[:30])
    for wrong, error in ((features[:41], TooLongError), (features[:9, 1:].copy(), ShapeError),
                         (features[:1] * np.nan, ArgumentError)):
        with pytest.raises(error, match="^features"):
            session.feed(wrong)
    session.feed(features[30:], last=True)
    for piece in (features[:0], features):
        with pytest.raises(StateError, match="expected no features after the last ones"):
            session.feed(piece)
    assert same(session.exits(), model.exits(features))


def test_two_threads_cannot_use_one_session(model, features):
    session = model.start(70)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with session._alone:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(60)
    session_exits = session.exits()
    for use in (lambda: session.feed(features, last=True), lambda: next(session_exits)):
        with pytest.raises(StateError, match="one thread at a time"):
            use()
    leave.set()
    thread.join()
    session.feed(features, last=True)
    assert same(session.exits(), model.exits(features))


def test_outputs_belong_to_the_caller(model, features):
    outputs = list(model.exits(features))
    assert same(outputs, model.exits(features))


def test_an_arena_is_used_again_where_it_is_large_enough(features, monkeypatch):
    made = []
    monkeypatch.setattr(_session, "aligned", lambda *sizes: made.append(sizes) or aligned(*sizes))
    model = NativeModel(SMALL, random_tensors(SMALL))
    short = np.ascontiguousarray(features[:30])
    made.clear()
    long, first = list(model.exits(features)), list(model.exits(short))
    for _ in model.exits(short):
        break  # an utterance that stops early is done with too
    assert len(made) == 1
    again = list(model.exits(short))
    assert len(made) == 1 and len(list(model.exits(features))) == len(long)
    assert same(first, again)
    assert same(first, NativeModel(SMALL, random_tensors(SMALL)).exits(short))


def test_two_generators_of_one_model(model, features):
    shifted = np.ascontiguousarray(features[3:])
    one, two = zip(*zip(model.exits(features), model.exits(shifted)))
    assert same(one, model.exits(features)) and same(two, model.exits(shifted))


def test_two_threads_of_one_model(model, features):
    expected, found = list(model.exits(features)), [None] * 4

    def run(index):
        found[index] = [list(model.exits(features)) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(expected, outputs) for results in found for outputs in results)


@pytest.mark.parametrize("frames", range(8))
def test_shortest_utterances(model, frames):
    outputs = list(model.exits(np.ones((frames, SMALL.mels), np.float32)))
    assert [out.log_probs.shape for out in outputs] == [(int(frames == 7), SMALL.vocab)] * 3


def test_longest_utterance(model):
    longest = max(n for n in range(1000) if SMALL.encoder_frames(n) == SMALL.max_frames)
    features = np.ones((longest + 1, SMALL.mels), np.float32)
    assert len(next(model.exits(features[:-1])).log_probs) == SMALL.max_frames
    for refused in (lambda: model.exits(features), lambda: model.arena_size(longest + 1)):
        with pytest.raises(TooLongError, match="at most 40 encoder frames|EE_ERR_TOO_MANY"):
            refused()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_are_finite(model, features, value):
    wrong = features.copy()
    wrong[-1, -1] = value
    with pytest.raises(ArgumentError, match="^features: expected finite"):
        model.exits(wrong)


def test_features_have_the_right_layout(model, features):
    wrong = (features[:, :-1], features.astype(np.float64), features.T, features[0])
    for array in wrong:
        with pytest.raises(ShapeError, match="^features: expected"):
            model.exits(array)


def test_features_need_not_lie_together(model, features):
    apart = np.repeat(features, 2, axis=0)[::2]
    assert not apart.flags.c_contiguous
    assert same(model.exits(apart), model.exits(features))


def test_arena_one_byte_too_small_is_refused(model, features):
    size = model.arena_size(len(features))
    arena = np.full(size + 64, 0xA5, np.uint8)
    arena = arena[-arena.ctypes.data % 64 :]
    ffi, lib = _lib.ffi, _lib.lib
    result = ffi.new("ee_session **")
    status = lib.ee_session_open(result, model.handle, model.team, ffi.from_buffer(arena), size - 1,
                                 len(features))
    assert status == lib.EE_ERR_ARENA_TOO_SMALL and not result[0]
    assert (arena == 0xA5).all()
    with pytest.raises(ArenaError, match="smaller than ee_arena_size"):
        _lib.ensure(status)


def test_arena_grows_with_the_frames(model):
    sizes = [model.arena_size(frames) for frames in range(SMALL.max_frames * 4)]
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0] > 0


# Tensors


@pytest.mark.parametrize("family", [SMALL, SMALL_SPLITFORMER, SMALL_ZIPFORMER, SMALL_LSTM],
                         ids=lambda one: one.architecture)
@pytest.mark.parametrize("change", [{}, {"dtype": "qs8"}, {"positions": "none", "max_frames": 0}])
def test_c_takes_the_tensors_of_the_file(family, change):
    """One order, and the names, shapes and types of one table."""
    config = dataclasses.replace(family, **change)
    c_config, lib = _session._c_config(config), _lib.lib
    assert c_config.architecture == config.number
    specs = [spec for spec in tensor_specs(config) if not spec.name.startswith("frontend.")]
    info = _lib.ffi.new("ee_tensor_info *")
    for number, spec in enumerate(specs):
        assert lib.ee_tensor_at(c_config, number, info) == lib.EE_OK
        part = f"group.{info.exit}.layer.{info.layer}." if info.layer else (
            f"head.{info.exit}." if info.exit else "stem.")
        if info.layer > config.layers_per_exit[info.exit - 1]:
            part = splitformer.parallel_prefix(info.exit)
        scale = "_scale" if info.kind == lib.EE_TENSOR_SCALES else ""
        assert part + _lib.ffi.string(info.name).decode() + scale == spec.name
        assert (1, *spec.shape)[-2:] == (info.rows, info.columns)
        assert (info.kind == lib.EE_TENSOR_INT8) == (spec.dtype == "int8")
        assert info.bytes == np.dtype(spec.dtype).itemsize * np.prod(spec.stored_shape)
    assert lib.ee_tensor_at(c_config, len(specs), info) == lib.EE_DONE


def test_a_family_that_c_has_not_is_refused():
    class Other(type(SMALL)):
        architecture = "ee-other"

    config = Other(**dataclasses.asdict(SMALL))
    with pytest.raises(ArgumentError, match="architecture it knows, found 'ee-other'; backend"):
        _session._c_config(config)


def test_tensors_of_a_model_file_are_used_in_place(features):
    tensors = random_tensors(SMALL)
    views = {}
    for name, tensor in tensors.items():
        stored = padded_shape(tensor.shape)
        memory = np.full(4 * int(np.prod(stored)) + 64, 0xFF, np.uint8)  # NaN as padding
        start = -memory.ctypes.data % 64
        rows = memory[start : start + 4 * int(np.prod(stored))].view(np.float32).reshape(stored)
        rows[..., : tensor.shape[-1]] = tensor
        views[name] = rows[..., : tensor.shape[-1]]
    in_place, copied = NativeModel(SMALL, views), NativeModel(SMALL, tensors)
    assert all(a is b for a, b in zip(in_place._tensors, views.values()))
    assert same(in_place.exits(features), copied.exits(features))


def test_model_keeps_its_tensors_alive(features):
    tensors = random_tensors(SMALL)
    model = NativeModel(SMALL, tensors)
    expected = list(model.exits(features))
    tensors.clear()
    junk = [np.full(s.shape, np.nan, np.float32) for s in tensor_specs(SMALL)]
    assert same(expected, model.exits(features))
    del junk


def test_generator_keeps_its_model_alive(features):
    outputs = NativeModel(SMALL, random_tensors(SMALL)).exits(features.copy())
    assert len(list(outputs)) == 3


def test_wrong_tensors_are_refused():
    tensors = random_tensors(SMALL)
    name = "group.2.layer.1.ff1.up.weight"
    without = {key: value for key, value in tensors.items() if key != name}
    with pytest.raises(ArgumentError, match=name):
        NativeModel(SMALL, without)
    for wrong in (tensors[name].T, tensors[name].astype(np.float64), tensors[name][:-1]):
        with pytest.raises(ShapeError, match=name):
            NativeModel(SMALL, {**tensors, name: wrong})


def test_frontend_tensors_are_not_needed():
    config = dataclasses.replace(SMALL, frontend="logmel", n_fft=512, win_length=400)
    NativeModel(config, random_tensors(SMALL))


# CRC-32


@pytest.mark.parametrize("isa", _lib.available_isas())
def test_crc32_is_that_of_zlib(monkeypatch, isa):
    monkeypatch.setenv("EE_REF_ISA", isa)
    data = np.random.default_rng(5).bytes(5000)
    for length in [*range(300), 1023, 1024, 1025, 4999]:
        for start in (0, 1, 15, 16):
            piece = memoryview(data)[start : start + length]
            assert crc32(piece) == zlib.crc32(piece), (length, start)


def test_crc32_of_an_array():
    array = np.arange(1000, dtype=np.float32)
    array.flags.writeable = False
    assert crc32(array) == zlib.crc32(array)
    assert crc32(array.reshape(10, 100)) == zlib.crc32(array)


# Build


def test_package_works_without_the_c_module(tmp_path):
    """A copy of the package without the module: imports, NumPy ops, one clear error on use."""
    for package in ("ee_ref", "weights_io"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so"))
    program = (
        "import numpy as np, ee_ref\n"
        "from ee_ref import native, ops\n"
        "from ee_ref.errors import NativeUnavailable\n"
        "x = np.ones((2, 3), np.float32)\n"
        "ops.silu(x)\n"
        "for use in (lambda: native.silu(x), lambda: __import__('ee_ref.native._crc32')):\n"
        "    try:\n"
        "        use()\n"
        "    except NativeUnavailable as error:\n"
        "        assert 'C compiler' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path,
                   env={**os.environ, "PYTHONPATH": str(tmp_path)})
