"""Flash images: round trip, prefixes, what Python and C refuse, and `ee-ref export`."""

import json
import random
import re
import struct
import subprocess
import zlib
from dataclasses import replace

import numpy as np
import pytest

import ee_ref
from ee_ref import c_source, flash_image, model_file
from ee_ref.cli import main
from ee_ref.conformance.draw import SMALL, Stream, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.errors import ArgumentError, EeError, FileError, ModelFileError
from ee_ref.quantize import quantize
from tests.conftest import require_native
from tests.support import TOY

LOGMEL = replace(SMALL, frontend="logmel", n_fft=512, win_length=400, pad=80)
TOKENS = ("@", "<s>", "▁", "a", "É", "\U0001f600", "<0x41>", "▁b", "b c", "c", "d")
SPECIAL = frozenset({1})
LABELS = ("", "", " ", "a", "É", "\U0001f600", "<0x41>", " b", "b c", "c", "d")
KINDS = {"mel f32": SMALL, "logmel f32": LOGMEL, "logmel qs8": replace(LOGMEL, dtype="qs8")}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Kind -> model file."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for kind, config in KINDS.items():
        state = random_state_dict(replace(config, dtype="f32"), 1)
        made, tensors = convert_state_dict(state, extras={"heads": config.heads, "pad": config.pad})
        if config.dtype == "qs8":
            made, tensors = quantize(made, tensors)
        assert made == config
        path = folder / f"{kind}.gguf"
        model_file.write(path, made, TOKENS, SPECIAL, tensors)
        found[kind] = model_file.read(path)
    return found


@pytest.fixture(params=KINDS)
def file(request, files):
    return files[request.param]


@pytest.fixture(scope="module")
def image(files):
    return flash_image.build(files["logmel f32"])


@pytest.fixture(scope="module")
def native():
    require_native()
    from tests.firmware.image import NativeImage

    return NativeImage


def changed(image, word, value):
    """The image with a word of its header changed, and the header's checksum made to agree."""
    header = bytearray(image[: flash_image.HEADER_BYTES])
    struct.pack_into("<I", header, 4 * word, value)
    struct.pack_into("<I", header, 8, 0)
    struct.pack_into("<I", header, 8, zlib.crc32(header))
    return bytes(header) + image[flash_image.HEADER_BYTES :]


def with_part(image, offset, content):
    """The image with bytes of a section changed, and the checksums made to agree."""
    return flash_image.resealed(image[:offset] + content + image[offset + len(content) :])


def sections(image):
    """Kind -> first section of an image."""
    return {section.kind: section for section in reversed(flash_image.header(image).sections)}


# ---- Round trip ----


def test_what_an_image_holds(file):
    found = flash_image.parse(flash_image.build(file))
    assert found.config == file.config and found.labels == LABELS
    assert found.model_checksum == file.header_checksum
    assert set(found.tensors) == set(file.tensors)
    for name, tensor in file.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor, strict=True)
        assert not found.tensors[name].flags.writeable


def test_sections_follow_each_other_in_whole_lines(file):
    image = flash_image.build(file)
    header, end = flash_image.header(image), flash_image.HEADER_BYTES
    for section in header.sections:
        assert section.offset == end and section.bytes % 64 == 0
        assert zlib.crc32(image[end : end + section.bytes]) == section.crc32
        end += section.bytes
    assert end == len(image)
    assert [section.kind for section in header.sections] == [1, 2, 3, 4, 4, 4]


def test_kinds_that_nobody_knows_are_skipped(native, file):
    image = flash_image.build(file)
    parts = flash_image.contents(image)
    more = flash_image.reassembled(image, [(77, b"later" * 64), *parts[:2], (99, bytes(64)),
                                           *parts[2:]])
    for exits, end in enumerate(flash_image.header(more).exit_ends, start=1):
        found = flash_image.parse(more[:end])
        assert found.config == flash_image.parse(flash_image.build(file, exits)).config
        assert native(more[:end]).config == found.config
        assert native(more, exits).config == found.config


def test_a_limited_view_is_part_of_an_image(native, file):
    config = replace(file.config, chunk=4, left=6, conv="chunk", positions="none", max_frames=0)
    tensors = {name: tensor for name, tensor in file.tensors.items()
               if not name.startswith("stem.positions")}
    image = flash_image.build(replace(file, config=config, tensors=tensors))
    assert flash_image.parse(image).config == config == native(image).config


