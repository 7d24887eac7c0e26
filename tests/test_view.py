"""Layers with a limited view: what a frame sees, and the past that is handed from call to call."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ee_ref import native, ops
from ee_ref.conformance.cases import cases_of
from ee_ref.conformance.draw import Stream
from ee_ref.conformance.judge import error
from ee_ref.errors import ArgumentError, ShapeError
from tests.test_ops import flat

LAYERS = ("conformer_layer", "conformer_layer_qs8")
SAME = {"conformer_layer": 1e-5, "conformer_layer_qs8": 0.0}
"""How far the rows of slices may be from those of one call, as `error` measures it.

In float32 not the same bytes: BLAS orders sums by the shapes of its matrices.
"""

KERNEL = 5
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixtures need no renewing between examples."""

seeds = st.integers(0, 2**32 - 1)
views = st.builds(ops.View, st.sampled_from([1, 2, 3, 4, 7, 16, 40]),
                  st.sampled_from([0, 1, 3, 4, 9, 33]), st.sampled_from([None, 0, 1, KERNEL - 1]))


def layer_of(op_set, op):
    """The layer of the case frames_17 as a function of frames, view and past, and their width."""
    arguments = next(case for case in cases_of(op) if case.name == "frames_17").arguments()
    dim = arguments["x"].shape[1]
    del arguments["x"], arguments["view"]

    def layer(x, view, past=None):
        return getattr(op_set, op)(x=x, view=view, past=past, **arguments)

    return layer, dim


