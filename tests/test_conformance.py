"""The conformance suite: vectors, judge, waivers, reports, command."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from ee_ref import flash_image
from ee_ref.cli import main
from ee_ref.conformance import REPORT_FORMATS, manifest, report, runner, schema, waivers
from ee_ref.conformance.cases import cases_of, op_names
from ee_ref.conformance.describe import op_table
from ee_ref.conformance.judge import DB, EXACT, ULP, Bound, compare, judge
from ee_ref.conformance.protocol import Body, Decoder, Frame, Type
from ee_ref.conformance.runner import Port, Result, Run
from ee_ref.conformance.suite import (
    INT8_CONFIG,
    MAX_INPUT_BYTES,
    TIERS,
    demo,
    suite,
    tier_of,
)
from ee_ref.conformance.waivers import Waiver
from ee_ref.errors import FileError, ModelFileError
from ee_ref.frontend import exact
from ee_ref.ops._lines import lines
from ee_ref.ops._names import stem_and_mode
from tests.support import GOLDEN
from tests.test_conformance_protocol import ENVIRONMENT, FAKE, VECTORS

ROOT = Path(__file__).resolve().parent.parent

LARGEST_ARCHIVE = 25_000_000


@pytest.fixture(scope="session")
def content(vectors) -> dict[str, bytes]:
    return manifest.files(vectors)


@pytest.fixture(scope="session")
def folder(content, tmp_path_factory) -> Path:
    """The whole suite, exported."""
    path = tmp_path_factory.mktemp("conformance") / "vectors"
    manifest.export(content, path)
    return path


@pytest.fixture(scope="session")
def few(tmp_path_factory) -> Path:
    """Three cases of one op, exported."""
    path = tmp_path_factory.mktemp("few") / "vectors"
    manifest.export(manifest.files(VECTORS), path)
    return path


# ---- Vectors ----


def test_the_bytes_are_those_of_every_other_machine(content, vectors):
    with np.load(GOLDEN / "vectors.npz") as golden:
        frozen = golden[f"version/{vectors.version}"].tobytes()
    assert hashlib.sha256(content["manifest.json"]).digest() == frozen, "tests/golden/make.py"


def test_what_is_exported_is_read_again(folder, vectors):
    found = manifest.read(folder)
    assert found.version == vectors.version and found.models.keys() == vectors.models.keys()
    for name, model in vectors.models.items():
        assert found.models[name] == model
    assert [case.name for case in found.cases] == [case.name for case in vectors.cases]
    for read, made in zip(found.cases, vectors.cases):
        assert (read.tier, read.op, read.model) == (made.tier, made.op, made.model)
        assert dict(read.parameters) == dict(made.parameters) and read.bounds == made.bounds
        for mine, theirs in ((made.inputs, read.inputs), (made.expected, read.expected)):
            assert list(mine) == list(theirs)
            for name, array in mine.items():
                assert array.tobytes() == theirs[name].tobytes()
                assert array.shape == theirs[name].shape


def test_every_case_of_every_op_is_a_vector(vectors):
    names = {case.name for case in vectors.cases}
    for op in (*op_names(), *op_names("qs8")):
        for case in cases_of(op):
            size = sum(array.nbytes for value in case.arguments().values()
                       for array in (value.values() if isinstance(value, dict) else [value])
                       if isinstance(array, np.ndarray))
            assert (f"{tier_of(op)}/{op}/{case.name}" in names) == (size <= MAX_INPUT_BYTES)


def test_only_float32_cases_are_too_large(vectors):
    names = {case.name for case in vectors.cases}
    missing = [f"{tier_of(op)}/{op}/{case.name}" for op in (*op_names(), *op_names("qs8"))
               for case in cases_of(op) if f"{tier_of(op)}/{op}/{case.name}" not in names]
    assert sorted(missing) == ["f32/conformer_layer/full", "f32/feed_forward/full"]


def test_exact_tiers_are_exact_and_others_give_reasons(vectors):
    for case in vectors.cases:
        for name, bound in case.bounds.items():
            assert bound.reason, f"{case.name}: {name}"
            exact = case.tier in ("integer", "int8", "decision", "status")
            exact |= case.tier == "model" and not case.model.endswith("-f32")
            assert not exact or bound.kind == EXACT, case.name
            assert bound.kind != DB or bound.limit > 0


EDGES = [
    # Every op: a row of zeros, one frame, one below, at and one above the sizes of tiles.
    *(f"{tier_of(op)}/{op}/{edge}" for op in (*op_names(), *op_names("qs8"))
      for edge in ("zero*", "*_1", "*_15", "*_16", "*_17", "*_31", "*_32", "*_33")),
    *(f"integer/linear_qs8/rows_{n}" for n in (127, 128, 129, 255, 256, 257)),
    "integer/quantize_qs8/ties_to_even", "integer/quantize_qs8/beside_ties",
    "integer/quantize_qs8/both_ends", "integer/linear_qs8/largest_product",
    "integer/linear_qs8/sums_beyond_2_24", "integer/linear_qs8/smallest_scales",
    "integer/quantize*_qs8/subnormal", "int8/silu_exact/smallest", "int8/glu_exact/flushed",
    "int8/layer_norm_exact/*_flushed", "int8/depthwise_conv_exact/smallest",
    "int8/stem_conv_qs8/below_the_smallest_scale", "f32/silu/powers_to_subnormal",
    "int8/depthwise_conv_exact/minus_zero", "f32/softmax/minus_inf", "f32/log_softmax/minus_inf",
    "frontend/features/*_silence", "frontend/features/*_no_samples",
    *(f"model/exits/{model}_{edge}" for model in ("small-int8", "small-f32", "commands")
      for edge in ("one_frame", "longest")),
    *(f"model/exits/{model}-int8_{edge}" for model in ("splitformer", "zipformer", "lstm")
      for edge in ("one_frame", "frames_15", "longest")),
    "model/exits/small-int8_no_features", "model/exits/small-int8_no_frames",
    "decision/decide/*_entropy_equal", "decision/decide/*_entropy_one_bit_less",
    "decision/decide/ties-int8_constant_exit_1",
    *(f"status/{what}_status/nan_{where}" for what in ("session", "samples", "log_probs")
      for where in ("first", "last")),
    "status/image_status/at_16", "status/image_status/lies_*", "status/image_status/damaged_*",
    "status/session_status/arena_one_byte_short", "status/session_status/one_frame_too_many",
]


def test_each_tier_and_edge_is_there(vectors):
    names = [case.name for case in vectors.cases]
    assert {case.tier for case in vectors.cases} == set(TIERS)
    assert [edge for edge in EDGES if not fnmatch.filter(names, edge)] == []


def test_edges_are_what_their_names_say(vectors):
    by_name = {case.name: case for case in vectors.cases}
    longest = by_name["model/exits/small-int8_longest"].expected["log_probs_3"]
    assert len(longest) == INT8_CONFIG.max_frames
    assert len(by_name["model/exits/small-int8_one_frame"].expected["log_probs_1"]) == 1
    assert len(by_name["model/exits/small-int8_no_frames"].expected["log_probs_1"]) == 0
    sums = by_name["integer/linear_qs8/sums_beyond_2_24"].expected["y"]
    assert sums.min() > 2**24
    for case in ("glu_exact/flushed", "layer_norm_exact/differences_flushed",
                 "layer_norm_exact/products_flushed"):
        y = by_name[f"int8/{case}"].expected["y"]
        assert 0 < np.count_nonzero(y) < y.size and not np.signbit(y[y == 0]).any(), case
        assert np.abs(y[y != 0]).min() >= 2.0**-50, case
    y = by_name["int8/depthwise_conv_exact/smallest"].expected["y"]
    assert 2.0**-126 < np.abs(y[y != 0]).min() < 2.0**-120
    y = by_name["integer/linear_qs8/smallest_scales"].expected["y"]
    assert 2.0**-126 < np.abs(y).min() < 2.0**-80
    y = by_name["int8/depthwise_conv_exact/minus_zero"].expected["y"]
    assert not y.any() and np.signbit(y).all()
    ties = by_name["integer/quantize_qs8/ties_to_even"].expected["q"]
    assert ties.tolist() == [[127, 0, 2, 2, 0, -2, -2, 126, -126, 126]]
    equal = [c for n, c in by_name.items() if n.endswith("_entropy_equal")]
    assert equal and all(c.expected["margin"][0] == 0 for c in equal)
    for name, case in by_name.items():
        if name.endswith("_entropy_one_bit_less") and "no_frames" not in name:
            equal = by_name[name.replace("one_bit_less", "equal")]
            assert case.expected["exit"] > equal.expected["exit"], name


def status_of(case) -> str:
    return case.expected["status"].tobytes().decode()


def test_every_refusal_has_a_case_and_a_line(vectors):
    """Whatever an image, an utterance or log-probabilities may be refused for."""
    header = (ROOT / "kernels" / "include" / "ee.h").read_text()
    names = set(re.findall(r"^    (EE_(?:OK|ERR_[A-Z_]+)) = ", header, re.MULTILINE))
    page = (ROOT / "docs" / "conformance.md").read_text()
    asked = {status_of(case) for case in vectors.cases if case.tier == "status"}
    # NULL, threads, buffers, 2 GB, builds without float32, tensors that are in no image and the
    # arguments of attention decoders cannot be asked for in a frame.
    assert names - asked == {"EE_ERR_ARGUMENT", "EE_ERR_BUFFER_TOO_SMALL", "EE_ERR_TOO_LARGE",
                             "EE_ERR_DTYPE", "EE_ERR_THREADS", "EE_ERR_TENSOR_COUNT",
                             "EE_ERR_TENSOR_SIZE", "EE_ERR_RANGE"}
    assert asked <= names and all(f"`{name}`" in page for name in asked)


def test_the_reader_in_python_agrees_about_images(vectors):
    for case in vectors.cases:
        if case.op == "image_status" and not case.parameters:
            image, refused = case.inputs["image"].tobytes(), status_of(case) != "EE_OK"
            with pytest.raises(ModelFileError) if refused else contextlib.nullcontext():
                flash_image.parse(image)


def test_a_model_of_ties(vectors):
    """Labels and peaks that are equal, and texts that take all rules of spaces."""
    model = suite().models["ties-int8"]
    longest, constant = (
        next(case for case in vectors.cases if case.name == f"decision/decide/ties-int8_{name}")
        for name in ("longest_exit_1", "constant_exit_1"))
    log_probs = model.log_probs(longest.inputs["features"])[0]
    best = log_probs.max(axis=1)
    assert ((log_probs == best[:, None]).sum(axis=1) > 1).sum() > 10
    spoken = [model.tokens[token] for token in longest.expected["tokens"]]
    raw = "".join(spoken)
    assert "<s>" in spoken and "\u00c9" in raw
    raw = raw.replace("<s>", "")
    assert raw.startswith("\u2581") and raw.endswith("\u2581") and "\u2581\u2581" in raw
    log_probs = model.log_probs(constant.inputs["features"])[0]
    token, first = constant.expected["tokens"][-1], constant.expected["frames"][-1]
    assert (log_probs[first:, token] == log_probs[first, token]).sum() > 1


def test_expected_bytes_are_those_of_the_c_front_end(vectors, native_library):
    from ee_ref.native._frontend import NativeFrontEnd

    clip = demo()[:12345]
    for frontend, n_fft, window in (("mel", 1024, 320), ("logmel", 512, 400)):
        config = dataclasses.replace(INT8_CONFIG, frontend=frontend, n_fft=n_fft, win_length=window)
        native = NativeFrontEnd(config, None, None).extract(clip)
        assert native.tobytes() == exact.extract(clip, config).tobytes()


@pytest.mark.slow  # it packs the whole suite
def test_the_suite_is_small_enough_to_release(content, tmp_path):
    archive = tmp_path / "vectors.tar.xz"
    manifest.archive(content, archive)
    assert archive.stat().st_size <= LARGEST_ARCHIVE
    with tarfile.open(archive) as tar:
        members = {member.name.partition("/")[2]: member for member in tar.getmembers()}
        assert members.keys() == content.keys()
        assert {(m.mtime, m.uid, m.gname, m.mode) for m in members.values()} == {(0, 0, "", 0o644)}
        assert tar.extractfile(members["manifest.json"]).read() == content["manifest.json"]


def test_archives_are_repeatable(tmp_path):
    few = manifest.files(VECTORS)
    for name in ("a.tar.xz", "b.tar.xz"):
        manifest.archive(few, tmp_path / name)
    assert (tmp_path / "a.tar.xz").read_bytes() == (tmp_path / "b.tar.xz").read_bytes()


def test_an_export_is_the_same_bytes_in_any_surroundings(content, tmp_path):
    """Another locale, time zone, umask, order of hashes and instruction set, NumPy and BLAS as on
    a lesser CPU."""
    environment = {
        **ENVIRONMENT, "EE_REF_ISA": "c", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "77", "PYTHONUTF8": "0", "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX X86_V3 X86_V4"}
    subprocess.run([sys.executable, "-m", "ee_ref", "conformance", "export", "made"],
                   cwd=tmp_path, env=environment, umask=0o077, check=True)
    made = {str(path.relative_to(tmp_path / "made")): path.read_bytes()
            for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert made.keys() == content.keys()
    assert [path for path, data in content.items() if made[path] != data] == []


# ---- Export ----


def test_export_refuses_to_overwrite(tmp_path, capsys):
    few = manifest.files(VECTORS)
    target = tmp_path / "vectors"
    manifest.export(few, target)
    with pytest.raises(FileError, match="--force"):
        manifest.export(few, target)
    (target / "manifest.json").write_text("old")
    manifest.export(few, target, force=True)
    assert (target / "manifest.json").read_bytes() == few["manifest.json"]
    assert main(["conformance", "export", str(target)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_force_replaces_nothing_but_vectors(tmp_path):
    few = manifest.files(VECTORS)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "file").touch()
    for name in ("precious", "link", "file"):
        with pytest.raises(FileError, match="found something else"):
            manifest.export(few, tmp_path / name, force=True)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_export_leaves_nothing_half_written(tmp_path, monkeypatch, error, exists):
    few = manifest.files(VECTORS)
    target = tmp_path / "vectors"
    if exists:
        manifest.export({**few, "manifest.json": b"old"}, target)
    written = []

    def write_bytes(self, data, original=Path.write_bytes):
        if written:
            raise error
        written.append(self)
        return original(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else FileError):
            manifest.export(few, target, force=True)
    assert [path.name for path in tmp_path.iterdir()] == (["vectors"] if exists else [])
    if exists:
        assert (target / "manifest.json").read_bytes() == b"old"


def test_export_wants_something_to_write(tmp_path, capsys):
    assert main(["conformance", "export"]) == 2
    assert main(["conformance", "export", str(tmp_path / "a" / "b")]) == 1
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(ValueError, match=".tar.xz"):
        manifest.archive({}, tmp_path / "x.zip")


# ---- Reading ----


def changed(folder: Path, target: Path, change) -> Path:
    """A copy of the vectors whose manifest was changed."""
    shutil.copytree(folder, target)
    document = json.loads((target / "manifest.json").read_bytes())
    change(document)
    (target / "manifest.json").write_text(json.dumps(document))
    return target


def set_in(*path, value):
    def change(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value
    return change


@pytest.mark.parametrize("change, message", [
    (set_in("version", value=1), "expected vectors of version 3, found 1"),
    (set_in("version", value=99), "expected vectors of version"),
    (set_in("protocol", value=2), "expected protocol 1"),
    (set_in("format", value="zip"), r"\$.format: expected one of"),
    (set_in("extra", value=1), "expected no 'extra'"),
    (set_in("files", 0, "sha256", value="0" * 64), "SHA-256"),
    (set_in("files", 0, "bytes", value=5), "expected 5 bytes"),
    (set_in("files", 0, "path", value="../../etc/passwd.bin"), "expected text like"),
    (set_in("files", 0, "path", value="/etc/passwd.bin"), "expected text like"),
    (set_in("files", value=[]), "not among the files"),
    (set_in("cases", 0, "inputs", 0, "offset", value=10**9), "does not lie in"),
    (set_in("cases", 0, "inputs", 0, "offset", value=-1), "at least 0"),
    (set_in("cases", 0, "inputs", 0, "shape", value=[]), "does not lie in"),
    (set_in("cases", 0, "inputs", 0, "shape", value=[1 << 40, 1 << 40]), "does not lie in"),
    (set_in("cases", 0, "inputs", 0, "dtype", value="float64"), "expected one of"),
    (set_in("cases", 0, "name", value="f32/silu_exact/x"), "expected a name of tier"),
    (set_in("cases", 0, "name", value="int8/silu_exact/rows_3"), "twice"),
    (set_in("cases", 0, "model", value="none"), "expected a model"),
    (set_in("cases", 0, "expected", 0, "bound", "limit", value=True), "expected number"),
    (set_in("cases", 0, "expected", 0, "bound", "reason", value=""), "expected text like"),
])
def test_a_manifest_that_is_not_right_is_refused(few, tmp_path, change, message):
    with pytest.raises((manifest.ManifestError, schema.SchemaError), match=message):
        manifest.read(changed(few, tmp_path / "vectors", change))


def test_a_changed_or_missing_file_is_noticed(few, tmp_path):
    target = changed(few, tmp_path / "vectors", lambda document: None)
    data = bytearray((target / "int8" / "silu_exact.bin").read_bytes())
    data[3] ^= 1
    (target / "int8" / "silu_exact.bin").write_bytes(data)
    with pytest.raises(manifest.ManifestError, match="SHA-256"):
        manifest.read(target)
    (target / "int8" / "silu_exact.bin").unlink()
    with pytest.raises(FileError, match="silu_exact.bin"):
        manifest.read(target)
    (target / "manifest.json").write_text("{")
    with pytest.raises(manifest.ManifestError, match="not JSON"):
        manifest.read(target)


def test_the_schema_is_not_read_past():
    with pytest.raises(schema.SchemaError, match="not known"):
        schema.check(1, {"maximum": 3})
    json.loads(manifest.schema_text())


# ---- Judge ----


def floats(*values) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("found, expected, bound, good", [
    (floats(1, 2), floats(1, 2), Bound(EXACT), True),
    (floats(-0.0), floats(0.0), Bound(EXACT), False),
    (floats(np.nextafter(np.float32(1), np.float32(2))), floats(1), Bound(EXACT), False),
    (floats(np.nextafter(np.float32(1), np.float32(2))), floats(1), Bound(ULP, 1.0), True),
    (floats(1 + 2**-22), floats(1), Bound(ULP, 1.0), False),
    (floats(1000, 1e-4), floats(1000, 0), Bound(ULP, 1.0), True),
    (floats(1000, 1e-3), floats(1000, 0), Bound(ULP, 1.0), False),
    (floats(1, np.nan), floats(1, 2), Bound(ULP, 1e30), False),
    (floats(1, np.inf), floats(1, 2), Bound(ULP, 1e30), False),
    (floats(1, -np.inf), floats(1, -np.inf), Bound(ULP, 1.0), True),
    (floats(1, np.inf), floats(1, -np.inf), Bound(ULP, 1.0), False),
    (floats(0, 1e-45), floats(0, 0), Bound(ULP, 1e9), False),
    (floats(1, 1.01), floats(1, 1), Bound(DB, 40.0), True),
    (floats(1, 1.02), floats(1, 1), Bound(DB, 40.0), False),
    (floats(1, np.nan), floats(1, 1), Bound(DB, 1.0), False),
    (floats(), floats(), Bound(DB, 90.0), True),
    (floats(0, 0), floats(0, 0), Bound(DB, 90.0), True),
    (floats(0, 1e-9), floats(0, 0), Bound(DB, 90.0), False),
    (floats(1, -np.inf), floats(1, -np.inf), Bound(DB, 90.0), True),
    (floats(1, 5), floats(1, -np.inf), Bound(DB, 90.0), False),
    (np.array([3], np.int32), np.array([4], np.int32), Bound(EXACT), False),
    (np.array([[3]], np.int32), np.array([3], np.int32), Bound(EXACT), False),
    (floats(3), np.array([3], np.int32), Bound(EXACT), False),
])
def test_bounds(found, expected, bound, good):
    assert (compare("y", found, expected, bound) is None) == good


def test_each_row_is_judged_by_its_own_size():
    expected = np.array([[1e6, 1], [1, 1]], np.float32)
    found = expected.copy()
    found[1, 0] += 0.01
    difference = compare("y", found, expected, Bound(ULP, 10.0))
    assert difference.index == (1, 0) and difference.ulp == pytest.approx(0.01 * 2**23, rel=1e-3)


@pytest.mark.parametrize("found, message", [
    (b"EE_OK", "expected 'EE_ERR_CONFIG', found 'EE_OK'"),
    (b"\xff\x1b", r"found '\xff\x1b'"),
    (b"", "found ''"),
])
def test_texts_are_shown(found, message):
    expected, found = (np.frombuffer(text, np.int8) for text in (b"EE_ERR_CONFIG", found))
    assert message in compare("status", found, expected, Bound(EXACT)).message
    assert compare("status", expected, expected, Bound(EXACT)) is None
    assert "expected int8" in compare("status", found.astype(np.int32), expected,
                                      Bound(EXACT)).message


def test_names_are_judged():
    expected = {"y": floats(1), "z": floats(2)}
    bounds = dict.fromkeys(expected, Bound(EXACT))
    found = judge({"y": floats(1), "w": floats(2)}, expected, bounds)
    assert sorted(d.tensor for d in found) == ["w", "z"]


def test_every_vector_passes_by_its_own_bytes_and_fails_by_one_bit(vectors):
    for case in vectors.cases:
        assert judge(case.expected, case.expected, case.bounds) == [], case.name
        for name, array in case.expected.items():
            if not array.size or case.bounds[name].kind != EXACT:
                continue
            wrong = array.copy()
            wrong.reshape(-1).view(f"u{wrong.itemsize}")[-1] ^= 1
            assert judge({**case.expected, name: wrong}, case.expected, case.bounds), case.name


# ---- Waivers and reports ----


def result(case: str, status: str, **more) -> Result:
    tier, op, _ = case.split("/")
    return Result(case, tier, op, status, **more)


def test_waivers_that_are_wrong_or_not_needed_are_problems():
    known = ["f32/silu/a", "f32/silu/b", "int8/glu_exact/a"]
    given = [Waiver("f32/silu/*", "x"), Waiver("f32/typo/*", "x"), Waiver("int8/*", "x"),
             Waiver("f32/silu/b", "x", port="other")]
    found = waivers.problems(given, [given[0]], "mine", known, known)
    assert len(found) == 2 and "f32/typo" in found[0] and "int8/*" in found[1]
    # A run of other cases says nothing about a waiver.
    assert len(waivers.problems(given, [], "mine", known[:1], known)) == 2


@pytest.mark.parametrize("text, message", [
    ("{", "Expecting"), ("[]", "expected object"), ('{"version": 2, "waivers": []}', "version"),
    ('{"version": 1, "waivers": [{"cases": "*"}]}', "'reason'"),
    ('{"version": 1, "waivers": [{"cases": "*", "reason": " "}]}', "reason"),
    ('{"version": 1, "waivers": [{"cases": "*", "reason": "x", "status": "pass"}]}', "status"),
    ('{"version": 1, "waivers": [{"cases": "*", "reason": "x", "until": 3}]}', "until"),
])
def test_files_of_waivers(tmp_path, text, message):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(waivers.WaiverError, match=message):
        waivers.read(tmp_path / "w.json")


def sample() -> Run:
    difference = compare("y", floats(1, 3), floats(1, 2), Bound(EXACT))
    return Run(Port("fake \x00<&>", "1", "c"), 1, [
        result("integer/linear_qs8/a", "pass", ulp=0.0, db=math.inf),
        result("int8/glu_exact/b", "fail", message="y: wrong <&> \x1b[0m",
               differences=(difference,)),
        result("f32/silu/c", "waived", message="m", waiver="vendor's exp"),
        result("f32/silu/d", "unsupported", message="no"),
        result("model/exits/e", "died", message="signal SIGSEGV"),
        result("model/exits/f", "timeout", message="t"),
        result("decision/decide/g", "protocol", message="p"),
    ], problems=["waiver 'x': not needed"])


def test_junit_is_well_formed_and_counts():
    root = ElementTree.fromstring(report.junit(sample()))
    suites = {suite.get("name"): suite for suite in root}
    assert suites["int8"].get("failures") == "1" and suites["f32"].get("skipped") == "2"
    assert suites["model"].get("errors") == "2" and suites["decision"].get("errors") == "1"
    assert suites["waivers"].get("failures") == "1"
    for element in suites.values():
        assert int(element.get("tests")) == len(element)
    text = root.find(".//failure").text
    assert "y[1]: expected 2.0" in text and "ULP" in text


def test_json_is_strict_and_whole():
    document = json.loads(report.as_json(sample()), parse_constant=pytest.fail)
    assert [r["status"] for r in document["results"]] == [r.status for r in sample().results]
    assert document["counts"]["died"] == 1 and document["results"][0]["db"] is None
    assert document["results"][1]["differences"][0]["index"] == [1]


def test_table():
    text = report.table(sample())
    assert re.search(r"^model +2 +0 +0 +0 +0 +1 +1 +0$", text, re.MULTILINE)
    assert "y[1]: expected 2.0" in text and "waived: vendor's exp" in text
    assert "unsupported: 1 cases: no" in text and "not needed" in text


def test_what_fails_a_run():
    run = sample()
    run.results, run.problems = run.results[:1] + run.results[2:4], []
    assert not run.failed() and run.failed(complete=True)
    run.problems = ["x"]
    assert run.failed()


# ---- Command ----


def command(few: Path, mode: str, *options: str) -> int:
    exe = " ".join([*FAKE, mode])
    return main(["conformance", "run", "--suite", str(few), "--exe", exe, *options])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])


@pytest.mark.parametrize("format", REPORT_FORMATS)
def test_run(few, format, capsys, tmp_path):
    assert command(few, "good", "--format", format, "--output", str(tmp_path / "r")) == 0
    text = (tmp_path / "r").read_text()
    {"table": lambda: re.search("all +3 +3", text)[0], "json": lambda: json.loads(text),
     "junit": lambda: ElementTree.fromstring(text)}[format]()
    assert capsys.readouterr().out == ""
    assert command(few, "good", "--output", str(tmp_path / "r")) == 1
    assert "exists already" in capsys.readouterr().err


def test_run_fails_and_is_waived(few, capsys, tmp_path):
    assert command(few, "one_bit") == 1
    assert "fail: int8/silu_exact/rows_3" in capsys.readouterr().out
    file = tmp_path / "w.json"

    def write(**waiver):
        file.write_text(json.dumps({"version": 1, "waivers": [{"reason": "known", **waiver}]}))

    write(cases="int8/silu_exact/rows_3")
    assert command(few, "one_bit", "--waivers", str(file)) == 0
    assert "waived: int8/silu_exact/rows_3" in capsys.readouterr().out
    assert command(few, "good", "--waivers", str(file)) == 1, "not needed"
    write(cases="int8/silu_exact/rows_3", status="timeout")
    assert command(few, "one_bit", "--waivers", str(file)) == 1
    write(cases="int8/nothing/*")
    assert command(few, "good", "--waivers", str(file)) == 1


def test_run_selects(few, capsys):
    assert command(few, "dies", "--select", "*rows_1", "--select", "*/rows_4") == 0
    assert command(few, "good", "--select", "*typo*") == 2
    assert command(few, "good", "--tier", "f64") == 2
    assert command(few, "good", "--tier", "f32") == 2
    assert command(few, "good", "--timeout", "0") == 2
    assert command(few, "unsupported") == 0
    assert command(few, "unsupported", "--complete") == 1


def test_list(few, capsys):
    assert main(["conformance", "list", "--suite", str(few)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "int8/silu_exact/rows_1\t-\texact"


def test_boards_and_lines_that_are_not_there(few, capsys, tmp_path):
    base = ["conformance", "run", "--suite", str(few)]
    assert main([*base, "--qemu", "no_such_board", "--kernels", str(ROOT / "kernels")]) == 2
    assert main([*base, "--qemu", "linux_host", "--kernels", str(tmp_path)]) == 1
    assert main([*base, "--serial", str(tmp_path / "tty")]) == 1
    assert main([*base, "--exe", "/nonexistent"]) == 1
    with pytest.raises(SystemExit):
        main(base)


# ---- Documents ----


def test_the_table_of_ops_is_that_of_the_vectors(vectors):
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert op_table(vectors.cases) in page, "run ee-ref conformance list --ops"


def test_the_edges_of_the_document_are_there(vectors):
    page = (ROOT / "docs" / "conformance.md").read_text()
    table = page[page.index("### Edges by name"):page.index("## Ops")]
    names = [case.name for case in vectors.cases]
    found = [name for row in table.splitlines() if row.startswith("| ")
             for name in re.findall("`([^`]+)`", row.split("|")[2])]
    assert len(found) > 40
    for name in found:
        pattern = f"*{re.sub('_N$', '_[0-9]*', name)}*"
        assert fnmatch.filter(names, pattern), name


def test_the_documents_define_all_that_a_port_needs(vectors):
    page = (ROOT / "docs" / "conformance.md").read_text()
    numerics = (ROOT / "docs" / "numerics.md").read_text()
    formulas = page[page.index("### Formulas"):]
    for op in {case.op for case in vectors.cases}:
        stem, mode = stem_and_mode(op)
        where = numerics if mode == "qs8" else formulas
        assert re.search(rf"[`*]{stem}[`*]", where), op
    for model in vectors.models:
        assert f"`{model}`" in page
    for status in runner.STATUSES:
        assert status in page
    for line in lines().values():
        assert all(f"`{output.name}`" in page for output in line.outputs)


# ---- Ports ----


def test_the_c_port_passes(desk, folder, isa, capsys):
    assert main(["conformance", "run", "--suite", str(folder), "--exe", shlex.join([*desk, isa]),
                 "--complete"]) == 0, capsys.readouterr().out
    assert f"port: desk 1 {isa};" in capsys.readouterr().out


def codes(desk, bodies: list[Body]) -> list[int]:
    """What the port answers to cases: the code of an ERROR, 0 for a result."""
    sent = b"".join(Frame(Type.CASE, n, body.encode()).encode() for n, body in enumerate(bodies, 1))
    done = subprocess.run(desk, capture_output=True, timeout=60, input=sent)
    answers = [(answer.type, Body.decode(answer.payload)) for answer in Decoder().feed(done.stdout)]
    return [body.parameters["code"] if type == Type.ERROR else 0 for type, body in answers]


def test_the_c_port_refuses_more_products_than_a_sum_holds(desk):
    ones, one = np.ones((1, (1 << 16) + 1), np.int8), np.ones(1, np.float32)
    assert codes(desk, [Body("linear_qs8", {}, {
        "q": ones, "scale": one, "weight": ones, "weight_scale": one, "bias": one})]) == [3]


def unfit(case) -> Iterator[tuple[str, dict, dict]]:
    """Parameters and inputs that do not fit the line of an op, each in one place, and where."""
    parameters, inputs = dict(case.parameters), dict(case.inputs)
    optional = {a.name for a in lines()[case.op].inputs if a.is_optional}
    for name, array in inputs.items():
        rest = {key: value for key, value in inputs.items() if key != name}
        if name not in optional:
            yield f"no {name}", parameters, rest
        yield f"another dtype of {name}", parameters, {**rest, name: array.astype(np.int16)}
        yield f"an axis more of {name}", parameters, {**rest, name: array[None]}
        if len(inputs) > 1:
            longer = np.concatenate([array, array[..., :1]], axis=-1)
            yield f"longer rows of {name}", parameters, {**rest, name: longer}
        if array.ndim == 2 and "weight" in name:
            yield f"no rows of {name}", parameters, {**rest, name: array[:0]}
    for name, value in parameters.items():
        rest = {key: value for key, value in parameters.items() if key != name}
        yield f"no {name}", rest, inputs
        if name in ("heads", "stride"):
            yield f"{name} 0", {**rest, name: 0}, inputs
            yield f"{name} -1", {**rest, name: -1}, inputs
    if "heads" in parameters:
        yield "heads that do not divide", {**parameters, "heads": 7}, inputs
    for name in ("weight", "depthwise_weight", "conv.depthwise.weight"):
        if ("K", "odd") in lines()[case.op].rules and name in inputs:
            yield "even taps", parameters, {**inputs, name: inputs[name][:-1]}


@pytest.mark.parametrize("op", sorted(lines()))
def test_the_c_port_refuses_what_does_not_fit_the_line(op, desk, vectors):
    case = next(case for case in vectors.cases
                if case.op == op and all(array.size > 1 for array in case.inputs.values()))
    wrong = list(unfit(case))
    found = codes(desk, [Body(op, parameters, inputs) for _, parameters, inputs in wrong]
                  + [Body(op, case.parameters, case.inputs)])
    assert dict(zip([what for what, *_ in wrong], found)) == {what: 3 for what, *_ in wrong}
    assert found[-1] == 0, "nothing is left of what was wrong"


def test_the_c_port_says_what_it_lacks(desk, folder):
    done = subprocess.run([*desk, "avx1024"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "avx1024" in done.stderr
    done = subprocess.run(desk, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, "the host was gone"