def test_an_image_of_fewer_exits_is_a_prefix(file):
    whole = flash_image.build(file)
    sizes = flash_image.exit_sizes(file.config, file.tokens, file.special)
    assert flash_image.parse(whole).exit_sizes == sizes
    for exits in range(1, file.config.exits + 1):
        cut = flash_image.build(file, exits)
        assert cut == whole[: sizes[exits - 1]]
        found = flash_image.parse(cut)
        assert found.config == replace(
            file.config, exits=exits, layers_per_exit=file.config.layers_per_exit[:exits])
        assert all(not name.startswith((f"group.{exits + 1}.", f"head.{exits + 1}."))
                   for name in found.tensors)


def test_seconds_cut_the_positions(file):
    whole, cut = flash_image.build(file), flash_image.build(file, seconds=0.5)
    found = flash_image.parse(cut)
    frames = 1 + (8000 + 2 * file.config.pad) // 160
    assert found.config.max_frames == file.config.encoder_frames(frames) < file.config.max_frames
    assert len(cut) < len(whole)
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, file.tensors[name][: len(tensor)])
    longest = flash_image.build(file, seconds=file.config.max_seconds)
    assert flash_image.parse(longest).config.max_frames == file.config.max_frames


def test_the_same_model_gives_the_same_bytes(file):
    assert flash_image.build(file, 2, 0.4) == flash_image.build(file, 2, 0.4)


@pytest.mark.parametrize("exits", [0, -1, 4, 99])
def test_exits_that_the_model_lacks(file, exits):
    with pytest.raises(ArgumentError, match=f"exits.*1..3.*{exits}"):
        flash_image.build(file, exits)


@pytest.mark.parametrize("seconds", [0, -1, 1e-3, 99, float("nan"), float("inf")])
def test_seconds_that_the_model_lacks(files, seconds):
    with pytest.raises(ArgumentError, match="seconds"):
        flash_image.build(files["mel f32"], seconds=seconds)


@pytest.mark.parametrize("seconds", [0, 86_401, 1e300, float("nan"), float("inf")])
def test_seconds_of_a_model_without_a_limit(seconds):
    config = ee_ref.load().config
    assert config.max_seconds == float("inf")
    with pytest.raises(ArgumentError, match="seconds: .*at most 86400.00 s, found"):
        flash_image.limited(config, seconds)


def test_front_end_that_c_cannot_do(files):
    odd = replace(files["mel f32"], config=replace(SMALL, n_fft=1000))
    with pytest.raises(ArgumentError, match="n_fft.*1000"):
        flash_image.build(odd)


# ---- Samples to text ----


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_gives_what_the_model_gives(native, files, kind):
    file = files[kind]
    model = ee_ref.load(file.path)
    samples = (Stream(3)(9000, low=-0.5, high=0.5) * 32767).astype(np.int16)
    floats = samples.astype(np.float32) / 32768
    run = native(flash_image.build(file, seconds=0.6))
    features = run.features(samples)
    assert features.tobytes() == model.features(floats).tobytes()
    expected = model.transcribe((floats, 16000))
    for found, out in zip(run.exits(features), model.exits(features), strict=True):
        assert found.exit == out.exit and found.log_probs.tobytes() == out.log_probs.tobytes()
    assert run.text(found.log_probs) == expected.text != ""


@pytest.mark.parametrize("kind", KINDS)
def test_c_opens_the_first_exits(native, files, kind):
    file = files[kind]
    image = flash_image.build(file)
    for exits in range(1, file.config.exits + 1):
        cut = flash_image.build(file, exits)
        for found in (native(image, exits), native(cut), native(cut + bytes(64), exits)):
            assert found.config == flash_image.parse(cut).config
        if exits < file.config.exits:
            with pytest.raises(ArgumentError, match="EE_ERR_IMAGE_EXITS"):
                native(cut, exits + 1)
    with pytest.raises(ArgumentError, match="EE_ERR_IMAGE_EXITS"):
        native(image, file.config.exits + 1)


# ---- Damage ----


def refused(native, image, message, name):
    """Both readers refuse it; `message` is Python's, `name` the status of C."""
    with pytest.raises(ModelFileError, match=message):
        flash_image.parse(image)
    with pytest.raises(ModelFileError, match=name):
        native(image)


