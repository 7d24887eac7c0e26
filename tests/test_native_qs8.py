"""int8 mode in C: the bytes of the NumPy ops and of the goldens, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from ee_ref import native, ops
from ee_ref.conformance.cases import cases_of, op_names
from ee_ref.conformance.draw import SMALL, random_features, random_int8_model
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, NativeUnavailable, ShapeError
from ee_ref.families import tensors as tensor_specs
from ee_ref.frontend import front_end
from tests import speech_layouts
from tests.support import FULL, GOLDEN, INT8_CLIPS, INT8_FULL, SMALL_SEED, frozen, in_place
from tests.test_ops import Guards, assert_same, flat

try:
    from ee_ref.native import _arrays, _kernel, _lib
    from ee_ref.native._session import NativeModel
except NativeUnavailable as error:
    pytest.skip(str(error), allow_module_level=True)

ALL = [pytest.param(op, case, id=f"{op}-{case.name}")
       for op in op_names("qs8") for case in cases_of(op)]


with np.load(GOLDEN / "int8.npz") as arrays:
    INT8_GOLDEN = dict(arrays)


def run(package, op: str, arguments: dict) -> list[np.ndarray]:
    """Every array that an op returns."""
    return flat(getattr(package, op)(**arguments))


def assert_same_bytes(actual, expected, what: str) -> None:
    assert len(actual) == len(expected), what
    for number, (a, b) in enumerate(zip(actual, expected)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{what}, output {number}"
        if a.tobytes() != b.tobytes():
            at = np.argwhere(a != b)
            pytest.fail(f"{what}, output {number}: {len(at)} of {a.size} differ, first {at[:3]}")


class AlignedGuards:
    """In place of `_arrays.aligned`: memory between sentinels, not one byte more than asked for."""

    BYTES, SENTINEL = 64, 0xA5

    def __init__(self):
        self._taken: list[tuple[np.ndarray, int, int]] = []

    def aligned(self, size: int, alignment: int) -> np.ndarray:
        buffer = np.full(size + 2 * self.BYTES + alignment, self.SENTINEL, np.uint8)
        start = self.BYTES - (buffer.ctypes.data + self.BYTES) % -alignment
        self._taken.append((buffer, start, start + size))
        return buffer[start : start + size]

    def check(self, what: str) -> None:
        for buffer, start, end in self._taken:
            outside = np.concatenate([buffer[:start], buffer[end:]])
            assert (outside == self.SENTINEL).all(), f"{what}: wrote outside {end - start} bytes"


def guard_floats(guards: Guards, value):
    """The argument with its float32 arrays in guarded memory; int8 ones are copied by adapters."""
    if isinstance(value, dict):
        return {name: guard_floats(guards, part) for name, part in value.items()}
    if isinstance(value, ops.LayerPast):
        return ops.LayerPast(*(guard_floats(guards, part) for part in value))
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return value
    copy = guards.empty(value.shape)
    copy[...] = value
    return copy


@pytest.mark.parametrize("op, case", ALL)
def test_c_gives_the_bytes_of_numpy_inside_sentinels(op, case, isa, monkeypatch):
    expected = run(ops, op, case.arguments())
    guards, aligned = Guards(), AlignedGuards()
    arguments = guard_floats(guards, case.arguments())
    with monkeypatch.context() as patch:
        patch.setattr(np, "empty", guards.empty)
        patch.setattr(np, "empty_like", lambda like: guards.empty(like.shape, like.dtype))
        patch.setattr(_arrays, "aligned", aligned.aligned)
        actual = run(native, op, arguments)

    name = f"{op}/{case.name} on {isa}"
    assert_same_bytes(actual, expected, name)
    guards.check(name)
    aligned.check(name)
    assert_same(arguments, case.arguments(), name)


@pytest.mark.parametrize("op", in_place("qs8"))
def test_c_works_in_place(op, isa, monkeypatch):
    for case in cases_of(op):
        arguments = case.arguments()
        expected = run(ops, op, case.arguments())
        with monkeypatch.context() as patch:
            patch.setattr(np, "empty_like", lambda like: like)
            actual = run(native, op, arguments)
        assert actual[0] is arguments["x"], f"{op}: the adapter did not write where it was told"
        assert_same_bytes(actual, expected, f"{op}/{case.name} in place on {isa}")


@pytest.mark.parametrize("ins", [16, 33, 520, 1030])
def test_padding_of_weights_does_not_matter(ins, isa, monkeypatch):
    """What lies behind a row of weights in a model file is multiplied by zeros."""
    draw = np.random.Generator(np.random.PCG64(ins))
    q, weight = (draw.integers(-127, 128, (7, ins), np.int8) for _ in range(2))
    scale = draw.random(7, np.float32)
    expected = native.linear_qs8(q, scale, weight, scale, scale)

    def padded_with_junk(array):
        result = padded(array)
        if array is weight:
            result[:, ins:] = draw.integers(-128, 128, result[:, ins:].shape, np.int8)
        return result

    padded = _arrays.padded_int8
    monkeypatch.setattr(_kernel, "padded_int8", padded_with_junk)
    assert_same_bytes([native.linear_qs8(q, scale, weight, scale, scale)], [expected], isa)


@pytest.mark.parametrize("value, expected", [(127, 65536 * 127**2), (-127, -65536 * 127**2)])
def test_longest_sums_stay_inside_int32(value, expected, isa):
    q = np.full((3, 65536), 127, np.int8)
    weight = np.full((5, 65536), value, np.int8)
    ones = np.ones(5, np.float32)
    result = native.linear_qs8(q, ones[:3], weight, ones, ones * 0)
    assert (result == np.float32(expected)).all()


# ---- Whole models ----


@pytest.fixture(scope="module")
def small():
    return random_int8_model(SMALL, SMALL_SEED)


@pytest.mark.parametrize("frames", [0, 6, 7, 8, 11, 70, 160])
def test_small_model_gives_the_bytes_of_numpy(frames, small, isa):
    features = random_features(frames, 5, SMALL.mels)
    expected = [out.log_probs for out in ReferenceEncoder(*small).exits(features)]
    actual = [out.log_probs for out in NativeModel(*small).exits(features)]
    assert_same_bytes(actual, expected, f"{frames} frames on {isa}")


@pytest.mark.parametrize("seed, qk_gain", [
    INT8_FULL[0], *(pytest.param(*model, marks=pytest.mark.slow) for model in INT8_FULL[1:])])
def test_full_shape_gives_the_frozen_bytes(seed, qk_gain, native_library, monkeypatch):
    config, tensors = random_int8_model(FULL, seed, qk_gain)
    for isa in _lib.available_isas():
        monkeypatch.setenv("EE_REF_ISA", isa)
        model = NativeModel(config, tensors)
        for clip in INT8_CLIPS:
            for out in model.exits(random_features(clip.frames, clip.seed)):
                name = f"full/{seed}/{qk_gain}/{clip.frames}/{out.exit}"
                assert np.array_equal(frozen(out.log_probs), INT8_GOLDEN[name]), f"{name} on {isa}"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", speech_layouts.MODELS)
def test_models_of_samples_give_the_frozen_bytes(name, threads, isa):
    """wav2vec 2.0, HuBERT, WavLM; also packed, and fed in pieces."""
    config, tensors = speech_layouts.int8_model(speech_layouts.MODELS[name])
    models = [NativeModel(config, tensors, threads, packed) for packed in (False, True)]
    for samples in speech_layouts.LENGTHS:
        features = front_end(config, {}, "numpy")(speech_layouts.clip(samples))
        pieces = models[0].start(samples)
        pieces.feed(features[:301])
        pieces.feed(features[301:], last=True)
        for found in (*(list(model.exits(features)) for model in models), list(pieces.exits())):
            assert len(found) == config.exits
            for out in found:
                key = f"wav2vec2/{name}/{samples}/{out.exit}"
                assert np.array_equal(frozen(out.log_probs), INT8_GOLDEN[key]), f"{key} on {isa}"


def test_tensors_of_a_model_file_are_used_in_place(small):
    config, tensors = small
    views = {}
    for spec in tensor_specs(config):
        item = np.dtype(spec.dtype).itemsize
        memory = _arrays.aligned(item * int(np.prod(spec.stored_shape)), 64)
        memory[:] = 0x5A  # as padding
        rows = memory.view(spec.dtype).reshape(spec.stored_shape)
        rows[..., : spec.shape[-1]] = tensors[spec.name]
        views[spec.name] = rows[..., : spec.shape[-1]]
    model = NativeModel(config, views)
    assert all(a is b for a, b in zip(model._tensors, views.values()))
    features = random_features(70, 5, SMALL.mels)
    expected = [out.log_probs for out in NativeModel(config, tensors).exits(features)]
    assert_same_bytes([out.log_probs for out in model.exits(features)], expected, "in place")


def test_wrong_tensors_are_refused(small):
    config, tensors = small
    name = "group.2.layer.1.ff1.up.weight"
    without = {key: value for key, value in tensors.items() if key != f"{name}_scale"}
    with pytest.raises(ArgumentError, match=f"{name}_scale"):
        NativeModel(config, without)
    for wrong in (tensors[name].astype(np.float32), tensors[name].T, tensors[name][:-1]):
        with pytest.raises(ShapeError, match=f"{name}: expected int8"):
            NativeModel(config, {**tensors, name: wrong})
