"""The state of an encoder: fed and stepped in any pieces, it gives what one feed gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref.conformance.draw import SMALL, Stream, random_features, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import Encoder, ReferenceEncoder
from ee_ref.errors import (
    ArgumentError,
    NativeUnavailable,
    ShapeError,
    StateError,
    TooLongError,
)
from ee_ref.families import ExitOutput
from ee_ref.families.conformer import Config
from ee_ref.quantize import quantize
from tests.support import assert_close

CHUNKED = Config(
    exits=3, layers_per_exit=(1, 2, 1), dim=8, heads=2, ff=12, kernel=7, vocab=5, mels=5,
    chunk=16, left=32, conv="chunk", positions="none", max_frames=0)
VIEWS = {
    "chunk": CHUNKED,
    "qs8": replace(CHUNKED, dtype="qs8"),
    "causal": replace(CHUNKED, chunk=4, left=6, conv="causal", kernel=11),
    "causal qs8": replace(CHUNKED, chunk=4, left=6, conv="causal", kernel=11, dtype="qs8"),
    "chunk alone": replace(CHUNKED, chunk=4, left=0, conv="chunk", kernel=1, dtype="qs8"),
    "positions": replace(CHUNKED, chunk=3, left=3, positions="table", max_frames=200, dtype="qs8"),
    "full": replace(CHUNKED, chunk=0, left=0, conv="centred"),
    "full qs8": replace(CHUNKED, chunk=0, left=0, conv="centred", dtype="qs8"),
}
TOLERANCE = 1e-6
"""Of float32, relative to the largest value in a row: room for libraries whose sums also depend on
where in memory a row lies. C and NumPy with OpenBLAS give the bytes of one feed."""

BACKENDS = ["numpy", "native"]


@cache
def encoder_of(config: Config, backend: str = "numpy") -> Encoder:
    names = ("heads", "chunk", "left", "conv", "positions")
    found, tensors = convert_state_dict(
        random_state_dict(config, 9), extras={name: getattr(config, name) for name in names})
    if config.dtype == "qs8":
        found, tensors = quantize(found, tensors)
    assert found == config.validate()
    if backend == "numpy":
        return ReferenceEncoder(config, tensors)
    try:
        from ee_ref.native._session import NativeModel
    except NativeUnavailable as error:
        pytest.skip(str(error))
    return NativeModel(config, tensors)


@cache
def whole(config: Config, frames: int, backend: str = "numpy") -> list[ExitOutput]:
    """One feed; of int8 mode by NumPy, whose bytes are everyone's."""
    encoder = encoder_of(config, "numpy" if config.dtype == "qs8" else backend)
    return list(encoder.exits(features_of(config, frames)))


def features_of(config: Config, frames: int) -> np.ndarray:
    return Stream(frames)(frames, config.mels, low=-2.0, high=2.0)


def slices(frames: int, cuts: list[int]) -> Iterator[tuple[slice, bool]]:
    edges = [0, *sorted(min(cut, frames) for cut in cuts), frames]
    for number, (start, end) in enumerate(zip(edges, edges[1:]), start=2):
        yield slice(start, end), number == len(edges)


def assert_part_of(out: ExitOutput, expected: ExitOutput, config: Config) -> None:
    rows = slice(out.first, out.first + len(out.output))
    for found, all_rows in ((out.hidden, expected.hidden), (out.output, expected.output)):
        if config.dtype == "qs8":
            assert found.tobytes() == all_rows[rows].tobytes()
        else:
            assert_close(found, all_rows[rows], TOLERANCE, f"exit {out.exit} from {out.first}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", VIEWS)
@given(frames=st.integers(0, 400), cuts=st.lists(st.integers(0, 400), max_size=12),
       depths=st.lists(st.integers(0, 3), min_size=13, max_size=13))
def test_any_slices_and_any_exits_give_the_rows_of_one_feed(name, backend, frames, cuts, depths):
    """depths: how many exits are asked for after each feed; after the last one all are."""
    config = VIEWS[name]
    expected, features = whole(config, frames, backend), features_of(config, frames)
    state, covered = encoder_of(config, backend).start(400), 0
    for (rows, last), depth in zip(slices(frames, cuts), depths):
        state.feed(features[rows], last)
        exits = state.exits()
        given_ = [out for _, out in zip(range(config.exits if last else depth), exits)]
        assert [out.exit for out in given_] == [1, 2, 3][: len(given_)]
        for out in given_:
            assert out.first == covered
            assert_part_of(out, expected[out.exit - 1], config)
        if given_:
            covered += len(given_[0].output)
    assert covered == config.encoder_frames(frames) and len(given_) == config.exits