def test_other_lengths(native, image):
    with pytest.raises(ModelFileError, match="expected a header of 2048 bytes, found 0"):
        flash_image.parse(b"")
    sizes = {1, 63, 2047, 2048, 2049, len(image) // 2, len(image) - 64, len(image) - 1}
    for size in sizes:
        refused(native, image[:size], "expected .*bytes", "EE_ERR_IMAGE_TRUNCATED")
    refused(native, image + bytes(64), "end of an exit", "EE_ERR_IMAGE_TRUNCATED")


def test_magic_and_version(native, image):
    refused(native, b"GGUF" + image[4:], "magic", "EE_ERR_IMAGE_MAGIC")
    refused(native, image[3::-1] + image[4:], "magic", "EE_ERR_IMAGE_MAGIC")
    for version in (0, 1, 2, 4, 0x03000000):
        refused(native, changed(image, 1, version), "ABI version", "EE_ERR_IMAGE_ABI")


def test_any_byte_changed(native, image):
    draw = random.Random(5)
    places = {*range(16, 500), 8, 11, *draw.sample(range(2048, len(image)), 60), len(image) - 1}
    for place in places:
        new = bytearray(image)
        new[place] ^= 1 << draw.randrange(8)
        refused(native, bytes(new), "damaged", "EE_ERR_IMAGE_(CHECKSUM|LAYOUT)")


# heads, conv, blank, sample_rate, hop_length, pad, log_floor, norm_eps
NO_SIZES = (9, 19, 21, 23, 26, 27, 28, 29)
# stem_stride, of which C takes any; sample_rate and win_length, whose tables it does not compute
C_TAKES_MORE = (15, 23, 25)


def test_lying_headers(native, image):
    """Every word of the header, with a checksum that agrees: refused, and never used."""
    for word in range(3, flash_image.HEADER_BYTES // 4):
        right = struct.unpack_from("<I", image, 4 * word)[0]
        if word == 4:  # the model's checksum: nothing to compare it with
            continue
        for wrong in {0, 1, right + 1, right - 1, right + 64, right * 2, 1 << 31, 0xFFFFFFFF}:
            wrong &= 0xFFFFFFFF
            if wrong == right:
                continue
            lie = changed(image, word, wrong)
            try:
                found = flash_image.parse(lie)
            except ModelFileError:
                pass
            else:
                # Numbers that no size depends on.
                assert word in NO_SIZES or found.config.exits < 3, word
            try:
                native(lie)
            except EeError as error:  # of C: what it opens, `parse` reads
                assert "EE_ERR_" in str(error) or word in C_TAKES_MORE, (word, wrong)
    for rate in (0, 999, 1_000_001):
        refused(native, changed(image, 23, rate), "sample_rate", "EE_ERR_CONFIG")


def test_lying_tables(native, image):
    labels, frontend = sections(image)[2].offset, sections(image)[1].offset
    lies = [
        (frontend + 2048 + 1664, struct.pack("<H", 0xFFFF)),  # the bins of the first filter
        (labels, struct.pack("<I", 0xFFFFFFFF)),
        (labels + 4 * (SMALL.vocab - 1), struct.pack("<I", 0)),
    ]
    for offset, content in lies:
        refused(native, with_part(image, offset, content), ".", "EE_ERR_")


def test_text_that_is_not_utf8(image):
    text = sections(image)[2].offset + 64  # behind the ends of eleven labels
    with pytest.raises(ModelFileError, match="UTF-8"):
        flash_image.parse(with_part(image, text, b"\xff"))


def test_files(tmp_path, image):
    path = tmp_path / "m.bin"
    flash_image.write(path, image)
    assert flash_image.read(path).size == len(image)
    with pytest.raises(FileError, match="exists"):
        flash_image.write(path, image)
    path.write_bytes(image[:-1])
    with pytest.raises(ModelFileError, match="m.bin: expected the end of an exit"):
        flash_image.read(path)
    with pytest.raises(FileError, match="missing"):
        flash_image.read(tmp_path / "missing")


# ---- ee-ref export, ee-ref info --seconds ----


@pytest.fixture
def export(files, tmp_path, capsys):
    def run(kind, *arguments):
        code = main(["export", files[kind].path, *map(str, arguments)])
        return (code, *capsys.readouterr())
    return run


def test_export(export, files, tmp_path):
    code, out, err = export("logmel qs8", "-o", tmp_path / "m.bin", "--exits", 2, "--seconds", 0.5)
    assert (code, out) == (0, "") and "2 of 3 exits" in err
    assert (tmp_path / "m.bin").read_bytes() == flash_image.build(files["logmel qs8"], 2, 0.5)


def test_exported_c(native, export, tmp_path):
    """The array has the bytes of the image; the header, the plan that `ee-ref info` prints."""
    paths = {name: tmp_path / name for name in ("m.bin", "m.c", "m.h")}
    code, _, err = export("mel f32", "-o", paths["m.bin"], "--c-array", paths["m.c"],
                          "--header", paths["m.h"], "--seconds", 0.5)
    assert code == 0, err
    words = re.findall(r"0x([0-9a-f]{8})u[,\n]", paths["m.c"].read_text())
    image = paths["m.bin"].read_bytes()
    assert b"".join(struct.pack("<I", int(word, 16)) for word in words) == image
    defined = dict(re.findall(r"#define (EE_\w+) (\w+?)u?\b", paths["m.h"].read_text()))
    assert int(defined["EE_MODEL_EXITS"]) == 3
    assert int(defined["EE_PLAN_FLASH_BYTES_EXIT_3"]) == len(image)
    assert c_source.SYMBOL in paths["m.h"].read_text()


def test_exported_c_compiles(native, export, tmp_path):
    code, _, _ = export("mel f32", "-o", tmp_path / "m.bin", "--c-array", tmp_path / "m.c",
                        "--header", tmp_path / "m.h")
    assert code == 0
    (tmp_path / "main.c").write_text(
        '#include "m.h"\n#include "m.c"\n'
        "int main(void) { return (uintptr_t)ee_model_image % 64 != 0 "
        "|| sizeof ee_model_image != EE_PLAN_FLASH_BYTES_EXIT_3; }\n")
    for standard in ("c99", "c11"):
        try:
            subprocess.run(["cc", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "main.c",
                            "-o", "main"], cwd=tmp_path, check=True)
        except FileNotFoundError:
            pytest.skip("no C compiler")
        assert subprocess.run([tmp_path / "main"]).returncode == 0


def test_export_of_a_model_without_a_limit(native, tmp_path, capsys):
    arguments = ["export", "english", "--exits", "1", "-o", str(tmp_path / "m.bin")]
    header = ["--header", str(tmp_path / "m.h")]
    assert main([*arguments, *header]) == 2
    assert "--header " in (err := capsys.readouterr().err) and "needs --seconds S" in err
    assert list(tmp_path.iterdir()) == []
    assert main(arguments) == 0 and "audio of any length" in capsys.readouterr().err
    assert main([*arguments, *header, "--seconds", "4", "--force"]) == 0
    assert "audio of up to 4.00 s" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (["--exits", "9"], "exits"),
    (["--seconds", "999"], "seconds"),
    (["--c-array", "SAME"], "different names"),
])
def test_export_of_what_the_model_lacks(export, tmp_path, arguments, message):
    output = tmp_path / "m.bin"
    arguments = [str(output) if word == "SAME" else word for word in arguments]
    code, out, err = export("mel f32", "-o", output, *arguments)
    assert code == 2 and message in err and not output.exists()


