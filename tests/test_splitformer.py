"""The Splitformer: against PyTorch, and wherever it is more than a Conformer."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ee_ref
from ee_ref import families, flash_image, model_file, ops
from ee_ref.cli import main
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_SPLITFORMER,
    random_features,
    random_int8_model,
    random_state_dict,
)
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, CheckpointError, EeError, ModelFileError
from ee_ref.families import conformer, splitformer
from ee_ref.info import describe
from tests.conftest import ISAS
from tests.hostile.checkpoints import torch_file
from tests.support import (
    FULL,
    FULL_SEED,
    FULL_SPLITFORMER,
    GOLDEN,
    PROMISES,
    SMALL_CLIPS,
    SMALL_SEED,
    SPLITFORMER_CLIPS,
    assert_close,
    frozen,
    log_probs,
    small_features,
)
from tests.test_families import listed, rows_of

NOT_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixtures need no renewing between examples."""

TOKENS = [f"t{i}" for i in range(SMALL.vocab)]


@pytest.fixture(scope="module")
def golden():
    """See tests/golden/gen_splitformer.py."""
    with np.load(GOLDEN / "splitformer.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_state_dict(SMALL_SPLITFORMER, SMALL_SEED)


@pytest.fixture(scope="module")
def tensors(state) -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(state, heads=SMALL.heads)
    assert config == SMALL_SPLITFORMER
    return tensors


# ---- Against PyTorch ----


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_every_exit_of_a_small_model(frames, tensors, golden, make_encoder):
    found = log_probs(SMALL_SPLITFORMER, tensors, small_features(frames), make_encoder)
    assert_close(found, golden[f"small/{frames}"], 5e-6, f"{frames} frames")


@pytest.fixture(scope="module")
def full() -> dict[str, np.ndarray]:
    config, tensors = convert_state_dict(random_state_dict(FULL_SPLITFORMER, FULL_SEED))
    assert config == FULL_SPLITFORMER
    return tensors


@pytest.mark.parametrize("backend, clip", [
    pytest.param(backend, clip, id=f"{backend}-{clip.frames}_frames",
                 marks=pytest.mark.slow if backend == "c" and clip.frames > 105 else ())
    for backend in ("numpy", *ISAS) for clip in SPLITFORMER_CLIPS
], indirect=["backend"])
def test_every_exit_of_the_full_shape(clip, full, golden, make_encoder):
    features = random_features(clip.frames, clip.seed)
    found = log_probs(FULL_SPLITFORMER, full, features, make_encoder)
    difference = np.abs(found[:, :: clip.stride] - golden[f"full/{clip.frames}"]).max(axis=(1, 2))
    # The golden values are PyTorch's in double precision; the promise is about its float32 ones.
    allowed = PROMISES[1.0] - golden[f"full/{clip.frames}/pytorch_float32_distance"][0]
    assert difference.max() <= allowed, f"by exit: {difference}, allowed {allowed:.1e}"


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_int8_gives_the_frozen_bytes(frames, make_encoder):
    encoder = make_encoder(*random_int8_model(SMALL_SPLITFORMER, SMALL_SEED))
    with np.load(GOLDEN / "int8.npz") as goldens:
        for out in encoder.exits(small_features(frames)):
            np.testing.assert_array_equal(
                frozen(out.log_probs), goldens[f"splitformer/{frames}/{out.exit}"])


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_threads_change_no_byte(dtype, tensors, isa):
    from ee_ref.native._session import NativeModel

    config = SMALL_SPLITFORMER
    if dtype == "qs8":
        config, tensors = random_int8_model(SMALL_SPLITFORMER, 5)
    for frames in (7, 11, 67, 163):
        alone, *shared = (np.stack([out.log_probs for out in NativeModel(
            config, tensors, threads).exits(small_features(frames))]) for threads in (1, 2, 3))
        assert all(np.array_equal(found, alone) for found in shared)


# ---- The half rate ----


def test_a_parallel_layer_sees_every_second_row_and_adds_to_two(tensors):
    """Exit 1, from its hidden rows: those of the plain group, plus the layer's."""
    features = small_features(41)  # 9 rows, an odd number
    plain = {name: array for name, array in tensors.items() if ".parallel." not in name}
    (first, *_) = ReferenceEncoder(SMALL, plain).exits(features)
    (split, *_) = ReferenceEncoder(SMALL_SPLITFORMER, tensors).exits(features)
    weights = families.grouped(SMALL_SPLITFORMER, tensors)
    x = conformer.stem(SMALL, weights["stem."], ops).run(features, 0)
    slow, _ = ops.conformer_layer(
        x[[0, 2, 4, 6, 8]], weights["group.1.parallel."], SMALL.heads, SMALL.norm_eps)
    expected = first.hidden + slow[[0, 0, 1, 1, 2, 2, 3, 3, 4]]
    np.testing.assert_array_equal(split.hidden, expected)


@pytest.mark.parametrize("parallel", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1)])
def test_exits_without_a_parallel_layer_are_a_conformers(parallel, make_encoder):
    """Up to the first parallel layer the outputs are those of the plain model."""
    config = replace(SMALL_SPLITFORMER, parallel=parallel)
    tensors = {spec.name: np.full(spec.shape, 0.01, np.float32) + np.float32(0.1) * (
        np.arange(np.prod(spec.shape), dtype=np.float32) % 7).reshape(spec.shape)
        for spec in families.tensors(config)}
    plain = {name: array for name, array in tensors.items() if ".parallel." not in name}
    features = small_features(50)
    found = log_probs(config, tensors, features, make_encoder)
    same = (found == log_probs(SMALL, plain, features, make_encoder)).all((1, 2))
    first = parallel.index(1) if 1 in parallel else 3
    assert same.tolist() == [number < first for number in range(3)]