@pytest.mark.parametrize("backend", BACKENDS)
def test_whole_chunks_are_ready_and_the_rest_with_the_last_inputs(backend):
    state, features = encoder_of(CHUNKED, backend).start(200), features_of(CHUNKED, 200)
    assert CHUNKED.encoder_frames(200) == 49
    state.feed(features[:66])
    assert list(state.exits()) == []  # 15 rows
    state.feed(features[66:140])
    assert [(out.first, len(out.output)) for out in state.exits()] == [(0, 32)] * 3
    assert list(state.exits()) == []
    state.feed(features[140:], last=True)
    assert [(out.first, len(out.output)) for out in state.exits()] == [(32, 17)] * 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_block_that_was_not_stepped_is_joined_and_one_that_was_goes_on(backend):
    state, features = encoder_of(CHUNKED, backend).start(200), features_of(CHUNKED, 200)
    state.feed(features[:80])
    state.feed(features[80:140])
    assert [next(state.exits()).exit, next(state.exits()).exit] == [1, 2]
    out = next(state.exits())
    assert (out.exit, out.first, len(out.output)) == (3, 0, 32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_view_is_ready_with_the_last_inputs(backend):
    config = VIEWS["full"]
    state, features = encoder_of(config, backend).start(60), features_of(config, 60)
    state.feed(features)
    assert list(state.exits()) == []
    state.feed(features[:0], last=True)
    for out, expected in zip(state.exits(), whole(config, 60, backend), strict=True):
        assert_part_of(out, expected, config)


def test_only_the_rows_of_a_block_have_heads(monkeypatch):
    """Rows that a group catches up on run its layers alone."""
    config, heads, layers = VIEWS["qs8"], [], []
    from ee_ref import ops

    head, layer = ops.exit_head_qs8, ops.conformer_layer_qs8
    monkeypatch.setattr(
        ops, "exit_head_qs8", lambda x, *rest: heads.append(len(x)) or head(x, *rest))
    monkeypatch.setattr(
        ops, "conformer_layer_qs8", lambda x, *rest: layers.append(len(x)) or layer(x, *rest))
    state, features = encoder_of(config).start(), features_of(config, 64 * 16 + 3)
    for number in range(16):
        state.feed(features[64 * number : 64 * number + 64] if number else features[:67])
        next(state.exits())
    assert heads == layers == [16] * 16
    heads.clear()
    layers.clear()
    rest = [*state.exits()]
    assert len(rest) == 2 and heads == [16, 16]
    # Each layer reaches 1 + 2 chunks back: those of groups 2 and 3 together 9 chunks, of 15 that
    # group 2 has not seen, and that of group 3 alone 3.
    assert layers == [16 * 10, 16 * 10, 16 * 4]


def stored_bytes(state: object) -> int:
    """Bytes of all arrays that a state holds on to."""
    seen: dict[int, int] = {}

    def visit(value: object) -> None:
        if isinstance(value, np.ndarray):
            while value.base is not None:
                value = value.base
            seen[id(value)] = value.nbytes
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)
        elif hasattr(value, "rows"):
            visit(value.rows)

    for name, value in vars(state).items():
        if name not in ("config", "_stem", "_groups"):
            visit(value)
    return sum(seen.values())


