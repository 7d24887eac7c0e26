"""The ops: NumPy against PyTorch, the C kernels against NumPy and PyTorch, and laws of both."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ee_ref import native, ops
from ee_ref.conformance.cases import cases_of, op_names, outputs
from ee_ref.conformance.draw import Stream
from ee_ref.ops._lines import lines
from ee_ref.ops._names import OLD_NAMES
from tests.support import assert_close, error, in_place


def params(ops_: Iterable[str]) -> list:
    return [pytest.param(op, case, id=f"{op}-{case.name}") for op in ops_ for case in cases_of(op)]


ALL = params(op_names())


@pytest.mark.parametrize("op, case", ALL)
def test_numpy_gives_pytorch_values(op, case, ops_golden):
    with np.errstate(all="raise", under="ignore"):
        found = outputs(op, getattr(ops, op)(**case.arguments()))
    for number, result in enumerate(found):
        name = f"{op}/{case.name}/{number}"
        assert_close(result, ops_golden[name], case.tolerance, name)


@pytest.mark.parametrize("op, case", ALL)
def test_c_gives_numpy_and_pytorch_values_inside_sentinels(op, case, isa, ops_golden, monkeypatch):
    expected = flat(getattr(ops, op)(**case.arguments()))
    guards = Guards()
    arguments = guards.around(case.arguments())
    with monkeypatch.context() as patch:
        patch.setattr(np, "empty", guards.empty)
        patch.setattr(np, "empty_like", lambda like: guards.empty(like.shape, like.dtype))
        results = flat(getattr(native, op)(**arguments))

    name = f"{op}/{case.name} on {isa}"
    for result, numpy in zip(results, expected, strict=True):
        assert_close(result, numpy, case.tolerance, f"{name} against NumPy")
    for number, result in enumerate(results[: len(lines()[op].outputs)]):
        golden = ops_golden[f"{op}/{case.name}/{number}"]
        assert_close(result, golden, case.tolerance, f"{name} against PyTorch")
    guards.check(name)
    assert_same(arguments, case.arguments(), name)


@pytest.mark.parametrize("op", in_place("f32"))
def test_c_works_in_place(op, isa, monkeypatch):
    for case in cases_of(op):
        arguments = case.arguments()
        expected = flat(getattr(native, op)(**arguments))
        with monkeypatch.context() as patch:
            patch.setattr(np, "empty_like", lambda like: like)
            found = flat(getattr(native, op)(**arguments))
        assert found[0] is arguments["x"], f"{op}: the adapter did not write where it was told"
        for result, alone in zip(found, expected, strict=True):
            assert np.array_equal(result, alone), f"{op}/{case.name} in place"


@pytest.mark.parametrize("ins", [40, 360])
def test_an_output_of_linear_depends_on_its_own_row_and_weights_only(isa, ins):
    """Whatever tile, block or thread it falls to: the same bytes."""
    draw = Stream(ins)
    x, weight, bias = draw(260, ins), draw.weight(70, ins), draw.bias(70)
    expected = native.linear(x, weight, bias)
    for n in range(1, 31):
        some = slice(n, 2 * n)
        np.testing.assert_array_equal(native.linear(x[some], weight, bias), expected[some])
        np.testing.assert_array_equal(native.linear(x[:15], weight[some], bias[some]),
                                      expected[:15, some])


@pytest.mark.parametrize("op", op_names())
def test_no_rows_give_no_rows(op, isa):
    arguments = cases_of(op)[0].arguments()
    arguments["x"] = arguments["x"][:0]
    for result in flat(getattr(native, op)(**arguments)):
        assert result.shape[0] == 0 and result.dtype == np.float32


NOT_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixtures need no renewing between examples."""

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 40)


@NOT_RESET
@given(seed=seeds, rows=sizes, size=sizes, scale=st.sampled_from([0.0, 1.0, 50.0, 1e4]))
def test_softmax_sums_to_one_and_log_softmax_is_its_logarithm(op_set, seed, rows, size, scale):
    x = Stream(seed)(rows, size, low=-scale, high=scale)
    probabilities, log_probs = op_set.softmax(x), op_set.log_softmax(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=2e-6)
    assert (probabilities >= 0).all() and (log_probs <= 0).all()
    np.testing.assert_allclose(np.exp(log_probs), probabilities, rtol=1e-5, atol=1e-30)


