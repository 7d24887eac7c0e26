"""The encoders: layer by layer and exit by exit against PyTorch, and what a caller may count on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ee_ref.conformance.draw import SMALL, random_features, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ExitOutput, ReferenceEncoder
from ee_ref.errors import ArgumentError, ShapeError, TooLongError
from ee_ref.families import padded_shape
from ee_ref.families import tensors as tensor_specs
from ee_ref.families.conformer import LAYER, Config, layer_prefix
from tests.conftest import ISAS
from tests.support import (
    FULL,
    FULL_CLIPS,
    PROMISES,
    SMALL_CLIPS,
    SMALL_SEED,
    assert_close,
    small_features,
)

SMALL_TOLERANCE = 5e-6
"""Relative to the largest value in a row, for one layer or for all of them up to an exit."""

NOT_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixtures need no renewing between examples."""


@pytest.fixture(scope="session")
def small_tensors() -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(random_state_dict(SMALL, SMALL_SEED), heads=SMALL.heads)
    assert config == SMALL
    return tensors


@pytest.fixture
def small(make_encoder, small_tensors):
    return make_encoder(SMALL, small_tensors)


def all_log_probs(encoder, features: np.ndarray) -> np.ndarray:
    """(exits, T', vocab)"""
    return np.stack([out.log_probs for out in encoder.exits(features)])


# ---- Against PyTorch ----


def test_the_full_shape_is_the_published_one():
    state = random_state_dict(FULL, 0)
    buffers = ("positional_encoder.pe", ".running_mean", ".running_var", ".num_batches_tracked")
    assert sum(v.size for name, v in state.items() if not name.endswith(buffers)) == 31_536_128


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_stem_and_every_layer_of_a_small_model(frames, op_set, small_tensors, model_golden):
    states = model_golden[f"small/{frames}/states"]
    x = small_features(frames)
    for conv in ("stem.conv1", "stem.conv2"):
        x = op_set.stem_conv(x, small_tensors[f"{conv}.weight"], small_tensors[f"{conv}.bias"])
    x = x + small_tensors["stem.positions"][: len(x)]
    assert_close(x, states[0], SMALL_TOLERANCE, "stem")

    number = 0
    for group, layers in enumerate(SMALL.layers_per_exit, start=1):
        for layer in range(1, layers + 1):
            prefix = layer_prefix(group, layer)
            weights = {row.name: small_tensors[prefix + row.name] for row in LAYER}
            y, _ = op_set.conformer_layer(states[number], weights, SMALL.heads, SMALL.norm_eps)
            number += 1
            assert_close(y, states[number], SMALL_TOLERANCE, prefix)
    assert number == len(states) - 1


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_every_exit_of_a_small_model(frames, small, model_golden):
    outputs = list(small.exits(small_features(frames)))
    assert [out.exit for out in outputs] == [1, 2, 3]
    for out, expected in zip(outputs, model_golden[f"small/{frames}/exits"]):
        assert isinstance(out, ExitOutput)
        assert_close(out.log_probs, expected, SMALL_TOLERANCE, f"exit {out.exit}")


@pytest.mark.parametrize("backend, clip", [
    pytest.param(backend, clip, id=f"{backend}-{clip.frames}_frames",
                 marks=pytest.mark.slow if backend == "c" and clip.frames > 101 else ())
    for backend in ("numpy", *ISAS) for clip in FULL_CLIPS
], indirect=["backend"])
def test_every_exit_of_the_full_shape(clip, full_model, make_encoder, backend, model_golden):
    qk_gain, tensors = full_model
    golden = f"full/{qk_gain}/{clip.frames}"
    log_probs = all_log_probs(make_encoder(FULL, tensors), random_features(clip.frames, clip.seed))

    expected = model_golden[f"{golden}/log_probs"]
    difference = np.abs(log_probs[:, :: clip.stride] - expected).max(axis=(1, 2))
    # The golden values are PyTorch's in double precision; the promise is about its float32 ones.
    allowed = PROMISES[qk_gain] - model_golden[f"{golden}/pytorch_float32_distance"][0]
    assert difference.max() <= allowed, f"by exit: {difference}, allowed {allowed:.1e}"
    assert log_probs.dtype == np.float32
    assert np.array_equal(log_probs.argmax(axis=-1), model_golden[f"{golden}/argmax"])


# ---- One exit after another ----


def test_layers_run_only_when_their_exit_is_asked_for(make_encoder):
    config = replace(SMALL, dim=16, heads=4, ff=24, vocab=12, mels=16)  # rows need no padding
    _, tensors = convert_state_dict(random_state_dict(config, 1), heads=config.heads)
    tensors = {name: in_place_layout(array) for name, array in tensors.items()}
    features = random_features(70, 1, config.mels)
    encoder = make_encoder(config, tensors)
    untouched = all_log_probs(encoder, features)

    for spoiled in range(1, config.exits):
        exits = encoder.exits(features)
        for number in range(spoiled):
            assert np.array_equal(next(exits).log_probs, untouched[number])
        kept = spoil_layers(config, tensors, spoiled + 1)
        assert not np.allclose(next(exits).log_probs, untouched[spoiled]), (
            f"exit {spoiled + 1} was computed before it was asked for"
        )
        for name, array in kept.items():
            tensors[name][...] = array