def assert_rows(found, expected, op):
    assert found.shape == expected.shape
    if SAME[op]:
        assert error(found, expected) <= SAME[op]
    else:
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("op", LAYERS)
@FEW
@given(seed=seeds, view=views, lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_slices_of_whole_chunks_give_what_one_call_gives(op_set, op, seed, view, lengths):
    layer, dim = layer_of(op_set, op)
    x = Stream(seed)(min(sum(lengths) * view.chunk, 200) - seed % view.chunk, dim)
    expected, kept = layer(x, view)
    rows, past, start = [], None, 0
    for length in lengths:
        y, past = layer(x[start : start + length * view.chunk], view, past)
        rows.append(y)
        start += length * view.chunk
    assert_rows(np.concatenate(rows), expected, op)
    behind = KERNEL - 1 - (KERNEL // 2 if view.ahead is None else view.ahead)
    assert past.kv.shape == (min(view.left, len(x)), 2 * dim)
    assert past.gated.shape == (min(behind, len(x)), dim)
    for array, whole in zip(past, kept, strict=True):
        assert_rows(array, whole, op)


@pytest.mark.parametrize("op", LAYERS)
@FEW
@given(seed=seeds, view=views, at=st.integers(0, 59))
def test_a_frame_sees_its_chunk_and_what_is_kept_of_the_frames_before(op_set, op, seed, view, at):
    """A frame that changes does so to its chunk and to those whose windows it is in, not others."""
    layer, dim = layer_of(op_set, op)
    x = Stream(seed)(60, dim)
    other = x.copy()
    other[at] += 1
    y, changed = layer(x, view)[0], layer(other, view)[0]
    behind = KERNEL - 1 - (KERNEL // 2 if view.ahead is None else view.ahead)
    # A row of the convolution `behind` frames back saw keys `left` frames before its own chunk.
    first = at // view.chunk * view.chunk
    last = at + view.left + behind + 2 * view.chunk
    differs = (y != changed).any(axis=1)
    assert not differs[:first].any() and not differs[last:].any() and differs[at]


@pytest.mark.parametrize("op", LAYERS)
def test_a_chunk_of_everything_is_the_full_view(op_set, op):
    layer, dim = layer_of(op_set, op)
    x = Stream(1)(40, dim)
    expected, nothing = layer(x, ops.FULL)
    assert [array.shape for array in nothing] == [(0, 2 * dim), (0, dim)]
    for view in (ops.View(0, 0, KERNEL // 2), ops.View(40), ops.View(41, 7)):
        assert_rows(layer(x, view)[0], expected, op)


@pytest.mark.parametrize("op", ["multi_head_attention", "multi_head_attention_qs8"])
def test_attention_does_not_see_beyond_its_window(op_set, op):
    arguments = next(case for case in cases_of(op) if case.name == "past_9").arguments()
    y, kv = getattr(op_set, op)(**arguments)
    arguments["past"][: len(arguments["past"]) - arguments["left"]] += 1
    again, _ = getattr(op_set, op)(**arguments)
    assert again.tobytes() == y.tobytes()
    arguments["past"][-arguments["left"]] += 1
    again, _ = getattr(op_set, op)(**arguments)
    chunk = arguments["chunk"]
    assert (again != y).any(axis=1)[:chunk].all()
    assert again[2 * chunk :].tobytes() == y[2 * chunk :].tobytes()


@pytest.mark.parametrize("op", LAYERS)
def test_what_is_wrong_with_a_view_or_a_past_is_said(native_library, op):
    layer, dim = layer_of(native, op)
    x = Stream(1)(8, dim)
    for view in (ops.View(-1), ops.View(4, -1), ops.View(4, 0, KERNEL), ops.View(4, 0, -1)):
        with pytest.raises(ArgumentError, match=r"view: expected .* found View\("):
            layer(x, view)
    _, past = layer(x, ops.View(4, 6))
    for field in past._fields:
        with pytest.raises(ShapeError, match=rf"past.{field}: expected shape"):
            layer(x, ops.View(4, 6), past._replace(**{field: getattr(past, field)[:, :-1].copy()}))


@pytest.mark.parametrize("name, value, message", [
    ("ahead", 7, "ahead: expected 0..6, found 7"), ("ahead", -1, "ahead: expected 0..6"),
    ("before", 13, "before, after: expected at least 0, and at most 12 together, found 13, 0"),
    ("after", -1, "before, after: expected at least 0"),
])
def test_convolutions_name_the_scalar_that_does_not_fit(native_library, name, value, message):
    arguments = next(
        case for case in cases_of("depthwise_conv") if case.name == "ahead_1").arguments()
    with pytest.raises(ArgumentError, match=message):
        native.depthwise_conv(**{**arguments, name: value})


@pytest.mark.parametrize("op", ["multi_head_attention", "multi_head_attention_qs8"])
@pytest.mark.parametrize("name", ["chunk", "left"])
def test_attention_refuses_negative_frames(native_library, op, name):
    arguments = {**cases_of(op)[0].arguments(), name: -1}
    with pytest.raises(ArgumentError, match=f"{name}: expected at least 0, found -1"):
        getattr(native, op)(**arguments)


@pytest.mark.parametrize("op", ["multi_head_attention", "conv_module"])
@pytest.mark.parametrize("mode", ["f32", "qs8"])
def test_defaults_are_the_full_view(op_set, op, mode):
    name = op if mode == "f32" else f"{op}_qs8"
    arguments = cases_of(name)[5].arguments()
    expected = flat(getattr(op_set, name)(**arguments))
    for scalar in ("ahead", "chunk", "left"):
        arguments.pop(scalar, None)
    for found, wanted in zip(flat(getattr(op_set, name)(**arguments)), expected, strict=True):
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("mode, floats", [("f32", 1), ("qs8", 4)])
def test_scratch_of_chunks_grows_with_frames_and_not_with_their_square(
        native_library, mode, floats):
    from ee_ref.native._lib import ffi, lib

    scratch = getattr(lib, f"ee_conformer_layer_{mode}_scratch")
    view = ffi.new("ee_view *", (16, 32, 15))
    sizes = [scratch(view, rows, 256, 8, 2048, 31, ffi.NULL) for rows in (480, 960, 1440)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] <= 480 * 256 * 5 * floats
