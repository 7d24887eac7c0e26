"""From a float32 model to an int8 one: weights, files, accuracy, and `ee-ref quantize`."""

from __future__ import annotations

import json
import math
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ee_ref import model_file
from ee_ref.cli import main
from ee_ref.conformance.draw import SMALL, random_features, random_int8_model, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, ModelFileError
from ee_ref.families import tensors as tensor_specs
from ee_ref.families.conformer import Config
from ee_ref.loading import bundled_model
from ee_ref.model_file import ALIGNMENT
from ee_ref.quantize import dequantize, quantize, signal_to_noise, weight_report
from tests.hostile.model_files import rebuild, with_field, with_tensor, without_field
from tests.support import FULL, FULL_CLIPS, FULL_SEED, SMALL_SEED
from weights_io import gguf

ROOT = Path(__file__).resolve().parent.parent

BUNDLED_SHAPE = Config(
    exits=6, layers_per_exit=(2, 1, 1, 1, 1, 1), dim=96, heads=4, ff=384, kernel=15, vocab=29,
    max_frames=1000, frontend="logmel", n_fft=512, win_length=400, pad=1600,
)
LOGMEL = replace(SMALL, frontend="logmel", n_fft=512, win_length=400, vocab=4)
TOKENS = ("@", "▁", "A", "B")


def float_model(config: Config, seed: int = 1) -> dict[str, np.ndarray]:
    state = random_state_dict(config, seed)
    found, tensors = convert_state_dict(
        state, heads=config.heads, extras={"pad": config.pad})
    assert found == config
    return tensors


def placeholders(config: Config) -> list[str]:
    return [f"<{number}>" for number in range(config.vocab)]


