"""wav2vec 2.0, HuBERT and WavLM with exits: against PyTorch, and every layout of checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

import ee_ref
from ee_ref import families, model_file, ops
from ee_ref.cli import main
from ee_ref.conformance.draw import SMALL, random_state_dict
from ee_ref.convert import convert, convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, CheckpointError, EeError, TooLongError
from ee_ref.families import wavlm
from ee_ref.frontend import front_end
from ee_ref.plan import multiply_accumulates
from ee_ref.quantize import quantize, signal_to_noise
from tests import speech_layouts
from tests.golden.gen_int8 import exits
from tests.hostile.checkpoints import torch_file
from tests.speech_layouts import (
    BASE,
    LAYOUTS,
    LENGTHS,
    MODELS,
    POST,
    PRE,
    WAVLM,
    clip,
    int8_model,
    plain,
    settings,
    state_of,
)
from tests.support import GOLDEN
from tests.test_families import listed, rows_of
from weights_io.folder import read

LARGEST_DIFFERENCE = 3e-5
"""Of a log-probability from PyTorch's in double precision; small models are noisier than large
ones, where it is below 1e-5."""


def log_probs(config, tensors, samples: np.ndarray) -> np.ndarray:
    """(exits, T', vocab)"""
    features = front_end(config, {}, "numpy")(samples)
    return np.stack([out.log_probs for out in ReferenceEncoder(config, tensors).exits(features)])


# ---- Against PyTorch ----


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_every_exit_of_a_small_model(name, samples, wav2vec2_golden):
    config = MODELS[name]
    found, tensors = convert_state_dict(plain(state_of(config)), **settings(config))
    assert found == config
    expected = wav2vec2_golden[f"{name}/{samples}"]
    values = log_probs(config, tensors, clip(samples))
    assert values.shape == expected.shape and values.shape[1] == config.encoder_frames(samples)
    assert np.abs(values - expected).max() <= LARGEST_DIFFERENCE
    np.testing.assert_array_equal(values.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_too_few_samples_give_no_rows(dtype):
    config, tensors = convert_state_dict(plain(state_of(POST)), **settings(POST))
    if dtype == "qs8":
        config, tensors = quantize(config, tensors)
    assert log_probs(config, tensors, clip(399)).shape == (2, 0, 7)


def test_the_last_exit_runs_only_when_it_is_asked_for(monkeypatch):
    config, tensors = convert_state_dict(plain(state_of(POST)), **settings(POST))
    calls = []
    attention = ops.multi_head_attention
    monkeypatch.setattr(ops, "multi_head_attention",
                        lambda *given: (calls.append(1), attention(*given))[1])
    exits = ReferenceEncoder(config, tensors).exits(clip(2001)[:, None])
    assert [(next(exits), len(calls))[1] for _ in range(2)] == [1, 2]


def test_a_normalised_model_does_not_see_volume_and_another_does():
    for config, same in ((PRE, True), (POST, False)):
        _, tensors = convert_state_dict(plain(state_of(config)), **settings(config))
        loud, quiet = (log_probs(config, tensors, clip(2001) * np.float32(g)) for g in (1, 0.1))
        assert (np.abs(loud - quiet).max() < 2e-3) == same


@pytest.mark.parametrize("distance, row", [
    (0, 0), (1, 161), (-1, 1), (79, 239), (80, 240), (82, 240), (83, 241), (799, 319), (800, 319),
    (5000, 319), (-800, 159), (-5000, 159),
])
def test_rows_of_distances(distance, row):
    assert wavlm.buckets(np.array([distance]), 320, 800) == [row]


def test_gelu_is_the_integral():
    x = np.linspace(-6, 6, 1001, dtype=np.float32)[:, None]
    exact = [float(v) * (1 + math.erf(float(v) / 2**0.5)) / 2 for v in x[:, 0]]
    np.testing.assert_allclose(ops.gelu(x)[:, 0], exact, rtol=0, atol=3e-7)


# ---- int8 mode ----


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_small_int8_models_give_the_frozen_bytes(name, samples):
    config, tensors = int8_model(MODELS[name])
    features = front_end(config, {}, "numpy")(clip(samples))
    found = exits(f"wav2vec2/{name}/{samples}", ReferenceEncoder(config, tensors), features)
    with np.load(GOLDEN / "int8.npz") as frozen:
        for key, value in found.items():
            assert np.array_equal(value, frozen[key]), f"{key} has other bytes"


@pytest.mark.parametrize("name", MODELS)
def test_an_int8_model_is_near_the_float32_one(name):
    """Widths of 6 and 12 are noisier than those of real models, which docs/numerics.md measures."""
    config = MODELS[name]
    config, tensors = convert_state_dict(plain(state_of(config)), **settings(config))
    int8, quantized = quantize(config, tensors)
    assert int8 == replace(config, dtype="qs8")
    assert quantized["stem.positional.weight"].dtype == np.int8
    if isinstance(config, wavlm.Config):
        assert np.array_equal(quantized["stem.distances"], tensors["stem.distances"])
    for expected, found in zip(log_probs(config, tensors, clip(9999)),
                               log_probs(int8, quantized, clip(9999))):
        assert 30 < signal_to_noise(expected, found) < 60


def test_only_two_convolutions_take_one_digit(monkeypatch):
    """And layers: the rest of the stem, the heads and the gates take two."""
    config, tensors = int8_model(WAVLM)
    widths: dict[int, list[tuple[int, int]]] = {1: [], 2: []}

    def note(digits: int, op: str) -> None:
        own = getattr(ops, op)
        monkeypatch.setattr(ops, op, lambda *given: (
            widths[digits].append(given[-3].shape), own(*given))[1])

    note(1, "linear_qs8")
    note(2, "linear_digits_qs8")
    log_probs(config, tensors, clip(2001))
    assert widths[1][:2] == [(6, 18), (6, 18)]
    assert widths[2][:6] == [(6, 10), (6, 18), (6, 18), (6, 12), (6, 12), (12, 6)]


# ---- Sizes and costs ----


def test_the_base_shape_is_the_published_one():
    """94,396,320 of wav2vec2-base with a head, without the vector of masked frames and with the
    weight norm's 128 lengths folded; five more heads."""
    count = sum(np.prod(spec.shape) for spec in families.tensors(BASE))
    assert count == 94_396_320 - 768 - 128 + 5 * 24_608


def test_costs_of_a_second_of_the_base_shape():
    """Published shapes, in GMAC, without scores: families' table of costs in the documents."""
    found = np.array(multiply_accumulates(BASE, 1)) / 1e9
    np.testing.assert_allclose(found, [3.42, 4.13, 4.83, 5.54, 6.25, 6.96], rtol=0.05)
    assert abs(BASE.stem_cost(16_000) / 1e9 - 2.71) < 0.05


def test_frames_and_times():
    assert (BASE.window, BASE.stride) == (400, 320)
    for samples in (0, 399, 400, 719, 720, 16_000, 160_001):
        frames = samples
        for kernel, stride in BASE.conv_sizes:
            frames = max(0, (frames - kernel) // stride + 1)
        assert BASE.encoder_frames(samples) == frames
    assert BASE.frame_seconds == 0.02 and BASE.frame_time(0) == 0.0125


@pytest.mark.parametrize("change, message", [
    ({"chunk": 4}, "chunk: expected 0, the full view"),
    ({"frontend": "mel"}, "frontend: expected one of ['samples', 'waveform']"),
    ({"mels": 80}, "mels: expected 1 with the front end"),
    ({"pad": 3}, "pad: expected 0 with the front end"),
    ({"convs": "10/5 3"}, "convs: expected kernel/stride"),
    ({"convs": ""}, "convs: expected kernel/stride"),
    ({"convs": "1000/2"}, "convs: expected kernel/stride"),
    ({"convs": "999/9 999/9 999/9"}, "convs: expected windows and steps of at most 65536 samples"),
    ({"max_frames": 9}, "max_frames: expected 0, as there are no positions"),
    ({"groups": 5}, "groups: expected a divisor of dim 12"),
    ({"channels": 21846}, "channels: expected with kernels of 3 at most 65536 values a window"),
    ({"kernel": 16385}, "kernel: expected with 4 channels a group at most 65536 values a window"),
    ({"norm": "both"}, "norm: expected one of ['post', 'pre']"),
    ({"conv_norm": "batch"}, "conv_norm: expected one of"),
    ({"conv_bias": 2}, "conv_bias: expected 0 or 1"),
    ({"head_norm": (0,)}, "head_norm: expected 2 counts in 0..1"),
])
def test_configurations_that_are_none(change, message):
    with pytest.raises(ArgumentError) as raised:
        replace(POST, **change).validate()
    assert message in str(raised.value)


def test_tables_of_distances_that_are_none():
    for change in ({"buckets": 6}, {"max_distance": 4}):
        with pytest.raises(ArgumentError, match=next(iter(change))):
            replace(WAVLM, **change).validate()


# ---- Files ----


def test_the_document_lists_the_tensors():
    """FORMAT.md, but for the shapes of the feature encoder, which depend on its kernels."""
    document = [row for row in listed("`ee-wav2vec2`") if "conv{i}" not in row[0]]
    own = listed("`ee-wavlm`")
    for config in (POST, PRE, WAVLM):
        one = replace(config, exits=1, layers_per_exit=(1,), head_norm=config.head_norm[:1])
        absent = "head.1.norm" if config.norm == "post" else "stem.norm"
        expected = [row for row in document if not row[0].startswith(absent)]
        found = [row for row in rows_of(one) if ".conv" not in row[0]]
        assert [row for row in found if row not in own] == expected
        assert [row for row in found if row in own] == own * (config is WAVLM)
    named = {name.partition("conv{i}")[2] for name, *_ in listed("`ee-wav2vec2`")}
    assert {name[len("stem.conv1"):] for name, *_ in rows_of(PRE) if ".conv" in name} <= named


@pytest.mark.parametrize("config", [POST, PRE, WAVLM], ids=["post", "pre", "wavlm"])
def test_a_file_comes_back_and_its_first_exit_alone(config, tmp_path):
    _, tensors = convert_state_dict(plain(state_of(config)), **settings(config))
    path = tmp_path / "m.gguf"
    model_file.write(path, config, [f"t{n}" for n in range(7)], {1}, tensors)
    found = model_file.read(path)
    assert found.config == config
    whole = log_probs(config, found.tensors, clip(2001))
    path.write_bytes(path.read_bytes()[: found.exit_sizes[0]])
    with pytest.warns(ee_ref.errors.EeWarning, match="ends after exit 1 of 2"):
        cut = model_file.read(path)
    np.testing.assert_array_equal(log_probs(cut.config, cut.tensors, clip(2001)), whole[:1])


def test_long_recordings_and_streams_are_refused(tmp_path):
    config, tensors = convert_state_dict(plain(state_of(POST)), **settings(POST))
    path = tmp_path / "m.gguf"
    model_file.write(path, config, [f"t{n}" for n in range(7)], {1}, tensors)
    model = ee_ref.load(path, backend="numpy")
    with pytest.raises(ArgumentError, match="a stream: expected a model of a family"):
        model.stream()
    with pytest.raises(TooLongError, match="expected at most 40.00 s of audio for ee-wav2vec2"):
        model.transcribe(np.zeros(41 * 16_000, np.float32))


def test_a_model_transcribes_and_tells_its_costs(tmp_path, capsys):
    config, tensors = convert_state_dict(plain(state_of(PRE)), **settings(PRE))
    path = tmp_path / "m.gguf"
    model_file.write(path, config, ["<pad>", *"ABC", "▁", *"DE"], {0}, tensors)
    model = ee_ref.load(path, backend="numpy")
    found = model.transcribe(clip(9999), exit=1)
    assert found.exit == 1 and found.text
    assert all(0 <= word.start <= word.end <= found.duration for word in found.words)
    info = model.info()
    assert info["stem"]["multiply_accumulates"]["1 s"] == config.stem_cost(16_000)
    assert info["exits"][0]["multiply_accumulates"]["1 s"] > config.stem_cost(16_000)
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "waveform: samples of zero mean and unit variance, 16000 Hz" in out
    assert f"      stem       0{info['stem']['parameters']:>12,}" in out


# ---- Layouts ----


@pytest.mark.parametrize("config, layout", [
    pytest.param(config, layout, id=f"{config.norm}-{layout}")
    for config in (POST, PRE) for layout in LAYOUTS
    if (config.norm, layout) != ("pre", "EE-Wav2Vec2")  # its heads do not share the last norm
])
def test_every_layout_gives_the_same_tensors(config, layout):
    state = state_of(config)
    _, expected = convert_state_dict(plain(state), **settings(config))
    found = convert(LAYOUTS[layout](state), **settings(config))
    assert found.config == config and found.layout == layout and not found.assumed
    assert found.tensors.keys() == expected.keys()
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, expected[name])


@pytest.mark.parametrize("layout", [speech_layouts.torchaudio_wavlm, speech_layouts.fairseq])
def test_layouts_of_wavlm(layout):
    state = state_of(WAVLM)
    _, expected = convert_state_dict(plain(state, "wavlm."), **settings(WAVLM))
    config, found = convert_state_dict(layout(state), **settings(WAVLM))
    assert config == WAVLM
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, expected[name])


def test_what_nothing_tells_is_assumed_and_said():
    found = convert(plain(state_of(POST)))
    assert found.assumed == {"heads": "--heads", "norm": "--norm", "frontend": "--frontend"}
    assert (found.config.heads, found.config.norm, found.config.frontend) == (1, "post", "samples")
    assert found.config.exits == 1 and found.config.layers_per_exit == (2,)
    assert convert(plain(state_of(PRE))).config.norm == "pre"
    found = convert(plain(state_of(WAVLM)), extras={"max_distance": 10})
    assert found.config.heads == 3 and "heads" not in found.assumed


def test_exits_are_where_they_are_wanted():
    state = plain(state_of(PRE))
    config, tensors = convert_state_dict(state, heads=3, exit_layers=(1,))
    assert config.layers_per_exit == (1,) and config.head_norm == (1,)
    both, _ = convert_state_dict(state, heads=3, exit_layers=(1, 2))
    assert both == PRE
    samples = clip(2001)
    np.testing.assert_array_equal(
        log_probs(config, tensors, samples),
        log_probs(PRE, convert_state_dict(state, **settings(PRE))[1], samples)[:1])


def test_heads_of_their_own_are_kept():
    state = state_of(POST)
    own = {f"decoders.{n}.{part}": state["decoders.0." + part] + np.float32(n)
           for n in range(2) for part in ("weight", "bias")}
    for extra in ({}, {"lm_head.weight": own["decoders.1.weight"],
                       "lm_head.bias": own["decoders.1.bias"]}):
        without = {name: value for name, value in plain(state).items() if "lm_head" not in name}
        config, tensors = convert_state_dict({**without, **own, **extra}, heads=3)
        assert config.layers_per_exit == (1, 1)
        np.testing.assert_array_equal(tensors["head.2.weight"], own["decoders.1.weight"])


def test_pre_norm_heads_of_their_own_have_the_last_norm_at_the_last_layer():
    state = {**plain(state_of(PRE)), **{name: value for name, value in state_of(PRE).items()
             if name.startswith("decoders.") and "norm" not in name}}
    assert convert_state_dict(state, heads=3)[0].head_norm == (0, 1)


G = "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"
V = G[:-1] + "1"


@pytest.mark.parametrize("harm, message", [
    (lambda s: {n: v for n, v in s.items() if n != G}, "weight norm: expected .*original0 and"),
    (lambda s: {**s, G: s[G][0]}, "expected a number a tap"),
    (lambda s: {**s, G.replace("parametrizations.weight.original0", "weight_g"): s[G] * 2,
                G.replace("parametrizations.weight.original0", "weight_v"): s[V]},
     "two spellings of one weight, found different ones"),
    (lambda s: {**s, V: s[V] * 0}, "expected finite numbers, found inf or nan"),
    (lambda s: {n: v for n, v in s.items() if "lm_head" not in n},
     "expected a CTC head .* found neither"),
    (lambda s: {n: v for n, v in s.items() if n != "lm_head.bias"}, "1 missing: decoders.0.bias"),
    (lambda s: {**s, "decoders.0.weight": s["lm_head.weight"] + 1,
                "decoders.0.bias": s["lm_head.bias"]},
     "one head of the last layer under two names"),
    (lambda s: {n: v for n, v in s.items() if "layers.0.attention.k_proj.weight" not in n},
     "expected queries, keys and values, found no .*k_proj.weight"),
    (lambda s: {**s, "wav2vec2.encoder.layers.0.attention.k_proj.weight": np.ones((3, 12), "f4")},
     "expected one shape"),
    (lambda s: {n: v for n, v in s.items() if "layers.0" not in n}, "numbered 0, 1, 2"),
    (lambda s: {**s, "wav2vec2.adapter.layers.0.conv.weight": np.ones(3, "f4")}, "1 unexpected"),
    (lambda s: {**s, "hubert.encoder.layer_norm.bias": np.ones(12, "f4")}, "expected one tensor"),
    (lambda s: {**s, "lm_head.weight": s["lm_head.weight"].astype(np.int64)},
     "expected floating-point numbers, found int64"),
])
def test_checkpoints_that_are_refused(harm, message):
    with pytest.raises(CheckpointError, match=message):
        convert_state_dict(harm(plain(state_of(POST))), heads=3)


SHAPES = ((), (0,), (3,), (0, 0), (1, 1), (12, 0), (0, 0, 0), (1, 1, 1), (12, 4, 6), (1, 1, 1, 1))
STATES = {**{layout: make(state_of(POST)) for layout, make in LAYOUTS.items()},
          "wavlm": plain(state_of(WAVLM), "wavlm."), "pre": plain(state_of(PRE))}


@settings_of_hypothesis(deadline=None)
@given(which=st.sampled_from(sorted(STATES)), tensor=st.integers(0, 1000),
       other=st.integers(0, 1000), shape=st.sampled_from((None, *SHAPES)),
       dtype=st.sampled_from(["f2", "f4", "i8", "?"]), exits=st.sampled_from([None, (1,), (1, 2)]),
       name=st.sampled_from(["", "layers.9999.", "0"]))
def test_no_change_of_a_state_is_another_error(which, tensor, other, shape, dtype, exits, name):
    """One tensor gone, of another shape, type or name."""
    state = dict(STATES[which])
    names = sorted(state)
    old = names[tensor % len(names)]
    value = state.pop(old)
    if shape is not None:
        state[old.replace("layers.1.", name) if name else old] = np.ones(shape, dtype)
    elif name:
        state[names[other % len(names)]] = value
    try:
        convert_state_dict(state, exit_layers=exits)
    except EeError:
        pass


def test_both_spellings_of_weight_norm_that_agree_and_mixed_precision():
    state = plain(state_of(POST))
    both = {**state, **speech_layouts.renamed(
        {name: state[name] for name in (G, V)}, *speech_layouts.OLD_WEIGHT_NORM)}
    _, expected = convert_state_dict(state, heads=3)
    _, found = convert_state_dict(both, heads=3)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    half = {name: value.astype(np.float16) if "attention" in name else value
            for name, value in state.items()}
    _, found = convert_state_dict(half, heads=3)
    assert found["group.1.layer.1.attn.in.weight"].dtype == np.float32


@pytest.mark.parametrize("exits, message", [
    ((0, 1), "expected layers in 1..2"), ((2, 1), "each after the one before"),
    ((1, 3), "expected layers in 1..2"), ((), "expected layers in 1..2"),
])
def test_exits_that_are_none(exits, message):
    with pytest.raises(CheckpointError, match=message):
        convert_state_dict(plain(state_of(POST)), heads=3, exit_layers=exits)


def test_a_conformer_has_its_exits():
    with pytest.raises(CheckpointError, match="exits: expected none for a Conformer"):
        convert_state_dict(random_state_dict(SMALL, 1), exit_layers=(1,))
    with pytest.raises(ArgumentError, match="norm: expected none, of which ee-conformer has no"):
        convert_state_dict(random_state_dict(SMALL, 1), norm="pre")


# ---- Folders of Hugging Face ----

CONFIG = {
    "model_type": "wav2vec2", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 20, "vocab_size": 7, "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 3, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    "conv_bias": True, "hidden_act": "gelu", "pad_token_id": 0,
}
FILES = {
    "config.json": CONFIG,
    "preprocessor_config.json": {"do_normalize": True, "sampling_rate": 16000,
                                 "feature_extractor_type": "Wav2Vec2FeatureExtractor"},
    "vocab.json": {"[PAD]": 0, "<s>": 1, "|": 2, "A": 3, "B": 4, "C": 5, "D": 6},
    "tokenizer_config.json": {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "[PAD]",
                              "word_delimiter_token": "|"},
}


def safetensors_file(state: dict[str, np.ndarray]) -> bytes:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, value in state.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_text(json.dumps(content))
    (path / "model.safetensors").write_bytes(safetensors_file(plain(state_of(PRE))))
    return path


def shard(folder: Path) -> list[Path]:
    """The weights in two files and an index; the two."""
    state = plain(state_of(PRE))
    parts = [folder / f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for number, part in enumerate(parts):
        part.write_bytes(safetensors_file(dict([*state.items()][number::2])))
    index = {name: parts[number % 2].name for number, name in enumerate(state)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "model.safetensors").unlink()
    return parts


def run(folder: Path, *options: str) -> int:
    return main(["convert", str(folder), "-o", str(folder.parent / "m.gguf"), *options])


def test_a_folder_is_converted(folder, capsys):
    assert run(folder, "--exits", "1,2") == 0
    said = capsys.readouterr().err
    assert "ee-wav2vec2: 2 exits after 1+1 layers" in said and "of Hugging Face" in said
    assert "assumed" not in said
    found = model_file.read(folder.parent / "m.gguf")
    assert found.config == PRE
    assert found.tokens == ("[PAD]", "<s>", "▁", *"ABCD") and found.special == {0, 1}


def test_shards_and_files_of_pytorch_are_the_same_model(folder):
    assert run(folder) == 0
    expected = (folder.parent / "m.gguf").read_bytes()
    shard(folder)
    assert run(folder, "--force") == 0
    assert (folder.parent / "m.gguf").read_bytes() == expected
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(torch_file(plain(state_of(PRE))))
    assert run(folder, "--force") == 0
    assert (folder.parent / "m.gguf").read_bytes() == expected


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def with_json(name: str, **changes: object) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(json.dumps({**FILES[name], **changes}))


@pytest.mark.parametrize("harm, message", [
    (without("config.json"), "expected config.json, found none"),
    (without("model.safetensors"), "expected a folder with one of model.safetensors"),
    (lambda folder: (folder / "config.json").write_text("{"), "expected JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "expected an object"),
    (lambda folder: shard(folder)[1].unlink(), "expected 2 shards, found no model-00002"),
    (lambda folder: shard(folder)[1].write_bytes(safetensors_file({"a": np.ones(1, "f4")})),
     "tensors in 2 shards, found"),
    (lambda folder: (shard(folder), (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "../b"}}')), "expected weight_map"),
    (with_json("config.json", model_type="whisper"), "model_type: expected one of"),
    (with_json("config.json", model_type="wavlm"), "model_type: expected one of"),
    (with_json("config.json", hidden_act="relu"), "hidden_act: expected one of"),
    (with_json("config.json", add_adapter=True), "add_adapter: expected one of"),
    (with_json("config.json", num_hidden_layers=24), "layers: expected 24, as the configuration"),
    (with_json("config.json", hidden_size=768), "dim: expected 12, as the tensors have, found 768"),
    (with_json("config.json", conv_kernel=[10, 3]), "expected as many of each, found 2 and 7"),
    (with_json("config.json", conv_kernel=[9, 3, 3, 3, 3, 2, 2]), "expected the kernels of the"),
    (with_json("config.json", num_attention_heads="3"), "heads: expected an integer"),
    (with_json("config.json", num_attention_heads=5), "heads: expected a divisor of dim 12"),
    (with_json("preprocessor_config.json", feature_extractor_type="WhisperFeatureExtractor"),
     "feature_extractor_type: expected one of"),
    (with_json("preprocessor_config.json", do_normalize=1), "do_normalize: expected one of"),
    (with_json("tokenizer_config.json", tokenizer_class="WhisperTokenizer"),
     "tokenizer_class: expected one of"),
    (with_json("vocab.json", E=7), "expected 7, as the exit heads have, found 8"),
    (with_json("vocab.json", D=5), "vocab.json: expected the ids 0..6, each once"),
    (with_json("vocab.json", deu={"A": 1}), "of several vocabularies choose one"),
])
def test_folders_that_are_refused(harm, message, folder, capsys):
    harm(folder)
    assert run(folder) == 1
    assert message in capsys.readouterr().err
    assert not (folder.parent / "m.gguf").exists()


def test_labels_given_go_before_those_of_the_folder(folder, tmp_path):
    with_json("tokenizer_config.json", tokenizer_class="WhisperTokenizer")(folder)
    labels = tmp_path / "labels.txt"
    labels.write_text("<b>\n" + "\n".join("abcdef") + "\n")
    assert run(folder, "--tokens", str(labels)) == 0
    assert model_file.read(tmp_path / "m.gguf").tokens == ("<b>", *"abcdef")


def test_the_front_end_in_the_file_of_the_processor(folder, capsys):
    """Where transformers has put it since version 5; the older file goes before it."""
    both = folder / "preprocessor_config.json", folder / "processor_config.json"
    both[1].write_text(json.dumps({"feature_extractor": {"do_normalize": False}}))
    assert run(folder) == 0
    assert model_file.read(folder.parent / "m.gguf").config.frontend == "waveform"
    both[0].unlink()
    assert run(folder, "--force") == 0
    assert model_file.read(folder.parent / "m.gguf").config.frontend == "samples"
    assert "assumed" not in capsys.readouterr().err


def test_what_a_folder_does_not_tell_is_said(folder, capsys):
    (folder / "preprocessor_config.json").unlink()
    assert run(folder) == 0
    said = capsys.readouterr().err
    assert "assumed, as nothing tells: frontend waveform (see --frontend)" in said
    assert run(folder, "--frontend", "samples", "--force") == 0
    assert "assumed" not in capsys.readouterr().err
    assert model_file.read(folder.parent / "m.gguf").config.frontend == "samples"
    with pytest.raises(SystemExit):
        run(folder, "--exits", "1;2")


def test_no_error_is_another_than_the_packages(folder):
    """Every value of config.json, of another type."""
    state = plain(state_of(PRE))
    for name in (*CONFIG, "conv_stride", "layer_norm_eps", "adapter_attn_dim"):
        for value in (None, "x", [], {}, -1, 10**30, 0.5, True):
            with_json("config.json", **{name: value})(folder)
            try:
                extras = read(folder).extras
                convert_state_dict(state, extras=extras)
            except EeError:
                continue