@NOT_RESET
@given(seed=seeds, size=st.integers(2, 40), shift=st.integers(-64, 64))
def test_softmax_does_not_see_what_is_added_to_a_row(op_set, seed, size, shift):
    x = np.round(Stream(seed)(3, size, low=-512, high=512)) / 64  # exact with any such shift
    moved = x + np.float32(shift)
    assert np.array_equal(op_set.softmax(moved), op_set.softmax(x))
    assert error(op_set.log_softmax(moved), op_set.log_softmax(x)) <= 1e-6


@NOT_RESET
@given(seed=seeds, size=st.integers(4, 40), scale=st.floats(0.5, 1000), shift=st.floats(-4, 4))
def test_layer_norm_does_not_see_scale_or_shift(op_set, seed, size, scale, shift):
    draw = Stream(seed)
    x = draw(3, size) + np.array([1, -1] * (size // 2) + [0] * (size % 2), np.float32)
    weight, bias = draw.norm(size)
    moved = x * np.float32(scale) + np.float32(shift * scale)
    # Rounding x times scale + shift costs up to 4 + 1 times 2^-24 of a deviation of about 1.
    assert error(
        op_set.layer_norm(moved, weight, bias, 1e-12), op_set.layer_norm(x, weight, bias, 1e-12)
    ) <= 1e-5


@NOT_RESET
@given(seed=seeds, rows=sizes, size=sizes)
def test_layer_norm_gives_mean_zero_and_variance_one(op_set, seed, rows, size):
    x = Stream(seed)(rows, size, low=-100, high=100)
    ones, zeros = np.ones(size, np.float32), np.zeros(size, np.float32)
    y = op_set.layer_norm(x, ones, zeros).astype(np.float64)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=2e-5)
    if size > 3:
        np.testing.assert_allclose(y.var(axis=1), 1, rtol=1e-3)


@NOT_RESET
@given(seed=seeds, rows=sizes, size=sizes)
def test_silu_and_glu_are_one_sigmoid(op_set, seed, rows, size):
    draw = Stream(seed)
    x = draw(rows, size, low=-30, high=30)
    # sigmoid(x) + sigmoid(-x) = 1
    np.testing.assert_allclose(op_set.silu(x) - op_set.silu(-x), x, rtol=1e-6, atol=1e-30)
    # silu(x) = x sigmoid(x)
    assert error(op_set.glu(np.concatenate([x, x], axis=1)), op_set.silu(x)) <= 5e-7


@NOT_RESET
@given(seed=seeds, rows=st.integers(2, 40), dim=sizes, kernel=st.sampled_from([1, 3, 5, 31]),
       shift=sizes)
def test_depthwise_conv_moves_with_its_input(op_set, seed, rows, dim, kernel, shift):
    draw = Stream(seed)
    x, weight, bias = draw(rows, dim), draw(kernel, dim), draw.bias(dim)
    reach = kernel // 2
    frame = np.zeros((shift + reach, dim), np.float32)
    padded = np.concatenate([frame, x, np.zeros((reach, dim), np.float32)])
    y = op_set.depthwise_conv(padded, weight, bias)[len(frame) : len(frame) + rows]
    assert error(y, op_set.depthwise_conv(x, weight, bias)) <= 2e-6


@NOT_RESET
@given(seed=seeds, frames=st.integers(3, 40), channels=sizes, outs=sizes, skip=st.integers(0, 10))
def test_stem_conv_moves_by_one_frame_for_each_stride(op_set, seed, frames, channels, outs, skip):
    draw = Stream(seed)
    x = draw(2 * skip + frames, channels)
    weight, bias = draw.weight(outs, 3 * channels), draw.bias(outs)
    whole, part = op_set.stem_conv(x, weight, bias), op_set.stem_conv(x[2 * skip :], weight, bias)
    np.testing.assert_allclose(whole[skip:], part, rtol=0, atol=2e-6)


@NOT_RESET
@given(seed=seeds, rows=sizes, order=st.randoms(use_true_random=False))
def test_attention_without_positions_follows_the_order_of_frames(op_set, seed, rows, order):
    draw, dim = Stream(seed), 12
    x = draw(rows, dim)
    weights = draw.weight(36, dim), draw.bias(36), draw.weight(dim, dim), draw.bias(dim)
    shuffled = np.array(order.sample(range(rows), rows))
    y, _ = op_set.multi_head_attention(x, *weights, heads=3)
    found, _ = op_set.multi_head_attention(x[shuffled], *weights, heads=3)
    np.testing.assert_allclose(found, y[shuffled], rtol=0, atol=3e-6)


@NOT_RESET
@given(seed=seeds, rows=sizes, ins=sizes, outs=sizes)
def test_linear_is_linear(op_set, seed, rows, ins, outs):
    draw = Stream(seed)
    a, b, weight = draw(rows, ins), draw(rows, ins), draw.weight(outs, ins)
    np.testing.assert_allclose(
        op_set.linear(a + b, weight), op_set.linear(a, weight) + op_set.linear(b, weight),
        rtol=0, atol=1e-5,
    )


def flat(result) -> list[np.ndarray]:
    """Every array of what an op returns."""
    return [array for part in result for array in flat(part)] if isinstance(result, tuple) else [
        result]


def arrays_of(arguments: dict) -> dict[str, np.ndarray]:
    """Every array among the arguments; those of a mapping as `mapping/name`."""
    arrays = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, (dict, ops.LayerPast)):
            parts = value if isinstance(value, dict) else value._asdict()
            arrays |= {f"{name}/{part}": array for part, array in parts.items()}
    return arrays