@pytest.fixture(scope="module")
def tensors():
    return float_model(SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bytes of the int8 file of the small model."""
    path = tmp_path_factory.mktemp("model") / "small.gguf"
    config, tensors = random_int8_model(SMALL, SMALL_SEED)
    model_file.write(path, config, placeholders(SMALL), (), tensors)
    return path.read_bytes()


# ---- Weights ----


def test_matrices_become_int8_and_the_rest_stays(tensors):
    config, quantized = quantize(SMALL, tensors)
    assert config == replace(SMALL, dtype="qs8")
    assert list(quantized) == [spec.name for spec in tensor_specs(config)]
    for spec in tensor_specs(config):
        found = quantized[spec.name]
        assert found.shape == spec.shape and found.dtype == spec.dtype
        if spec.dtype == "float32" and not spec.name.endswith("_scale"):
            np.testing.assert_array_equal(found, tensors[spec.name], strict=True)
    matrices = [spec for spec in tensor_specs(config) if spec.dtype == "int8"]
    assert len(matrices) == 3 + 8 * sum(SMALL.layers_per_exit) + SMALL.exits
    for spec in matrices:
        scale = quantized[f"{spec.name}_scale"][:, None]
        error = np.abs(dequantize(quantized, spec.name) - tensors[spec.name])
        assert (error <= 0.50001 * scale).all(), spec.name


def test_report_names_every_matrix(tensors):
    _, quantized = quantize(SMALL, tensors)
    report = weight_report(tensors, quantized)
    assert set(report) == {name for name in quantized if quantized[name].dtype == np.int8}
    assert 38 < min(report.values()) and max(report.values()) < 60


def test_signal_to_noise():
    x = np.array([3.0, 4.0], np.float32)
    assert signal_to_noise(x, x) == math.inf
    assert signal_to_noise(x, x * np.float32(1.5)) == pytest.approx(20 * math.log10(2))
    assert signal_to_noise(x * 0, x) == -math.inf


def test_numbers_whose_products_could_be_subnormal_become_zero(tensors):
    name = "group.1.layer.1.conv.depthwise.weight"
    small = tensors[name].copy()
    small.flat[:3] = 2.0**-51, -(2.0**-149), -(2.0**-50)
    _, quantized = quantize(SMALL, {**tensors, name: small})
    found = quantized[name].ravel()
    assert found[:3].tolist() == [0, 0, -(2.0**-50)] and not np.signbit(found[1])
    assert np.array_equal(found[3:], small.ravel()[3:])


def test_an_int8_model_is_not_quantised_again(tensors):
    with pytest.raises(ArgumentError, match="expected a float32 model.*qs8"):
        quantize(*quantize(SMALL, tensors))


# ---- Accuracy ----


@pytest.mark.parametrize("qk_gain, least", [
    (1.0, (47, 44, 42, 41, 40, 39)),
    (2.5, (45, 39, 34, 30, 28, 25)),
])
def test_log_probs_of_the_full_shape_stay_near_float32(qk_gain, least):
    """Least signal-to-noise ratio in dB by exit; docs/numerics.md has the figures measured."""
    config, tensors = convert_state_dict(random_state_dict(FULL, FULL_SEED, qk_gain))
    clip = FULL_CLIPS[1]
    features = random_features(clip.frames, clip.seed)
    twins = (ReferenceEncoder(config, tensors), ReferenceEncoder(*quantize(config, tensors)))
    for expected, found in zip(*(encoder.exits(features) for encoder in twins)):
        ratio = signal_to_noise(expected.log_probs, found.log_probs)
        assert ratio >= least[expected.exit - 1], f"exit {expected.exit}: {ratio:.1f} dB"


# ---- Files ----


def test_int8_file_is_read_back(data, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    found = model_file.read(path)
    config, tensors = random_int8_model(SMALL, SMALL_SEED)
    assert found.config == config and found.metadata["ee.format_version"] == 3
    assert list(found.tensors) == [spec.name for spec in tensor_specs(config)]
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor, strict=True)
        assert not found.tensors[name].flags.writeable
    header = gguf.parse(data, ALIGNMENT)
    shapes = {info.name: (info.shape, info.type) for info in header.tensors}
    assert shapes["stem.conv1.weight"] == ((20, 48), gguf.TensorType.I8)  # 39 columns
    assert shapes["stem.conv1.weight_scale"] == ((20,), gguf.TensorType.F32)


def test_int8_file_cut_after_an_exit_is_a_shallower_model(data, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    whole = model_file.read(path)
    features = random_features(40, 1, SMALL.mels)
    expected = [out.log_probs for out in
                ReferenceEncoder(whole.config, whole.tensors).exits(features)]
    for exits, size in enumerate(whole.exit_sizes[:-1], start=1):
        cut = tmp_path / f"{exits}.gguf"
        cut.write_bytes(data[:size])
        with pytest.warns(UserWarning, match=f"ends after exit {exits}"):
            found = model_file.read(cut)
        assert found.config.exits == exits and found.config.dtype == "qs8"
        outputs = [out.log_probs for out in
                   ReferenceEncoder(found.config, found.tensors).exits(features)]
        assert all(map(np.array_equal, outputs, expected)) and len(outputs) == exits


def test_public_package_reads_int8(data, tmp_path):
    public = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    ours = model_file.read(path).tensors
    for tensor in public.GGUFReader(path).tensors:
        expected = ours[tensor.name]
        np.testing.assert_array_equal(tensor.data[..., : expected.shape[-1]], expected)


@pytest.mark.parametrize("change, error", [
    (with_field("ee.format_version", 1), "ee.dtype: expected no such field"),
    (without_field("ee.dtype"), "ee.dtype"),
    (with_field("ee.dtype", "f32"), "tensors: expected 123, found"),
    (with_field("ee.dtype", "qs4"), "dtype: expected one of"),
    (with_tensor(0, type=gguf.TensorType.F32), "expected type"),
    (with_tensor(1, type=gguf.TensorType.I8), "expected type"),
    (with_tensor(1, name="stem.positions"), "twice"),
], ids=["version", "no dtype", "f32", "unknown", "float", "scale", "name"])
def test_int8_files_that_lie(change, error, data, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(rebuild(data, change))
    with pytest.raises(ModelFileError, match=error):
        model_file.read(path)


@pytest.mark.parametrize("name, value, error", [
    ("head.1.weight", np.int8(-128), "-128"),
    ("head.1.weight_scale", np.float32(-1), "scales >= 0"),
    ("head.1.weight_scale", np.float32(np.nan), "finite"),
])
def test_tensors_that_are_not_written(name, value, error, tmp_path):
    config, tensors = random_int8_model(SMALL, SMALL_SEED)
    tensors[name].flat[-1] = value
    with pytest.raises(ModelFileError, match=f"{name}.*{error}"):
        model_file.write(tmp_path / "m.gguf", config, placeholders(SMALL), (), tensors)


def test_a_file_with_minus_128_is_refused(data, tmp_path, monkeypatch):
    path = tmp_path / "m.gguf"
    header = gguf.parse(data, ALIGNMENT)
    info = next(info for info in header.tensors if info.name == "head.1.weight")
    changed = bytearray(data)
    changed[header.data_start + info.offset] = 0x80
    path.write_bytes(changed)
    with pytest.raises(ModelFileError, match="head.1.weight.*damaged"):
        model_file.read(path)
    checksums = iter(header.fields["ee.tensor_crc32"].value)
    with pytest.raises(ModelFileError, match="head.1.weight.*-127..127, found -128"):
        model_file.read(path, crc32=lambda _: next(checksums))


@pytest.mark.parametrize("config", [BUNDLED_SHAPE, FULL], ids=["bundled", "full"])
def test_int8_file_is_at_most_28_percent(config):
    """Computed from the table of tensors; writing the full shape would take a second."""
    sizes = []
    for dtype in ("f32", "qs8"):
        specs = tensor_specs(replace(config, dtype=dtype))
        infos = [gguf.TensorInfo(spec.name, spec.stored_shape, spec.type, 0) for spec in specs]
        header, _ = gguf.encode({}, infos, ALIGNMENT)
        sizes.append(len(header) + sum(gguf.align(info.nbytes, ALIGNMENT) for info in infos))
    assert sizes[1] / sizes[0] <= 0.28


# ---- The command ----


@pytest.fixture
def files(tmp_path):
    """A folder with a float32 model file and a manifest of two recordings in a folder below."""
    model_file.write(tmp_path / "m.gguf", LOGMEL, TOKENS, (), float_model(LOGMEL), name="tiny")
    (tmp_path / "clips").mkdir()
    lines = []
    for number, text in enumerate(("a b", "b")):
        samples = np.random.default_rng(number).integers(-9000, 9000, 8000 + 3000 * number)
        with wave.open(str(tmp_path / "clips" / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(samples.astype("<i2").tobytes())
        lines.append(json.dumps({"path": f"clips/{number}.wav", "text": text, "speaker": "x"}))
    (tmp_path / "dev.jsonl").write_text("\n".join(lines) + "\n\n")
    return tmp_path


def command(folder, *options: str) -> int:
    return main(["quantize", str(folder / "m.gguf"), "-o", str(folder / "int8.gguf"), *options])


def test_quantize_writes_a_model_and_a_report(files, capsys):
    assert command(files) == 0
    out, err = capsys.readouterr()
    found = model_file.read(files / "int8.gguf")
    config, tensors = quantize(LOGMEL, float_model(LOGMEL))
    assert found.config == config and found.tokens == TOKENS
    assert found.metadata["general.name"] == "tiny"
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    report = weight_report(float_model(LOGMEL), tensors)
    layers = [line for line in out.splitlines() if line.startswith("group.")]
    assert len(layers) == sum(LOGMEL.layers_per_exit)
    assert f"{report['group.1.layer.1.ff1.up.weight']:.1f}" in layers[0].split()
    assert len(layers[0].split()) == 9
    assert f"{found.size:,} bytes" in err and "WER" not in out


def test_quantize_reports_word_error_rates(files, capsys):
    assert command(files, "--manifest", str(files / "dev.jsonl"), "--backend", "numpy") == 0
    out = capsys.readouterr().out
    assert "2 recordings, 3 words" in out
    rows = [line.split() for line in out.splitlines()[-LOGMEL.exits :]]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    for _, before, after, difference, ratio, changed in rows:
        assert float(after) - float(before) == pytest.approx(float(difference), abs=0.011)
        assert float(ratio) > 25 and 0 <= int(changed) <= 2


@pytest.mark.parametrize("lines, error", [
    (None, "No such file"),
    ("", "expected recordings, found none"),
    ("{", "line 1: expected an object"),
    ('{"path": "clips/0.wav"}', "line 1: expected an object"),
    ('{"path": "clips/0.wav", "text": 7}', "line 1: expected an object"),
    ("[]", "line 1: expected an object"),
    ('{"path": "clips/none.wav", "text": "a"}', "none.wav"),
], ids=["missing", "empty", "no json", "no text", "number", "list", "no recording"])
def test_manifests_that_cannot_be_used(lines, error, files, capsys):
    if lines is not None:
        (files / "bad.jsonl").write_text(lines)
    assert command(files, "--manifest", str(files / "bad.jsonl"), "--backend", "numpy") in (1, 2)
    assert error in capsys.readouterr().err


def test_a_bad_recording_is_left_out_of_the_comparison(files, capsys):
    (files / "clips" / "1.wav").write_bytes(b"no audio")
    assert command(files, "--manifest", str(files / "dev.jsonl"), "--backend", "numpy") == 1
    out, err = capsys.readouterr()
    assert "1 recordings, 2 words" in out and "1 of 2 recordings left out" in out
    assert err.count("1.wav") == 1 and model_file.read(files / "int8.gguf").config.dtype == "qs8"


def test_without_words_the_insertions_are_compared(files, capsys):
    text = (files / "dev.jsonl").read_text()
    (files / "dev.jsonl").write_text(text.replace('"a b"', '"..."').replace('"b"', '""'))
    assert command(files, "--manifest", str(files / "dev.jsonl"), "--backend", "numpy") == 0
    out = capsys.readouterr().out
    assert "2 recordings, 0 words" in out and "int8 inserted" in out
    for row in out.splitlines()[-LOGMEL.exits:]:
        _, before, after, difference, *_ = row.split()
        assert before.isdigit() and after.isdigit() and difference == "-"


def test_words_are_compared_under_the_normaliser(files, capsys):
    """Case, full stops and soft hyphens are no errors."""
    text = (files / "dev.jsonl").read_text()
    tables = []
    for reference in ("a b", "A, \u00adb."):
        (files / "dev.jsonl").write_text(text.replace('"a b"', json.dumps(reference)))
        assert command(files, "--force", "--manifest", str(files / "dev.jsonl"), "--backend",
                       "numpy") == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] and "normaliser plain" in tables[0]


def test_outputs_that_exist_are_kept(files, capsys):
    assert command(files) == 0
    before = (files / "int8.gguf").read_bytes()
    assert command(files) == 1
    assert "exists already" in capsys.readouterr().err
    assert command(files, "--force") == 0
    assert (files / "int8.gguf").read_bytes() == before
    model = str(files / "m.gguf")
    assert main(["quantize", model, "-o", model, "--force"]) == 2
    assert "is the model itself" in capsys.readouterr().err
    again = main(["quantize", str(files / "int8.gguf"), "-o", str(files / "x.gguf")])
    assert again == 2 and not (files / "x.gguf").exists()
    assert "expected a float32 model" in capsys.readouterr().err


def test_the_model_of_commands_is_the_float_one_quantised():
    """The weights of training/ and those of the package are one model, to the byte."""
    source = ROOT / "training" / "commands-f32.gguf"
    if not source.exists():
        pytest.skip("the float32 weights are in the repository, not in the source distribution")
    source, bundled = model_file.read(source), model_file.read(bundled_model("commands"))
    config, tensors = quantize(source.config, source.tensors)
    assert bundled.config == config
    assert (bundled.tokens, bundled.special) == (source.tokens, source.special)
    assert {name: tensor.tobytes() for name, tensor in bundled.tensors.items()} == {
        name: tensor.tobytes() for name, tensor in tensors.items()
    }
