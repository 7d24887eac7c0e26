"""Conformers with other heads, a single one or LSTMs: against PyTorch, and wherever they are more
than the usual ones."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import numpy as np
import pytest

import ee_ref
from ee_ref import families, flash_image, model_file, ops
from ee_ref.cli import main
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_LSTM,
    Stream,
    random_features,
    random_int8_model,
    random_state_dict,
)
from ee_ref.convert import convert, convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, CheckpointError, EeError, ModelFileError
from ee_ref.families import conformer, conformer_lstm
from tests.conftest import ISAS
from tests.hostile.checkpoints import torch_file
from tests.support import (
    FULL_LSTM,
    FULL_SEED,
    GOLDEN,
    LSTM_CLIPS,
    ONE_EXIT,
    PROMISES,
    SMALL_CLIPS,
    SMALL_SEED,
    assert_close,
    frozen,
    log_probs,
    of_one_exit,
    small_features,
)
from tests.test_families import listed, rows_of

TOKENS = [f"t{i}" for i in range(SMALL.vocab)]


@pytest.fixture(scope="module")
def golden():
    """See tests/golden/gen_heads.py."""
    with np.load(GOLDEN / "heads.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_state_dict(SMALL_LSTM, SMALL_SEED)


@pytest.fixture(scope="module")
def tensors(state) -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(state, heads=SMALL.heads)
    assert config == SMALL_LSTM
    return tensors


# ---- A single exit ----


@pytest.fixture(scope="module")
def one() -> dict[str, np.ndarray]:
    return of_one_exit(random_state_dict(ONE_EXIT, SMALL_SEED))


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_the_exit_of_a_model_with_one(frames, one, golden, make_encoder):
    config, tensors = convert_state_dict(one, heads=SMALL.heads)
    assert config == ONE_EXIT
    found = log_probs(config, tensors, small_features(frames), make_encoder)
    assert_close(found, golden[f"one/{frames}"], 5e-6, f"{frames} frames")


def test_both_spellings_of_one_exit_are_one_model(one):
    names = [*one]
    assert {"linear.bias", "conformer.conformer_layers.2.final_layer_norm.bias"} <= {*names}
    assert not any(name.startswith(("linears.", "conformer.0.")) for name in names)
    first, second = (convert(state, heads=SMALL.heads)
                     for state in (one, random_state_dict(ONE_EXIT, SMALL_SEED)))
    assert first.config == second.config
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])


@pytest.mark.parametrize("name", ["linears.0.weight", "conformer.0.conformer_layers.0.ffn1"
                                  ".sequential.0.bias"])
def test_names_of_one_exit_and_of_several_are_refused(one, name):
    several = random_state_dict(ONE_EXIT, SMALL_SEED)[name]
    with pytest.raises(CheckpointError, match=f"of one with several, found .*{re.escape(name)}"):
        convert_state_dict({**one, name: several}, heads=SMALL.heads)


def test_one_head_of_another_width_is_refused(one):
    with pytest.raises(CheckpointError, match=r"linears.0.weight \(expected \(11, 20\), found"):
        convert_state_dict({**one, "linear.weight": one["linear.weight"][:, :-1]}, heads=4)


# ---- LSTMs, against PyTorch ----


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_every_exit_of_a_small_model(frames, tensors, golden, make_encoder):
    found = log_probs(SMALL_LSTM, tensors, small_features(frames), make_encoder)
    assert_close(found, golden[f"lstm/{frames}"], 5e-6, f"{frames} frames")


@pytest.fixture(scope="module")
def full() -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(random_state_dict(FULL_LSTM, FULL_SEED))
    assert config == FULL_LSTM
    return tensors


@pytest.mark.parametrize("backend, clip", [
    pytest.param(backend, clip, id=f"{backend}-{clip.frames}_frames",
                 marks=pytest.mark.slow if backend in ("numpy", "c") and clip.frames > 101 else ())
    for backend in ("numpy", *ISAS) for clip in LSTM_CLIPS
], indirect=["backend"])
def test_every_exit_of_the_full_shape(clip, full, golden, make_encoder):
    found = log_probs(FULL_LSTM, full, random_features(clip.frames, clip.seed), make_encoder)
    expected = golden[f"full/{clip.frames}"]
    difference = np.abs(found[:, :: clip.stride] - expected).max(axis=(1, 2))
    allowed = PROMISES[1.0] - golden[f"full/{clip.frames}/pytorch_float32_distance"][0]
    assert difference.max() <= allowed, f"by exit: {difference}, allowed {allowed:.1e}"
    np.testing.assert_array_equal(found[:, :: clip.stride].argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_int8_gives_the_frozen_bytes(frames, make_encoder):
    encoder = make_encoder(*random_int8_model(SMALL_LSTM, SMALL_SEED))
    with np.load(GOLDEN / "int8.npz") as goldens:
        for out in encoder.exits(small_features(frames)):
            np.testing.assert_array_equal(
                frozen(out.log_probs), goldens[f"conformer-lstm/{frames}/{out.exit}"])


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_threads_change_no_byte(dtype, tensors, isa):
    from ee_ref.native._session import NativeModel

    config = SMALL_LSTM
    if dtype == "qs8":
        config, tensors = random_int8_model(SMALL_LSTM, 5)
    for frames in (7, 11, 163):
        alone, *shared = (np.stack([out.log_probs for out in NativeModel(
            config, tensors, threads).exits(small_features(frames))]) for threads in (1, 2, 3))
        assert all(np.array_equal(found, alone) for found in shared)


# ---- What an LSTM is ----


def test_the_halves_of_an_lstm_are_one_another_backwards(op_set):
    draw = Stream(3)
    x, weight, bias = draw(9, 5), draw.weight(16, 5), draw.bias(16)
    recurrent = draw.weight(16, 4)
    y = op_set.lstm(x, np.tile(weight, (2, 1)), np.tile(bias, 2), recurrent, recurrent.copy())
    back = op_set.lstm(x[::-1].copy(), np.tile(weight, (2, 1)), np.tile(bias, 2), recurrent,
                       recurrent.copy())
    np.testing.assert_array_equal(y[:, :4], back[::-1, 4:])


def test_an_lstm_that_forgets_nothing_and_lets_all_in_counts(op_set):
    """Gates open, tanh(g) near 1: c grows by one a frame, and h is tanh(c)."""
    zeros = np.zeros((8, 1), np.float32)
    y = op_set.lstm(zeros[:4], zeros, np.full(8, 40, np.float32), zeros[:4], zeros[4:])
    np.testing.assert_allclose(y[:, 0], np.tanh([1, 2, 3, 4]), atol=3e-7)
    np.testing.assert_allclose(y[:, 1], np.tanh([4, 3, 2, 1]), atol=3e-7)


def test_heads_are_the_lstms_of_the_ops(tensors):
    features = small_features(41)
    first = next(iter(ReferenceEncoder(SMALL_LSTM, tensors).exits(features)))
    x, own = first.hidden, families.grouped(SMALL_LSTM, tensors)["head.1."]
    for layer in (1, 2):
        x = ops.lstm(x, *(own[f"lstm.{layer}.{name}"] for name in (
            "in.weight", "in.bias", "forward.weight", "backward.weight")))
    expected = ops.exit_head(x, own["weight"], own["bias"])
    np.testing.assert_array_equal(first.log_probs, expected)


# ---- Sizes and costs ----


def test_the_full_shape_is_the_authors():
    shapes = {name: shape for source in conformer_lstm.sources(FULL_LSTM)
              for name, shape in source.shapes()}
    assert shapes["lstms.5.weight_ih_l0_reverse"] == (1024, 256)
    assert shapes["lstms.0.weight_ih_l5"] == (1024, 512)
    assert shapes["lstms.0.bias_hh_l3"] == (1024,)
    assert shapes["linears.3.weight"] == (256, 512)
    head = sum(np.prod(shape) for name, shape in shapes.items()
               if name.startswith(("lstms.2.", "linears.2.")))
    assert head == 8_937_472 + 512 * 256 + 256


def test_costs_are_the_products_of_the_tensors():
    """For one frame every matrix is multiplied once, and attention has one score a head."""
    inputs = SMALL_LSTM.window
    specs = {spec.name: spec.shape for spec in families.tensors(SMALL_LSTM)}
    for exit_, (plain, with_lstm) in enumerate(zip(SMALL.costs(inputs), SMALL_LSTM.costs(inputs)),
                                               start=1):
        heads = sum(np.prod(shape) for name, shape in specs.items() if len(shape) == 2
                    and name.startswith(tuple(f"head.{e}." for e in range(1, exit_ + 1))))
        assert with_lstm - plain == heads - exit_ * SMALL.dim * SMALL.vocab


# ---- Configuration and files ----


@pytest.mark.parametrize("change, message", [
    ({"lstm_layers": 0}, "lstm_layers: expected an integer in 1..8, found 0"),
    ({"lstm_layers": 9}, "lstm_layers: expected an integer in 1..8, found 9"),
    ({"lstm_width": 8193}, "lstm_width: expected an integer in 1..8192, found 8193"),
    ({"chunk": 4, "conv": "chunk"}, "chunk: expected 0, the full view"),
])
def test_configurations_that_are_none(change, message):
    with pytest.raises(ArgumentError) as raised:
        replace(SMALL_LSTM, **change).validate()
    assert message in str(raised.value)


def test_the_document_lists_the_tensors():
    """FORMAT.md: the rows of LSTM n, before those of the linear layer."""
    config = replace(SMALL_LSTM, exits=1, layers_per_exit=(1,))
    *rows, _, _ = listed("`ee-conformer`")
    first, deeper = [], []
    *lstm, weight, bias = listed("`ee-conformer-lstm`")
    for name, shape, kind in lstm:
        ours, theirs = (*shape.split(", then "), shape)[:2]
        first.append((name.replace("{n}", "1"), ours, kind))
        deeper.append((name.replace("{n}", "2"), theirs, kind))
    assert rows_of(config) == [*rows, *first, *deeper, weight, bias]


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "model.gguf"
    model_file.write(path, SMALL_LSTM, TOKENS, {1}, tensors)
    return path


def test_a_file_and_its_prefix_come_back(path, tensors):
    found = model_file.read(path)
    assert found.config == SMALL_LSTM
    assert found.metadata["general.architecture"] == "ee-conformer-lstm"
    assert [*found.tensors] == [spec.name for spec in families.tensors(SMALL_LSTM)]
    path.write_bytes(path.read_bytes()[: found.exit_sizes[1]])
    with pytest.warns(match="used as a model of 2 exits"):
        cut = model_file.read(path)
    assert cut.config == SMALL_LSTM.first_exits(2)
    features = small_features(50)
    np.testing.assert_array_equal(log_probs(cut.config, cut.tensors, features),
                                  log_probs(SMALL_LSTM, tensors, features)[:2])


def test_quantize_and_stream(path, tmp_path, native_library):
    """An int8 model hears in windows, where NumPy and C give the same."""
    int8 = tmp_path / "int8.gguf"
    assert main(["quantize", str(path), "-o", str(int8)]) == 0
    samples = Stream(8)(32_000, low=-0.2, high=0.2)
    events = []
    for backend in ("numpy", "native"):
        stream = ee_ref.load(int8, backend=backend).stream()
        events.append([*stream.feed(samples), *stream.finish()])
    assert events[0] == events[1]


@pytest.fixture
def native(native_library):
    from tests.firmware.image import NativeImage

    return NativeImage


def test_an_image_and_its_prefixes_are_models(path, native):
    file = model_file.read(path)
    whole = flash_image.build(file)
    kind, own = flash_image.contents(whole)[0]
    assert kind == flash_image.Kind.FAMILY and own == bytes([2, 0, 0, 0, 6, 0, 0, 0]) + bytes(56)
    for exits in range(1, SMALL.exits + 1):
        image = flash_image.build(file, exits)
        config = SMALL_LSTM.first_exits(exits)
        assert flash_image.parse(image).config == config == native(image).config
        features = small_features(50)
        expected = log_probs(SMALL_LSTM, file.tensors, features)[:exits]
        for opened in (native(image), native(whole, exits)):
            found = np.stack([out.log_probs for out in opened.exits(features)])
            assert_close(found, expected, 5e-6, f"{exits} exits")


@pytest.mark.parametrize("own, message", [
    ([bytes([0, 0, 0, 0, 6, 0, 0, 0]) + bytes(56)], "lstm_layers: expected an integer in 1..8"),
    ([bytes([3, 0, 0, 0, 6, 0, 0, 0]) + bytes(56)], "sections of tensors: expected"),
    ([bytes([2, 0, 0, 0, 6, 0, 0, 0]) + bytes(120)], "family: not the tables"),
    ([], "section family: expected at least 8 bytes for ee-conformer-lstm, found 0"),
])
def test_sections_of_the_family_that_lie(own, message, path, native, monkeypatch):
    image = flash_image.build(model_file.read(path))
    _, *rest = flash_image.contents(image)
    lie = flash_image.reassembled(
        image, [*((flash_image.Kind.FAMILY, content) for content in own), *rest])
    with pytest.raises(ModelFileError, match=re.escape(message)):
        flash_image.parse(lie)
    monkeypatch.setattr(flash_image, "parse", lambda image: pytest.fail("C opened it"))
    with pytest.raises(EeError):
        native(lie)


# ---- Checkpoints ----


def test_a_checkpoint_is_converted(state, tmp_path, capsys):
    checkpoint, path = tmp_path / "checkpoint.pt", tmp_path / "model.gguf"
    checkpoint.write_bytes(torch_file({"model": state}))
    assert main(["convert", str(checkpoint), "--heads", "4", "-o", str(path)]) == 0
    assert "ee-conformer-lstm: 3 exits" in capsys.readouterr().err
    found = model_file.read(path).tensors
    np.testing.assert_array_equal(
        found["head.2.lstm.2.in.weight"],
        np.concatenate([state["lstms.1.weight_ih_l1"], state["lstms.1.weight_ih_l1_reverse"]]))
    np.testing.assert_allclose(
        found["head.3.lstm.1.in.bias"][24:],
        state["lstms.2.bias_ih_l0_reverse"] + state["lstms.2.bias_hh_l0_reverse"], rtol=1e-6)


def without(state, *ends):
    return {name: tensor for name, tensor in state.items() if not name.endswith(ends)}


@pytest.mark.parametrize("change, message", [
    (lambda state: {n: t for n, t in state.items() if not n.startswith("lstms.2")},
     "expected an LSTM lstms.N for each of 3 exit heads, found 2"),
    (lambda state: {n: t for n, t in state.items() if not n.startswith("lstms.1")},
     "numbered 0, 1, 2"),
    (lambda state: without(state, "_reverse"), "missing: .*weight_ih_l0_reverse"),
    (lambda state: {**state, "lstms.0.weight_hh_l0": state["lstms.0.weight_hh_l0"][:, :-1]},
     "of another shape"),
    (lambda state: {**state, "lstms.0.weight_hr_l0": np.zeros((3, 6), np.float32)},
     "unexpected: lstms.0.weight_hr_l0"),
    (lambda state: {**state, "linears.0.weight": np.zeros((11, 20), np.float32)},
     r"linears.0.weight \(expected \(11, 12\), found \(11, 20\)\)"),
    (lambda state: {**state, "lstms.1.bias_ih_l0": np.full(24, 3e38, np.float32),
                    "lstms.1.bias_hh_l0": np.full(24, 3e38, np.float32)},
     "'head.2.lstm.1.in.bias': a number too large for float32"),
    (lambda state: {**state, "lstms.1.bias_ih_l0": np.full(24, np.nan, np.float32)},
     "expected finite numbers"),
])
def test_checkpoints_that_are_none(state, change, message):
    with pytest.raises(CheckpointError, match=message):
        convert_state_dict(change(state), heads=4)


def test_the_names_tell_how_many_lstms_a_head_has(state):
    config, _ = convert_state_dict(without(state, "_l1", "_l1_reverse"), heads=4)
    assert config == replace(SMALL_LSTM, lstm_layers=1)


def test_a_conformer_stays_one():
    config, _ = convert_state_dict(random_state_dict(SMALL, 1), heads=4)
    assert type(config) is conformer.Config
    assert conformer_lstm.Config(**asdict(config), lstm_layers=2, lstm_width=6) == SMALL_LSTM