def assert_same(arguments: dict, before: dict, what: str) -> None:
    """Fail if a call changed one of its inputs."""
    for name, array in arrays_of(before).items():
        assert np.array_equal(arrays_of(arguments)[name], array), f"{what}: {name} was changed"


class Guards:
    """Memory with sentinels on both sides: reading over an end gives NaN, writing is found.

    Every array has a NaN of its own as its sentinel, for an op may well turn one NaN into itself.
    Arrays start 4 bytes past a multiple of 16; kernels may count on no more than that.
    """

    FLOATS = 65
    FIRST_NAN = 0x7FC0DE00

    def __init__(self):
        self._buffers: list[np.ndarray] = []

    def empty(self, shape, dtype=np.float32) -> np.ndarray:
        """As numpy.empty; the memory holds NaN until it is written."""
        assert dtype == np.float32
        buffer = np.zeros(math.prod(np.atleast_1d(shape)) + 2 * self.FLOATS, np.uint32)
        buffer[:] = self.FIRST_NAN + len(self._buffers)
        self._buffers.append(buffer)
        return buffer[self.FLOATS : -self.FLOATS].view(np.float32).reshape(shape)

    def around(self, arguments: dict) -> dict:
        """The arguments with every array copied into guarded memory."""
        return {name: self._around(value) for name, value in arguments.items()}

    def _around(self, value):
        if isinstance(value, dict):
            return self.around(value)
        if isinstance(value, ops.LayerPast):
            return ops.LayerPast(*map(self._around, value))
        if not isinstance(value, np.ndarray):
            return value
        copy = self.empty(value.shape, value.dtype)
        copy[...] = value
        return copy

    def check(self, what: str) -> None:
        """Fail if anything was written outside its array."""
        for number, buffer in enumerate(self._buffers):
            ends = np.concatenate([buffer[: self.FLOATS], buffer[-self.FLOATS :]])
            size = buffer.size - 2 * self.FLOATS
            assert (ends == self.FIRST_NAN + number).all(), (
                f"{what}: wrote outside an array of {size} floats"
            )


@pytest.mark.parametrize("package", [ops, native], ids=["ops", "native"])
def test_old_names_work_and_warn(package):
    for old, new in OLD_NAMES.items():
        with pytest.warns(DeprecationWarning, match=f"use {package.__name__}.{new}") as caught:
            assert getattr(package, old) is getattr(package, new)
        assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="has no attribute 'softmax_exact'"):
        package.softmax_exact  # noqa: B018