def in_place_layout(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes, as in a model file: C uses it in place."""
    assert padded_shape(array.shape) == array.shape
    memory = np.zeros(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy


def spoil_layers(config: Config, tensors: dict, exit_: int) -> dict[str, np.ndarray]:
    """Change every layer before this exit, not its head; return what was there."""
    kept = {}
    for spec in tensor_specs(config):
        if spec.exit == exit_ and spec.name.startswith("group."):
            kept[spec.name] = tensors[spec.name].copy()
            tensors[spec.name] *= -0.5
    return kept


def test_only_the_stem_is_computed_before_the_first_exit(small_tensors, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "ee_ref.ops.conformer_layer", lambda x, *_: (calls.append("layer") or x, None))
    monkeypatch.setattr("ee_ref.ops.stem_conv", lambda x, *_: calls.append("stem") or x[:5, :1])
    exits = ReferenceEncoder(SMALL, small_tensors).exits(small_features(30))
    assert calls == ["stem"] * 2
    next(exits)
    assert calls == ["stem"] * 2 + ["layer"] * SMALL.layers_per_exit[0]
    exits.close()
    assert len(calls) == 2 + SMALL.layers_per_exit[0]


@NOT_RESET
@given(frames=st.integers(0, 80), exits=st.integers(1, SMALL.exits))
def test_a_shallower_model_has_the_same_first_exits(
    make_encoder, small_tensors, frames, exits
):
    shallow = SMALL.first_exits(exits)
    prefix = {name: small_tensors[name] for name, *_ in tensor_specs(shallow)}
    features = small_features(frames)
    expected = all_log_probs(make_encoder(SMALL, small_tensors), features)
    assert np.array_equal(all_log_probs(make_encoder(shallow, prefix), features), expected[:exits])


@NOT_RESET
@given(frames=st.integers(7, 80), seed=st.integers(0, 2**32 - 1))
def test_log_probs_are_of_a_distribution(small, frames, seed):
    for out in small.exits(random_features(frames, seed, SMALL.mels)):
        assert out.log_probs.shape == (SMALL.encoder_frames(frames), SMALL.vocab)
        assert out.log_probs.dtype == np.float32
        sums = np.exp(out.log_probs.astype(np.float64)).sum(axis=1)
        np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_utterances_do_not_disturb_each_other(small):
    first, second = small_features(60), small_features(33)[::-1]
    alone = all_log_probs(small, first), all_log_probs(small, second)
    pairs = list(zip(small.exits(first), small.exits(second)))  # one exit of each in turn
    for outputs, expected in zip(zip(*pairs), alone):
        assert np.array_equal(np.stack([out.log_probs for out in outputs]), expected)


# ---- Edges and errors ----


@pytest.mark.parametrize("frames", range(7))
def test_too_few_frames_give_outputs_without_rows(frames, small):
    outputs = list(small.exits(small_features(frames)))
    assert [out.exit for out in outputs] == [1, 2, 3]
    for out in outputs:
        assert out.log_probs.shape == (0, SMALL.vocab) and out.log_probs.dtype == np.float32


def test_seven_frames_are_the_fewest_that_give_a_row(small):
    assert all_log_probs(small, small_features(7)).shape == (3, 1, SMALL.vocab)


def test_the_longest_utterance_fits_and_the_next_does_not(small):
    longest = 4 * SMALL.max_frames + 3 + 3
    assert all_log_probs(small, small_features(longest)).shape[1] == SMALL.max_frames
    with pytest.raises(TooLongError) as raised:
        small.exits(small_features(longest + 1))  # when called, not at the first exit
    for part in (str(SMALL.max_frames), f"{SMALL.max_seconds:.1f} s", str(SMALL.max_frames + 1)):
        assert part in str(raised.value)


@pytest.mark.parametrize("features, error", [
    (np.zeros((20, SMALL.mels + 1), np.float32), ShapeError),
    (np.zeros((20, SMALL.mels)), ShapeError),
    (np.zeros(SMALL.mels, np.float32), ShapeError),
    (np.zeros((1, 20, SMALL.mels), np.float32), ShapeError),
    ([[0.0] * SMALL.mels] * 20, ShapeError),
    (np.full((20, SMALL.mels), np.nan, np.float32), ArgumentError),
    (np.full((20, SMALL.mels), -np.inf, np.float32), ArgumentError),
], ids=["mels", "float64", "one axis", "three axes", "list", "nan", "inf"])
def test_features_that_cannot_be_used(features, error, small):
    with pytest.raises(error, match="features: expected"):
        small.exits(features)


def test_features_of_any_strides_do(small):
    features = small_features(40)
    expected = all_log_probs(small, features)
    assert np.array_equal(all_log_probs(small, np.asfortranarray(features)), expected)
    assert np.array_equal(all_log_probs(small, np.repeat(features, 2, axis=0)[::2]), expected)


@pytest.mark.parametrize(
    "name", ["stem.positions", "group.2.layer.1.conv.in.bias", "head.3.weight"]
)
def test_tensors_that_are_missing_or_misshapen_are_named(name, make_encoder, small_tensors):
    tensors = dict(small_tensors)
    del tensors[name]
    with pytest.raises(ArgumentError, match=f"{name}.*found none"):
        make_encoder(SMALL, tensors)
    for wrong in (small_tensors[name][:-1], small_tensors[name].astype(np.float64)):
        with pytest.raises(ShapeError, match=f"{name}.*expected float32.*found"):
            make_encoder(SMALL, {**small_tensors, name: wrong})


def test_features_are_left_as_they_were(small):
    features = small_features(40)
    all_log_probs(small, features)
    assert np.array_equal(features, small_features(40))


def test_random_checkpoints_follow_their_seed():
    first, second = random_state_dict(SMALL, 1), random_state_dict(SMALL, 1)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    weight = "linears.0.weight"
    assert not np.array_equal(first[weight], random_state_dict(SMALL, 2)[weight])
    assert math.isclose(first[weight].var() * SMALL.dim, 1, rel_tol=0.2)