@pytest.mark.parametrize("depth", [1, 3])
def test_the_size_of_a_state_does_not_depend_on_the_length(depth):
    config, sizes = VIEWS["qs8"], []
    state = encoder_of(config).start(capacity=128)
    features = features_of(config, 64)
    for _ in range(10_000 * 4 // 64):
        state.feed(features)
        for out in state.exits():
            if out.exit == depth:
                break
        sizes.append(stored_bytes(state))
    assert out.first > 9_900
    assert max(sizes) == max(sizes[:40])


# ---- Errors leave the state as it was ----


@pytest.fixture(params=BACKENDS)
def fed(request):
    """A state with a whole chunk, and what the exits of it give."""
    state = encoder_of(VIEWS["qs8"], request.param).start(capacity=100)
    state.feed(features_of(VIEWS["qs8"], 80))
    return state


def assert_unchanged(state) -> None:
    """It goes on as if nothing had been."""
    features, config = features_of(VIEWS["qs8"], 80), VIEWS["qs8"]
    for out, expected in zip(state.exits(), whole(config, 80), strict=True):
        expected = expected._replace(hidden=expected.hidden[:16], output=expected.output[:16])
        assert len(out.output) == 16
        np.testing.assert_array_equal(out.output, reference_chunk(config, features, out.exit))


def reference_chunk(config: Config, features: np.ndarray, exit_: int) -> np.ndarray:
    state = encoder_of(config).start()
    state.feed(features)
    return [out.output for out in state.exits()][exit_ - 1]


@pytest.mark.parametrize("features, error", [
    (np.zeros((4, 6), np.float32), ShapeError),
    (np.zeros((4, 5)), ShapeError),
    (np.zeros(5, np.float32), ShapeError),
    (np.full((4, 5), np.nan, np.float32), ArgumentError),
    (np.zeros((21, 5), np.float32), TooLongError),
], ids=["width", "dtype", "axes", "nan", "capacity"])
def test_inputs_that_are_refused(features, error, fed):
    with pytest.raises(error, match="features: expected"):
        fed.feed(features, last=True)
    assert_unchanged(fed)


def test_the_capacity_is_what_is_not_stepped(fed):
    fed.feed(np.zeros((20, 5), np.float32))  # 100 frames
    with pytest.raises(TooLongError, match="at most 100 frames that are not stepped, found 101"):
        fed.feed(np.zeros((1, 5), np.float32))
    assert len(next(fed.exits()).output) == 16
    fed.feed(np.zeros((64, 5), np.float32))  # those of the chunk that was stepped are gone
    with pytest.raises(TooLongError):
        fed.feed(np.zeros((1, 5), np.float32))


def test_nothing_is_fed_after_the_end(fed):
    fed.feed(np.zeros((0, 5), np.float32), last=True)
    with pytest.raises(StateError, match="after the last ones, found 3 more"):
        fed.feed(np.zeros((3, 5), np.float32))
    assert [len(out.output) for out in fed.exits()] == [19] * 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_of_positions_has_an_end(backend):
    config = replace(SMALL, chunk=4, left=4, conv="chunk")
    longest = 4 * config.max_frames + 6
    state = encoder_of(config, backend).start(longest)
    features = random_features(longest, 1, config.mels)
    state.feed(features[:100])
    list(state.exits())
    with pytest.raises(TooLongError, match=f"at most {config.max_frames} encoder frames"):
        state.feed(np.concatenate([features[100:], features[:1]]))
    state.feed(features[100:], last=True)
    assert sum(len(out.output) for out in state.exits()) == 3 * (config.max_frames - 24)


def test_a_second_thread_is_refused(fed, monkeypatch):
    """While one runs a layer, another can neither feed nor step, and nothing of either is lost."""
    from ee_ref import ops

    layer, inside, go_on = ops.conformer_layer_qs8, threading.Event(), threading.Event()

    def slow(*arguments):
        inside.set()
        assert go_on.wait(60)
        return layer(*arguments)

    monkeypatch.setattr(ops, "conformer_layer_qs8", slow)
    state = encoder_of(VIEWS["qs8"]).start()
    features = features_of(VIEWS["qs8"], 80)
    state.feed(features)
    found = []
    thread = threading.Thread(target=lambda: found.extend(state.exits()))
    thread.start()
    assert inside.wait(60)
    with pytest.raises(StateError, match="one thread at a time"):
        state.feed(features)
    with pytest.raises(StateError, match="one thread at a time"):
        next(state.exits())
    go_on.set()
    thread.join()
    monkeypatch.undo()
    assert [out.exit for out in found] == [1, 2, 3]
    for out in found:
        expected = reference_chunk(VIEWS["qs8"], features, out.exit)
        np.testing.assert_array_equal(out.output, expected)


def test_an_error_in_a_layer_leaves_the_state_as_it_was(monkeypatch):
    from ee_ref import ops

    layer, fails = ops.conformer_layer_qs8, [False, True, False]

    def failing(*arguments):
        if fails and fails.pop(0):
            raise MemoryError
        return layer(*arguments)

    monkeypatch.setattr(ops, "conformer_layer_qs8", failing)
    state = encoder_of(VIEWS["qs8"]).start()
    features = features_of(VIEWS["qs8"], 80)
    state.feed(features)
    assert next(state.exits()).exit == 1
    with pytest.raises(MemoryError):
        next(state.exits())
    for out in state.exits():
        expected = reference_chunk(VIEWS["qs8"], features, out.exit)
        np.testing.assert_array_equal(out.output, expected)
    assert out.exit == 3