def test_export_replaces_nothing(export, tmp_path):
    (tmp_path / "m.h").write_text("mine")
    code, _, err = export("mel f32", "-o", tmp_path / "m.bin", "--header", tmp_path / "m.h")
    assert code == 1 and "exists" in err and not (tmp_path / "m.bin").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_plan(native, files, kind, capsys):
    """The plan is what the C planner says of the image that `export` writes."""
    file = files[kind]
    assert main(["info", file.path, "--seconds", "0.5", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["device"]
    image = flash_image.build(file, seconds=0.5)
    for exits in (1, 2, 3):
        run = native(image, exits)
        assert plan["model"][exits - 1] == run.memory_bytes
        assert plan["flash"][exits - 1] == len(flash_image.build(file, exits, 0.5))
        assert plan["arena"] == run.arena_size(plan["frames"])
        assert plan["peak"][exits - 1] == (
            run.memory_bytes + plan["features"] + plan["stack"]
            + max(plan["arena"], plan["frontend"]))
    # Of a device, which does one frame after another, and not of this machine.
    assert plan["frontend"] == 8 * file.config.n_fft
    features = run.features(np.zeros(8000, np.int16))
    assert len(features) == plan["frames"] and features.nbytes == plan["features"]
    assert main(["info", file.path, "--seconds", "0.5"]) == 0
    assert f"{plan['peak'][2]:,}" in capsys.readouterr().out


def test_a_limit_never_looks_like_what_exceeds_it():
    config = replace(TOY, max_frames=995)
    assert 39.859 < config.max_seconds < 39.86
    with pytest.raises(ArgumentError) as raised:
        flash_image.limited(config, 39.86)
    most, found = re.search(r"at most (\S+) s, found (\S+)", str(raised.value)).groups()
    assert float(most) <= config.max_seconds < float(found)
