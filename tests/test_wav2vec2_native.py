"""wav2vec 2.0, HuBERT and WavLM in C: beside PyTorch and NumPy, in pieces, from flash images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import ee_ref
from ee_ref import families, flash_image, model_file
from ee_ref.cli import main
from ee_ref.conformance.draw import Stream
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ModelFileError, TooLongError
from ee_ref.families import Kind, wav2vec2, wavlm
from ee_ref.frontend import front_end
from tests.speech_layouts import (
    LENGTHS,
    MODELS,
    POST,
    PRE,
    WAVLM,
    clip,
    plain,
    settings,
    state_of,
)
from tests.test_wav2vec2 import LARGEST_DIFFERENCE

pytestmark = pytest.mark.usefixtures("native_library")

OTHERS = {
    "one_conv": replace(POST, convs="10/5"),
    "two_convs": replace(POST, convs="10/5 3/2", conv_bias=1),
    "three_convs": replace(PRE, convs="4/2 3/2 2/2"),
    "sixteen_convs": replace(POST, convs=" ".join(["2/1"] * 16)),
    "gaps": replace(PRE, convs="3/4 2/3"),
    "own_head_norm": replace(PRE, head_norm=(0, 1)),
    "one_group": replace(POST, groups=1, kernel=5),
    "narrow_groups": replace(POST, groups=12, kernel=1),
    "wide": replace(WAVLM, channels=40, dim=36, heads=2, ff=50, vocab=33),
    "near_distances": replace(WAVLM, buckets=4, max_distance=2),
    "steps_at_whole_distances": replace(WAVLM, buckets=16, max_distance=16),
}
"""Shapes beside those of `MODELS`: few and many convolutions, steps longer than windows, ..."""


def tensors_of(config):
    return convert_state_dict(plain(state_of(config)), **settings(config))


def encoder_of(config, tensors, *given):
    from ee_ref.native._session import NativeModel

    return NativeModel(config, tensors, *given)


def outputs(encoder, features):
    return np.stack([out.log_probs for out in encoder.exits(features)])


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_every_exit_of_a_small_model(name, samples, wav2vec2_golden):
    config, tensors = tensors_of(MODELS[name])
    features = front_end(config, {}, "native")(clip(samples))
    values = outputs(encoder_of(config, tensors), features)
    expected = wav2vec2_golden[f"{name}/{samples}"]
    assert np.abs(values - expected).max() <= LARGEST_DIFFERENCE
    np.testing.assert_array_equal(values.argmax(-1), expected.argmax(-1))


def drawn(config):
    """Random tensors of any configuration."""
    draw, tensors = Stream(3), {}
    for spec in families.tensors(config.validate()):
        if spec.kind is Kind.VECTOR:
            is_scale = "norm.weight" in spec.name
            tensors[spec.name] = draw.norm(*spec.shape)[0] if is_scale else draw.bias(*spec.shape)
        else:
            tensors[spec.name] = draw.weight(*spec.shape)
    return tensors


@pytest.fixture(scope="module", params=OTHERS)
def other(request):
    """(configuration, tensors)"""
    return OTHERS[request.param], drawn(OTHERS[request.param])


@pytest.mark.parametrize("samples", [1, 400, 1999, 5001])
def test_other_shapes(other, samples):
    features = clip(samples)[:, None]
    expected = outputs(ReferenceEncoder(*other), features)
    found = outputs(encoder_of(*other), features)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=LARGEST_DIFFERENCE)


@pytest.mark.parametrize("name", MODELS)
def test_pieces_threads_and_packing_change_no_byte(name):
    config, tensors = tensors_of(MODELS[name])
    features = clip(20_001)[:, None]
    expected = outputs(encoder_of(config, tensors), features)
    for threads, packed, step in ((1, True, 20_001), (3, False, 777), (2, True, 10_000)):
        state = encoder_of(config, tensors, threads, packed).start(30_000)
        for start in range(0, len(features), step):
            assert not [*state.exits()]  # nothing before the last feed
            piece = features[start : start + step]
            state.feed(piece, last=start + step >= len(features))
        np.testing.assert_array_equal(np.stack([out.log_probs for out in state.exits()]), expected)


def test_the_capacity_is_kept():
    state = encoder_of(*tensors_of(POST)).start(1000)
    state.feed(clip(600)[:, None])
    with pytest.raises(TooLongError, match="expected at most 1000 frames .* found 1001"):
        state.feed(clip(401)[:, None])
    state.feed(clip(400)[:, None], last=True)
    assert [len(out.log_probs) for out in state.exits()] == [2, 2]


@pytest.mark.parametrize("buckets, max_distance", [
    (320, 800), (16, 10), (16, 16), (4, 2), (8, 6), (12, 27), (40, 4000), (2000, 501)])
def test_distances_fall_into_the_rows_of_the_specification(buckets, max_distance):
    """Rows of a table that lie side by side differ by 0.5, so that a wrong one shows."""
    config = replace(WAVLM, buckets=buckets, max_distance=max_distance, heads=1, dim=12,
                     exits=1, layers_per_exit=(1,), head_norm=(0,), convs="1/1")
    tensors = drawn(config)
    rows = wavlm.buckets(np.arange(-299, 300), buckets, max_distance)
    tensors["stem.distances"] = (np.arange(buckets, dtype=np.float32)[:, None] % 11 - 5) / 2
    assert rows.min() >= 0 and rows.max() < buckets
    features = clip(300)[:, None]
    np.testing.assert_allclose(outputs(encoder_of(config, tensors), features),
                               outputs(ReferenceEncoder(config, tensors), features),
                               rtol=0, atol=LARGEST_DIFFERENCE)


# ---- Files ----


@pytest.fixture(params=MODELS)
def file(request, tmp_path):
    config, tensors = tensors_of(MODELS[request.param])
    model_file.write(tmp_path / "m.gguf", config, ["<pad>", *"ABC", "\u2581", *"DE"], {0}, tensors)
    return model_file.read(tmp_path / "m.gguf")


def test_transcribing_on_both_backends(file):
    native, numpy = (ee_ref.load(file.path, backend=name) for name in ("native", "numpy"))
    assert native.backend == "native"
    found, expected = native.transcribe(clip(9999)), numpy.transcribe(clip(9999))
    assert found.text == expected.text and found.exit == expected.exit == 2
    assert [word[:3] for word in found.words] == [word[:3] for word in expected.words]
    assert native.transcribe(clip(9999), exit=1).exit == 1


def test_flash_images(file):
    from tests.firmware.image import NativeImage

    image = flash_image.build(file)
    assert flash_image.parse(image).config == file.config
    expected = outputs(encoder_of(file.config, file.tensors), clip(2001)[:, None])
    for exits in (1, 2):
        opened = NativeImage(image, exits)
        assert opened.config == file.config.first_exits(exits)
        features = opened.features(clip(2001))
        assert features.tobytes() == front_end(file.config, {}, "numpy")(clip(2001)).tobytes()
        np.testing.assert_array_equal(outputs(opened, clip(2001)[:, None]), expected[:exits])
    cut = flash_image.build(file, exits=1)
    np.testing.assert_array_equal(outputs(NativeImage(cut), clip(2001)[:, None]), expected[:1])


@pytest.mark.parametrize("word, value", [
    (15, 99), (20, 0), (20, 2), (22, 1), (22, 9), (24, 2), (12, 2), (16, 5), (5, 1), (5, 9)])
def test_headers_that_contradict_the_family_are_refused(word, value, tmp_path):
    from tests.firmware.image import NativeImage
    from tests.test_flash_image import changed

    config, tensors = tensors_of(PRE)
    model_file.write(tmp_path / "m.gguf", config, [f"t{n}" for n in range(7)], {1}, tensors)
    image = changed(flash_image.build(model_file.read(tmp_path / "m.gguf")), word, value)
    refusals = []
    for read in (flash_image.parse, NativeImage):
        try:
            read(image)
            refusals.append(False)
        except ModelFileError:
            refusals.append(True)
    assert refusals[0] == refusals[1], f"word {word}: Python refuses: {refusals[0]}"
    assert refusals[0] or word in (15, 16)  # of the stem of a Conformer, which nobody reads


def test_the_section_of_the_family_is_checked(tmp_path):
    from tests.firmware.image import NativeImage
    from tests.test_flash_image import sections, with_part

    config, tensors = tensors_of(WAVLM)
    model_file.write(tmp_path / "m.gguf", config, [f"t{n}" for n in range(7)], {1}, tensors)
    image = flash_image.build(model_file.read(tmp_path / "m.gguf"))
    at = sections(image)[flash_image.Kind.FAMILY].offset
    for offset, number in ((0, 0), (4, 5), (8, 2), (12, 2), (16, 2), (20, 6), (24, 4), (28, 0),
                           (60, 0), (92, 2)):
        harmed = with_part(image, at + offset, number.to_bytes(4, "little"))
        for read in (flash_image.parse, NativeImage):
            with pytest.raises(ModelFileError):
                read(harmed)
                pytest.fail(f"{read.__name__} took {number} at {offset}")


def test_exporting_and_planning(tmp_path, capsys):
    config, tensors = tensors_of(POST)
    model_file.write(tmp_path / "m.gguf", config, [f"t{n}" for n in range(7)], {1}, tensors)
    path = str(tmp_path / "m.gguf")
    assert main(["export", path, "-o", str(tmp_path / "image.bin"), "--seconds", "2"]) == 0
    assert flash_image.read(tmp_path / "image.bin").config == config
    assert main(["info", path, "--seconds", "2", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["device"]
    assert plan["features"] == 4 * 32_000 and plan["frontend"] == 0
    assert plan["arena"] > 4 * 32_000  # which keeps the samples too
    assert plan["rows"] == config.encoder_frames(32_000)


def test_the_numbers_of_c():
    from ee_ref.native._lib import ffi, lib
    from ee_ref.native._session import _c_config

    for config in MODELS.values():
        found = _c_config(config)
        assert found.architecture == config.number
        assert found.conv_norm == wav2vec2.CONV_NORMS.index(config.conv_norm)
        assert found.norm == wav2vec2.NORMS.index(config.norm)
        assert [*found.conv_kernel] == [*config.conv_kernel, *[0] * (16 - len(config.conv_kernel))]
        for exit_ in range(1, config.exits + 1):
            assert found.head_norm[exit_ - 1] == config.head_norm[exit_ - 1]
        assert lib.ee_encoder_frames(found, 9999) == config.encoder_frames(9999)
        assert lib.EE_MAX_CONVS == wav2vec2.MAX_CONVS
        offsets = [ffi.offsetof("ee_config", name) for name in config.own]
        assert offsets == sorted(offsets)
