"""The Zipformer: against PyTorch, and wherever it is more than a Conformer."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ee_ref
from ee_ref import families, flash_image, model_file, ops, wyoming_server
from ee_ref.cli import main
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_ZIPFORMER,
    Stream,
    random_features,
    random_int8_model,
    random_state_dict,
)
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, CheckpointError, TooLongError
from ee_ref.families import conformer, zipformer
from tests.conftest import ISAS
from tests.hostile.checkpoints import torch_file
from tests.support import (
    FULL_SEED,
    FULL_ZIPFORMER,
    GOLDEN,
    ONE_EXIT_ZIPFORMER,
    PROMISES,
    SMALL_CLIPS,
    SMALL_SEED,
    ZIPFORMER_CLIPS,
    ZIPFORMER_FRAMES,
    assert_close,
    frozen,
    log_probs,
    of_one_exit,
    small_features,
)
from tests.test_families import listed, rows_of

NOT_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
"""The fixtures need no renewing between examples."""

TOKENS = [f"t{i}" for i in range(SMALL.vocab)]
TOLERANCE = 2e-5
"""Of the nineteen layers of a small model, at most five of the others' four."""


@pytest.fixture(scope="module")
def golden():
    """See tests/golden/gen_zipformer.py."""
    with np.load(GOLDEN / "zipformer.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_state_dict(SMALL_ZIPFORMER, SMALL_SEED)


@pytest.fixture(scope="module")
def one() -> dict[str, np.ndarray]:
    return of_one_exit(random_state_dict(ONE_EXIT_ZIPFORMER, SMALL_SEED), layers=False)


@pytest.fixture(scope="module")
def tensors(state) -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(state, heads=SMALL.heads)
    assert config == SMALL_ZIPFORMER
    return tensors


# ---- Against PyTorch ----


@pytest.mark.parametrize("frames", ZIPFORMER_FRAMES)
def test_ten_exits_of_a_small_model(frames, tensors, golden, make_encoder):
    found = log_probs(SMALL_ZIPFORMER, tensors, small_features(frames), make_encoder)
    assert_close(found, golden[f"small/{frames}"], TOLERANCE, f"{frames} frames")


@pytest.mark.parametrize("frames", ZIPFORMER_FRAMES)
def test_the_exit_of_a_small_model_with_one(frames, one, golden, make_encoder):
    config, tensors = convert_state_dict(one, heads=SMALL.heads)
    assert config == ONE_EXIT_ZIPFORMER and "linear.weight" in one
    found = log_probs(config, tensors, small_features(frames), make_encoder)
    assert_close(found, golden[f"one/{frames}"], TOLERANCE, f"{frames} frames")


@pytest.fixture(scope="module")
def full() -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(random_state_dict(FULL_ZIPFORMER, FULL_SEED))
    assert config == FULL_ZIPFORMER
    return tensors


@pytest.mark.parametrize("backend, clip", [
    pytest.param(backend, clip, id=f"{backend}-{clip.frames}_frames",
                 marks=pytest.mark.slow if backend == "c" and clip.frames > 105 else ())
    for backend in ("numpy", *ISAS) for clip in ZIPFORMER_CLIPS
], indirect=["backend"])
def test_ten_exits_of_the_full_shape(clip, full, golden, make_encoder):
    found = log_probs(FULL_ZIPFORMER, full, random_features(clip.frames, clip.seed), make_encoder)
    expected = golden[f"full/{clip.frames}"]
    difference = np.abs(found[:, :: clip.stride] - expected).max(axis=(1, 2))
    # Of PyTorch in double precision: its own float32 values are 2e-5 from these, as are ours.
    assert difference.max() <= PROMISES[1.0], f"by exit: {difference}"
    np.testing.assert_array_equal(found[:, :: clip.stride].argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_int8_gives_the_frozen_bytes(frames, make_encoder):
    encoder = make_encoder(*random_int8_model(SMALL_ZIPFORMER, SMALL_SEED))
    with np.load(GOLDEN / "int8.npz") as goldens:
        for out in encoder.exits(small_features(frames)):
            np.testing.assert_array_equal(
                frozen(out.log_probs), goldens[f"zipformer/{frames}/{out.exit}"])


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_threads_change_no_byte(dtype, tensors, isa):
    from ee_ref.native._session import NativeModel

    config = SMALL_ZIPFORMER
    if dtype == "qs8":
        config, tensors = random_int8_model(SMALL_ZIPFORMER, 5)
    for frames in (3, 7, 67, 82):
        alone, *shared = (np.stack([out.log_probs for out in NativeModel(
            config, tensors, threads).exits(small_features(frames))]) for threads in (1, 2, 3))
        assert all(np.array_equal(found, alone) for found in shared)


# ---- The stacks ----


def test_layers_run_at_the_rates_of_their_stacks(tensors, monkeypatch):
    rows: list[int] = []
    monkeypatch.setattr("ee_ref.ops.conformer_layer",
                        lambda x, *_: (rows.append(len(x)) or x, None))
    exits = ReferenceEncoder(SMALL_ZIPFORMER, tensors).exits(small_features(41))  # 20 rows
    counts = [(next(exits), len(rows))[1] for _ in range(10)]
    assert counts == [2, 4, 6, 8, 10, 12, 14, 16, 18, 19]
    assert rows == [20] * 2 + [10] * 2 + [5] * 4 + [3] * 5 + [5] * 4 + [10] * 2
    assert [20 / n for n in rows[:8]] == [*zipformer.RATES[:8]]


def test_what_heads_read(tensors):
    """Exit 3 the rows of the stack at rate 4, each twice; the last one the sum."""
    features = small_features(41)
    weights = families.grouped(SMALL_ZIPFORMER, tensors)
    full = zipformer.stem(SMALL_ZIPFORMER, weights["stem."], ops).run(features, 0)

    def run(x, group, layer):
        own = weights[conformer.layer_prefix(group, layer)]
        return ops.conformer_layer(x, own, SMALL.heads, SMALL.norm_eps)[0]

    full = run(run(full, 1, 1), 1, 2)
    outs = list(ReferenceEncoder(SMALL_ZIPFORMER, tensors).exits(features))
    np.testing.assert_array_equal(outs[0].hidden, full[::2])
    half = run(run(full[::2], 2, 1), 2, 2)
    np.testing.assert_array_equal(outs[1].hidden, half)
    full = full + half[np.arange(20) // 2]
    quarter = run(run(full[::4], 3, 1), 3, 2)
    np.testing.assert_array_equal(outs[2].hidden, quarter[np.arange(10) // 2])


@NOT_RESET
@given(frames=st.integers(0, 82), exits=st.integers(1, 10))
def test_a_shallower_model_has_the_same_first_exits(make_encoder, tensors, frames, exits):
    shallow = SMALL_ZIPFORMER.first_exits(exits).validate()
    prefix = {spec.name: tensors[spec.name] for spec in families.tensors(shallow)}
    features = small_features(frames)
    expected = log_probs(SMALL_ZIPFORMER, tensors, features, make_encoder)[:exits]
    np.testing.assert_array_equal(log_probs(shallow, prefix, features, make_encoder), expected)


@pytest.mark.parametrize("layers", [(19,), (1, 18), (3, 2, 5), (4,), (17, 2)])
def test_exits_anywhere_are_those_of_numpy(layers, native_library):
    from ee_ref.native._session import NativeModel

    config = replace(SMALL_ZIPFORMER, exits=len(layers), layers_per_exit=layers).validate()
    draw = Stream(2)
    tensors = {spec.name: draw(*spec.shape) * np.float32(0.3) for spec in families.tensors(config)}
    for frames in (3, 45, 82):
        found = log_probs(config, tensors, small_features(frames), NativeModel)
        expected = log_probs(config, tensors, small_features(frames))
        assert_close(found, expected, 1e-4, f"{layers}, {frames} frames")


def test_frames_are_every_second_row():
    for inputs in range(90):
        rows = SMALL_ZIPFORMER.stem_rows(inputs)
        assert rows == (0 if inputs < 3 else (inputs - 3) // 2 + 1)
        assert SMALL_ZIPFORMER.encoder_frames(inputs) == -(-rows // 2)


def test_the_longest_utterance(tensors, make_encoder):
    encoder = make_encoder(SMALL_ZIPFORMER, tensors)
    assert len(next(iter(encoder.exits(small_features(82)))).log_probs) == 20
    with pytest.raises(TooLongError, match="at most 20 encoder frames"):
        next(iter(encoder.exits(small_features(83))))


# ---- Sizes and costs ----


def test_the_full_shapes_are_the_published_ones():
    buffers = ("positional_encoder.pe", ".running_mean", ".running_var", ".num_batches_tracked")
    for exits, entries, parameters in ((1, 632, 49_025_280), (10, None, 49_617_408)):
        config = replace(FULL_ZIPFORMER, exits=exits, layers_per_exit=zipformer.EXITS[exits])
        shapes = {name: shape for source in zipformer.sources(config)
                  for name, shape in source.shapes()}
        layers = sum(name.endswith("running_mean") for name in shapes)
        assert entries in (None, len(shapes) + layers)  # each with a counter
        assert parameters == sum(int(np.prod(shape)) for name, shape in shapes.items()
                                 if not name.endswith(buffers))


def test_costs_are_the_published_shapes():
    """MAC for a second of audio up to each exit, but for scores and the heads before."""
    rows = 4000
    costs = FULL_ZIPFORMER.costs(2 * rows + 1)
    found = []
    for exit_, cost in enumerate(costs, start=1):
        done = sum(FULL_ZIPFORMER.layers_per_exit[:exit_])
        scores = sum(2 * 256 * (rows // rate) ** 2 for rate in zipformer.RATES[:done])
        heads = (exit_ - 1) * rows // 2 * 256 * 256
        found.append((cost - scores - heads) * 50 / rows / 1e6)
    expected = [261, 389, 453, 517, 550, 582, 630, 694, 790, 854]
    np.testing.assert_allclose(found, expected, atol=0.6)


# ---- Configuration and files ----


@pytest.mark.parametrize("change, message", [
    ({"layers_per_exit": (2,) * 10}, "layers_per_exit: expected at most 19 layers"),
    ({"chunk": 4, "conv": "chunk"}, "chunk: expected 0, the full view"),
])
def test_configurations_that_are_none(change, message):
    with pytest.raises(ArgumentError) as raised:
        replace(SMALL_ZIPFORMER, **change).validate()
    assert message in str(raised.value)


def test_the_document_lists_the_tensors():
    config = replace(SMALL_ZIPFORMER, exits=1, layers_per_exit=(1,))
    rows = [row for row in listed("`ee-conformer`") if not row[0].startswith("stem.")]
    assert rows_of(config) == [*listed("`ee-zipformer`"), *rows]


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "model.gguf"
    model_file.write(path, SMALL_ZIPFORMER, TOKENS, {1}, tensors)
    return path


def test_a_file_and_its_prefix_come_back(path, tensors):
    found = model_file.read(path)
    assert found.config == SMALL_ZIPFORMER
    assert found.metadata["general.architecture"] == "ee-zipformer"
    path.write_bytes(path.read_bytes()[: found.exit_sizes[3]])
    with pytest.warns(match="used as a model of 4 exits"):
        cut = model_file.read(path)
    features = small_features(50)
    np.testing.assert_array_equal(log_probs(cut.config, cut.tensors, features),
                                  log_probs(SMALL_ZIPFORMER, tensors, features)[:4])


def test_images_plan_and_export(path, tmp_path, native_library, capsys):
    from tests.firmware.image import NativeImage

    file = model_file.read(path)
    whole = flash_image.build(file)
    features = small_features(50)
    for exits in (1, 4, 10):
        image = flash_image.build(file, exits)
        assert whole.startswith(image)
        config = SMALL_ZIPFORMER.first_exits(exits)
        assert flash_image.parse(image).config == config == NativeImage(image).config
        found = np.stack([out.log_probs for out in NativeImage(image).exits(features)])
        expected = log_probs(SMALL_ZIPFORMER, file.tensors, features)[:exits]
        assert_close(found, expected, TOLERANCE, f"{exits} exits")
    assert main(["info", str(path), "--seconds", "0.5", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["device"]
    image = tmp_path / "image.bin"
    assert main(["export", str(path), "--seconds", "0.5", "-o", str(image)]) == 0
    assert image.stat().st_size == plan["flash"][-1]
    found = flash_image.read(image)
    assert found.config.max_frames == plan["rows"] == SMALL_ZIPFORMER.encoder_frames(51) == 13
    assert found.tensors["stem.positions"].shape == (26, SMALL.dim)


# ---- Audio to text ----


@pytest.mark.parametrize("name", ["numpy", "native"])
def test_transcribe_stops_early_and_streams_are_refused(name, path, native_library):
    model = ee_ref.load(path, backend=name)
    samples = np.sin(np.arange(8_000, dtype=np.float32)) * np.float32(0.1)
    for exit_ in (1, 7, 10):
        assert model.transcribe((samples, 16_000), exit=exit_).exit == exit_
    with pytest.raises(TooLongError, match="for ee-zipformer, which streams cannot have yet"):
        model.transcribe((np.tile(samples, 4), 16_000))
    with pytest.raises(ArgumentError, match="a stream: expected .* found ee-zipformer"):
        model.stream()
    with pytest.raises(ArgumentError, match="live: expected .* found ee-zipformer"):
        wyoming_server.Service(model, model.policy(), live=True)


# ---- Checkpoints ----


@pytest.mark.parametrize("exits", [1, 10])
def test_a_checkpoint_is_converted(exits, state, one, tmp_path, capsys):
    checkpoint, path = tmp_path / "checkpoint.pt", tmp_path / "model.gguf"
    checkpoint.write_bytes(torch_file({"model": one if exits == 1 else state}))
    assert main(["convert", str(checkpoint), "--heads", "4", "-o", str(path)]) == 0
    assert f"ee-zipformer: {exits} exit" in capsys.readouterr().err
    given = (one if exits == 1 else state)["conformer.18.conformer_layers.0.ffn2.sequential.1.bias"]
    name = "group.1.layer.19" if exits == 1 else "group.10.layer.1"
    np.testing.assert_array_equal(model_file.read(path).tensors[f"{name}.ff2.up.bias"], given)


@pytest.mark.parametrize("change, message", [
    (lambda state: {name: tensor for name, tensor in state.items()
                    if not name.startswith("conformer.18.")},
     "expected 19 layers conformer.N, in stacks of 2, 2, 4, 5, 4, 2, found 18"),
    (lambda state: {name: tensor for name, tensor in state.items()
                    if not name.startswith("linears.9.")},
     "expected exit heads linears.N behind the last layer alone, 1, or .* 10, found 9"),
    (lambda state: {**state, "positional_encoder.pe": state["positional_encoder.pe"][:-1]},
     "expected an even number of rows, two an encoder frame, found 39"),
    (lambda state: {name.replace("conformer.7.conformer_layers.0", "conformer.7.more"): tensor
                    for name, tensor in state.items()}, "missing: conformer.7.conformer_layers.0"),
    (lambda state: {name: tensor for name, tensor in state.items()
                    if name != "conv_subsample.conv.bias"}, "missing: conv_subsample.conv.bias"),
])
def test_checkpoints_that_are_none(state, change, message):
    with pytest.raises(CheckpointError, match=message):
        convert_state_dict(change(state), heads=4)


def test_a_model_of_six_exits_is_refused(state):
    """That of the authors' experiments, whose wiring is not public: 12 layers in 6 groups."""
    six = {name: tensor for name, tensor in state.items()
           if not re.match(r"(conformer|linears)\.([6-9]|1[0-9])\.", name)}
    with pytest.raises(CheckpointError, match="expected 19 layers conformer.N, .* found 6"):
        convert_state_dict(six, heads=4)


def test_a_conformer_stays_one():
    config, _ = convert_state_dict(random_state_dict(SMALL, 1), heads=4)
    assert type(config) is conformer.Config
    assert asdict(SMALL_ZIPFORMER).keys() == asdict(config).keys()