@NOT_RESET
@given(frames=st.integers(0, 80), exits=st.integers(1, SMALL.exits))
def test_a_shallower_model_has_the_same_first_exits(make_encoder, tensors, frames, exits):
    shallow = SMALL_SPLITFORMER.first_exits(exits).validate()
    assert shallow.parallel == (1, 0, 1)[:exits]
    prefix = {spec.name: tensors[spec.name] for spec in families.tensors(shallow)}
    features = small_features(frames)
    expected = log_probs(SMALL_SPLITFORMER, tensors, features, make_encoder)[:exits]
    found = log_probs(shallow, prefix, features, make_encoder)
    np.testing.assert_array_equal(found, expected)


def test_parallel_layers_run_only_when_their_exit_is_asked_for(tensors, monkeypatch):
    rows = []
    monkeypatch.setattr("ee_ref.ops.conformer_layer",
                        lambda x, *_: (rows.append(len(x)) or x, None))
    exits = ReferenceEncoder(SMALL_SPLITFORMER, tensors).exits(small_features(41))
    counts = [(next(exits), len(rows))[1] for _ in range(3)]
    assert counts == [2, 4, 6] and rows == [9, 5, 9, 9, 9, 5]


# ---- Sizes and costs ----


def test_the_full_shape_is_the_published_one():
    state = random_state_dict(FULL_SPLITFORMER, 0)
    buffers = ("positional_encoder.pe", ".running_mean", ".running_var", ".num_batches_tracked")
    assert len(state) == 479
    assert sum(v.size for name, v in state.items() if not name.endswith(buffers)) == 36_683_264


def test_costs_are_the_published_shapes():
    """MAC for a second of audio up to each exit with its own head alone, but for scores."""
    rows, second = 2500, 25  # 100 s
    costs = FULL_SPLITFORMER.costs(4 * rows + 3)
    found = []
    for exit_, cost in enumerate(costs, start=1):
        parallel = sum(FULL_SPLITFORMER.parallel[:exit_])
        scores = 2 * 256 * (2 * exit_ * rows**2 + parallel * (rows // 2) ** 2)
        heads = (exit_ - 1) * rows * 256 * 256
        found.append((cost - scores - heads) * second / rows / 1e6)
    np.testing.assert_allclose(found, [169.9, 298.1, 426.2, 554.4, 682.6, 842.9], atol=0.1)
    assert splitformer.half(25) == 13 and splitformer.half(24) == 12


def test_costs_of_an_odd_number_of_rows_round_up():
    more = [b - a for a, b in zip(SMALL.costs(41), SMALL_SPLITFORMER.costs(41))]
    layer = conformer.layer_cost(SMALL, 5)
    assert more == [layer, layer, 2 * layer]


# ---- Configuration and files ----


@pytest.mark.parametrize("change, message", [
    ({"parallel": (1, 0)}, "parallel: expected 3 counts in 0..1, found (1, 0)"),
    ({"parallel": (1, 0, 2)}, "parallel: expected 3 counts in 0..1, found (1, 0, 2)"),
    ({"parallel": [1, 0, 1]}, "parallel: expected 3 counts in 0..1"),
    ({"chunk": 4, "conv": "chunk"}, "chunk: expected 0, the full view"),
])
def test_configurations_that_are_none(change, message):
    with pytest.raises(ArgumentError) as raised:
        replace(SMALL_SPLITFORMER, **change).validate()
    assert message in str(raised.value)


def test_the_document_lists_the_tensors():
    """FORMAT.md: a layer more, of other names, before the head."""
    config = replace(SMALL_SPLITFORMER, exits=1, layers_per_exit=(1,), parallel=(1,))
    *rows, weight, bias = listed("`ee-conformer`")
    beside = [(name.replace("layer.1", "parallel"), *rest) for name, *rest in rows
              if name.startswith("group.1.layer.1.")]
    assert rows_of(config) == [*rows, *beside, weight, bias]


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "model.gguf"
    model_file.write(path, SMALL_SPLITFORMER, TOKENS, {1}, tensors)
    return path


def test_a_file_comes_back(path, tensors):
    found = model_file.read(path)
    assert found.config == SMALL_SPLITFORMER
    assert found.metadata["general.architecture"] == "ee-splitformer"
    assert found.metadata["ee.parallel"] == [1, 0, 1]
    assert [*found.tensors] == [spec.name for spec in families.tensors(SMALL_SPLITFORMER)]
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, tensors[name], strict=True)


def test_a_file_cut_after_an_exit_is_a_shallower_model(path, tensors):
    whole, data = model_file.read(path), path.read_bytes()
    for exits, size in enumerate(whole.exit_sizes[:-1], start=1):
        path.write_bytes(data[:size])
        with pytest.warns(match=f"used as a model of {exits} exit"):
            cut = model_file.read(path)
        assert cut.config == SMALL_SPLITFORMER.first_exits(exits)
        features = small_features(50)
        np.testing.assert_array_equal(
            log_probs(cut.config, cut.tensors, features),
            log_probs(SMALL_SPLITFORMER, tensors, features)[:exits])


def test_versions_before_the_family_are_refused(path):
    data = path.read_bytes()
    key = b"ee.format_version" + (4).to_bytes(4, "little")  # u32
    assert data.count(key) == 1
    path.write_bytes(data.replace(key + b"\3", key + b"\2"))
    with pytest.raises(ModelFileError, match="ee.format_version: expected 3, found 2"):
        model_file.read(path)


def test_info_counts_the_parallel_layers(path, capsys):
    found = describe(model_file.read(path))
    assert found["architecture"] == "ee-splitformer" and found["config"]["parallel"] == (1, 0, 1)
    layer = sum(np.prod(families.spelled(row.shape, splitformer.sizes(SMALL_SPLITFORMER)))
                for row in conformer.LAYER)
    assert found["parameters"] == 2 * layer + sum(
        np.prod(spec.shape) for spec in families.tensors(SMALL) if spec.is_parameter)
    assert main(["info", str(path)]) == 0
    assert "ee-splitformer: 3 exits after 1+2+1 layers" in capsys.readouterr().out


def test_quantize_and_its_report(path, tmp_path, capsys):
    int8 = tmp_path / "int8.gguf"
    assert main(["quantize", str(path), "-o", str(int8)]) == 0
    assert "group.1.parallel" in capsys.readouterr().out
    assert model_file.read(int8).config == replace(SMALL_SPLITFORMER, dtype="qs8")


# ---- Flash images ----


@pytest.fixture
def native(native_library):
    from tests.firmware.image import NativeImage

    return NativeImage


def test_an_image_and_its_prefixes_are_models(path, native):
    file = model_file.read(path)
    whole = flash_image.build(file)
    for exits in range(1, SMALL.exits + 1):
        image = flash_image.build(file, exits)
        assert whole.startswith(image)
        config = SMALL_SPLITFORMER.first_exits(exits)
        assert flash_image.parse(image).config == config == native(image).config
        features = small_features(50)
        for opened in (native(image), native(whole, exits)):
            found = np.stack([out.log_probs for out in opened.exits(features)])
            expected = log_probs(SMALL_SPLITFORMER, file.tensors, features)[:exits]
            assert_close(found, expected, 5e-6, f"{exits} exits")


def test_only_families_that_need_it_have_a_section_of_their_own(path, tmp_path):
    (kind, own), *_ = flash_image.contents(flash_image.build(model_file.read(path)))
    assert kind == flash_image.Kind.FAMILY and own == bytes([1, 0, 1]) + bytes(61)
    config, tensors = convert_state_dict(random_state_dict(SMALL, 1), heads=4)
    model_file.write(tmp_path / "plain.gguf", config, TOKENS, {1}, tensors)
    plain = flash_image.build(model_file.read(tmp_path / "plain.gguf"))
    assert flash_image.Kind.FAMILY not in dict(flash_image.contents(plain))


@pytest.mark.parametrize("own, message", [
    ([bytes([1, 0, 2]) + bytes(61)], "parallel: expected 3 counts in 0..1"),
    ([bytes([1, 1, 1]) + bytes(61)], "sections of tensors: expected"),
    ([bytes([1, 0, 1]) + bytes(125)], "family: not the tables"),
    ([bytes([1, 0, 1]) + bytes(61)] * 2, "family: not the tables"),
    ([], "the section family: expected at least 64 bytes for ee-splitformer, found 0"),
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


def test_plan_and_export(path, tmp_path, native_library, capsys):
    assert main(["info", str(path), "--seconds", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["device"]
    image = tmp_path / "image.bin"
    assert main(["export", str(path), "--seconds", "1", "-o", str(image)]) == 0
    assert image.stat().st_size == plan["flash"][-1]
    found = flash_image.read(image)
    assert found.config.parallel == (1, 0, 1) and found.config.max_frames == plan["rows"]


# ---- Audio to text ----


@pytest.mark.parametrize("name", ["numpy", "native"])
def test_transcribe_stops_early(name, path, tensors, native_library):
    model = ee_ref.load(path, backend=name)
    samples = np.sin(np.arange(12_000, dtype=np.float32)) * np.float32(0.1)
    expected = list(ReferenceEncoder(SMALL_SPLITFORMER, tensors).exits(model.features(samples)))
    for exit_ in (1, 2, 3):
        found = model.transcribe((samples, 16_000), exit=exit_)
        assert found.exit == exit_
        best = ee_ref.decode.greedy(expected[exit_ - 1].log_probs)
        assert found.text == model.tokens.text(best.tokens)
    assert model.transcribe((samples, 16_000), policy=ee_ref.exits.Entropy(1.0)).exit == 1


# ---- Checkpoints ----


def test_a_checkpoint_is_converted(state, tensors, tmp_path, capsys):
    checkpoint, path = tmp_path / "checkpoint.pt", tmp_path / "model.gguf"
    checkpoint.write_bytes(torch_file({"model": state}))
    assert main(["convert", str(checkpoint), "--heads", "4", "-o", str(path)]) == 0
    assert "ee-splitformer: 3 exits" in capsys.readouterr().err
    found = model_file.read(path)
    assert found.config == SMALL_SPLITFORMER
    weight = state["conformer_parallel.1.conformer_layers.0.ffn1.sequential.1.weight"]
    np.testing.assert_array_equal(found.tensors["group.3.parallel.ff1.up.weight"], weight)


@pytest.mark.parametrize("exits, parallel", [
    (2, (1, 1)), (3, (1, 0, 1)), (3, (1, 1, 1)), (1, (1,)), (4, (1, 0, 0, 1)),
])
def test_the_count_tells_the_exits(exits, parallel):
    config = replace(SMALL_SPLITFORMER, exits=exits, layers_per_exit=(1,) * exits,
                     parallel=parallel)
    found, _ = convert_state_dict(random_state_dict(config, 1), heads=config.heads)
    assert found == config


def test_other_counts_are_refused(state):
    one = {name: array for name, array in state.items()
           if not name.startswith("conformer_parallel.1.")}
    with pytest.raises(CheckpointError, match="expected 2 parallel layers.* or 3.*, found 1"):
        convert_state_dict(one, heads=4)


def test_a_second_layer_beside_a_group_is_refused(state):
    first = "conformer_parallel.0.conformer_layers."
    more = {name.replace(f"{first}0", f"{first}1"): array for name, array in state.items()}
    with pytest.raises(CheckpointError, match=f"unexpected: {first}1"):
        convert_state_dict({**state, **more}, heads=4)


def test_settings_that_the_family_refuses(state):
    extras = {"heads": 4, "chunk": 4, "conv": "chunk", "parallel": [0, 0, 0]}
    with pytest.raises(CheckpointError, match="chunk: expected 0, the full view"):
        convert_state_dict(state, extras=extras)
    config, _ = convert_state_dict(state, extras={"heads": 4, "parallel": [0, 0, 0]})
    assert config.parallel == (1, 0, 1)


def test_a_conformer_stays_one():
    config, _ = convert_state_dict(random_state_dict(SMALL, 1), heads=4)
    assert type(config) is conformer.Config and FULL.architecture == "ee-conformer"
