"""Model files: round trip, prefixes, and everything that a reader must refuse."""

import gc
import os
import random
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ee_ref import convert, model_file
from ee_ref.conformance.draw import SMALL, random_features, random_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, EeError, FileError, ModelFileError
from ee_ref.families import tensors as tensor_specs
from ee_ref.families.conformer import Config
from ee_ref.model_file import ALIGNMENT
from weights_io import gguf

from .hostile.model_files import LIES, rebuild, with_new_field
from .support import FULL, GOLDEN

LOGMEL = replace(SMALL, frontend="logmel", n_fft=512, win_length=400, pad=80)
TOKENS = ("@", "<s>", "▁", "a", "É", "\U0001f600", "<0x41>", "", "b", "c", "d")
SPECIAL = frozenset({1})


def tensors_of(config, seed=1):
    state = random_state_dict(config, seed)
    settings = ("heads", "pad", "chunk", "left", "conv", "positions")
    extras = {name: getattr(config, name) for name in settings}
    found, tensors = convert.convert_state_dict(state, extras=extras)
    assert found == config
    return tensors


@pytest.fixture(scope="module")
def tensors():
    return tensors_of(SMALL)


@pytest.fixture(scope="module")
def data(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.gguf"
    model_file.write(path, SMALL, TOKENS, SPECIAL, tensors, name="small")
    return path.read_bytes()


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file and return its path."""
    def put(content):
        path = tmp_path / "changed.gguf"
        path.write_bytes(content)
        return path
    return put


def assert_same(found, config, tensors):
    assert found.config == config
    assert list(found.tensors) == [spec.name for spec in tensor_specs(config)]
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, tensors[name], strict=True)


@pytest.mark.parametrize("config", [SMALL, LOGMEL], ids=["mel", "logmel"])
def test_read_back(config, tmp_path):
    tensors = tensors_of(config)
    path = tmp_path / "m.gguf"
    model_file.write(path, config, TOKENS, SPECIAL, tensors, name="small")
    found = model_file.read(path)
    assert_same(found, config, tensors)
    assert found.tokens == TOKENS and found.special == SPECIAL
    assert found.size == path.stat().st_size == found.exit_sizes[-1]
    assert found.metadata["general.name"] == "small"
    assert found.path == str(path)
    assert os.listdir(tmp_path) == ["m.gguf"]


@pytest.mark.parametrize("version, dtype, size", [(1, "f32", 20416), (2, "qs8", 20800)])
def test_older_versions_give_what_they_gave(version, dtype, size, tmp_path):
    """Files as the last program that wrote this version made them, and frozen log-probabilities."""
    path = GOLDEN / f"version_{version}.gguf"
    found = model_file.read(path)
    assert found.config == Config(
        exits=2, layers_per_exit=(1, 2), dim=6, heads=2, ff=7, kernel=3, vocab=5, max_frames=9,
        mels=5, frontend="logmel", n_fft=512, win_length=400, pad=160, log_floor=1e-5, blank=1,
        norm_eps=1e-6, dtype=dtype)
    assert found.metadata["ee.format_version"] == version and found.size == size
    assert found.tokens == ("\u2581a", "<blank>", "b", "\u2581", "<s>") and found.special == {1, 4}
    assert model_file.operating_points(found) == {"fast": {"policy": {"kind": "fixed", "n": 1}}}
    with np.load(GOLDEN / "versions.npz") as golden:
        expected = golden[f"{version}/log_probs"]
    encoder = ReferenceEncoder(found.config, found.tensors)
    log_probs = np.stack([out.log_probs for out in encoder.exits(random_features(31, 3, 5))])
    np.testing.assert_allclose(log_probs, expected, rtol=0, atol=0 if version == 2 else 2e-6)

    written = tmp_path / "newest.gguf"
    model_file.store_operating_points(found, written, {})
    newest = model_file.read(written)
    assert newest.metadata["ee.format_version"] == 3 and newest.config == found.config
    assert_same(newest, found.config, found.tensors)


def test_a_model_of_a_limited_view_comes_back(tmp_path):
    config = replace(SMALL, chunk=4, left=8, conv="chunk", positions="none", max_frames=0)
    tensors = tensors_of(config)
    assert not any("positions" in name for name in tensors)
    model_file.write(tmp_path / "m.gguf", config, TOKENS, SPECIAL, tensors)
    assert_same(model_file.read(tmp_path / "m.gguf"), config, tensors)


def test_arrays_are_read_only_views_that_outlive_everything(put, data, tensors):
    path = put(data)
    found = model_file.read(path)
    weight = found.tensors["head.1.weight"]
    path.unlink()
    del found
    gc.collect()
    np.testing.assert_array_equal(weight, tensors["head.1.weight"])
    assert not weight.flags.writeable and not weight.flags.owndata
    with pytest.raises(ValueError):
        weight[0, 0] = 1
    with pytest.raises(ValueError):
        weight.flags.writeable = True


def test_rows_are_padded_and_tensors_aligned(data):
    header = gguf.parse(data, ALIGNMENT)
    padded = {info.name: info.shape for info in header.tensors}
    assert padded["stem.conv1.weight"] == (20, 40)  # 3 * 13 columns
    assert padded["head.1.bias"] == (12,)
    assert all(info.offset % 64 == 0 and info.shape[-1] % 4 == 0 for info in header.tensors)
    assert header.data_start % 64 == 0 and len(data) % 64 == 0


def test_same_input_gives_same_bytes(tmp_path, data, tensors):
    shuffled = {name: np.asfortranarray(tensors[name]) for name in reversed(tensors)}
    model_file.write(tmp_path / "m.gguf", SMALL, list(TOKENS), {1}, shuffled, name="small")
    assert (tmp_path / "m.gguf").read_bytes() == data


def test_public_package_reads_it(put, data, tensors):
    public = pytest.importorskip("gguf")
    reader = public.GGUFReader(put(data))
    assert reader.get_field("general.architecture").contents() == "ee-conformer"
    assert reader.get_field("ee.layers_per_exit").contents() == [1, 2, 1]
    assert reader.get_field("tokenizer.ggml.tokens").contents() == list(TOKENS)
    assert [tensor.name for tensor in reader.tensors] == [
        spec.name for spec in tensor_specs(SMALL)]
    for tensor in reader.tensors:
        expected = tensors[tensor.name]
        np.testing.assert_array_equal(tensor.data[..., : expected.shape[-1]], expected)


def test_reads_what_the_public_package_writes(tmp_path, put, data):
    """A file of other key order, made by another writer, is a model file if it keeps the rules."""
    public = pytest.importorskip("gguf")
    ours = model_file.read(put(data))
    header = gguf.parse(data, ALIGNMENT)

    def written(crc):
        path = tmp_path / "public.gguf"
        writer = public.GGUFWriter(path, "ee-conformer")
        writer.add_custom_alignment(64)
        writer.add_name("small")
        for key, field in reversed(header.fields.items()):
            if key.startswith("general."):
                continue
            value = crc if key == "ee.header_crc32" else field.value
            sub_type = field.item_type and public.GGUFValueType(field.item_type)
            writer.add_key_value(key, value, public.GGUFValueType(field.type), sub_type)
        for info in header.tensors:
            first = header.data_start + info.offset
            stored = np.frombuffer(data[first : first + info.nbytes], "<f4").reshape(info.shape)
            writer.add_tensor(info.name, stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    content = written(0).read_bytes()
    path = written(zlib.crc32(content[: gguf.parse(content, ALIGNMENT).data_start]))
    assert_same(model_file.read(path), SMALL, ours.tensors)


def test_prefixes_are_shallower_models(put, data, tensors):
    sizes = model_file.read(put(data)).exit_sizes
    assert len(sizes) == 3 and sizes[-1] == len(data)
    for exits, size in enumerate(sizes[:-1], start=1):
        path = put(data[:size])
        with pytest.warns(UserWarning, match=f"after exit {exits} of 3"):
            found = model_file.read(path)
        shallow = SMALL.first_exits(exits)
        assert_same(found, shallow, tensors)
        assert found.exit_sizes == sizes[:exits] and found.size == size
        assert set(found.checksums) == set(found.tensors)


def test_every_other_length_is_refused(put, data):
    sizes = model_file.read(put(data)).exit_sizes
    around = {size + step for size in sizes for step in (-64, -1, 1, 64)}
    lengths = around | set(range(0, len(data), 997)) | set(range(300)) | {len(data) + 100}
    for length in lengths - set(sizes):
        with pytest.raises(ModelFileError, match="expected"):
            model_file.read(put((data + bytes(200))[:length]))


def test_every_flipped_byte_is_noticed(put, data):
    draw = random.Random(5)
    start = gguf.parse(data, ALIGNMENT).data_start
    positions = draw.sample(range(start), 400) + draw.sample(range(start, len(data)), 200)
    for position in positions:
        changed = bytearray(data)
        changed[position] ^= draw.randrange(1, 256)
        with pytest.raises(ModelFileError):
            model_file.read(put(changed))


@pytest.mark.parametrize("name", LIES)
def test_lying_header_is_refused(name, put, data):
    change, message = LIES[name]
    with pytest.raises(ModelFileError, match=message) as caught:
        model_file.read(put(rebuild(data, change)))
    assert "changed.gguf" in str(caught.value)


def test_padding_must_be_zero(put, data):
    header = gguf.parse(data, ALIGNMENT)
    by_name = {info.name: (number, info) for number, info in enumerate(header.tensors)}
    number, info = by_name["stem.conv1.weight"]
    first = header.data_start + info.offset
    changed = bytearray(data)
    changed[first + 39 * 4 : first + 40 * 4] = b"\0\0\0\x80"  # column 40 of 39: minus zero
    sums = list(header.fields["ee.tensor_crc32"].value)
    sums[number] = zlib.crc32(changed[first : first + info.nbytes])

    def change(fields, _tensors):
        fields["ee.tensor_crc32"] = fields["ee.tensor_crc32"]._replace(value=sums)

    with pytest.raises(ModelFileError, match="stem.conv1.weight.*zeros after 39 columns"):
        model_file.read(put(rebuild(bytes(changed), change)))
    changed = bytearray(data)
    _, info = by_name["stem.conv1.bias"]  # 80 bytes
    changed[header.data_start + info.offset + info.nbytes] = 1
    with pytest.raises(ModelFileError, match="expected zeros after tensor"):
        model_file.read(put(changed))


def test_unknown_fields_of_others_are_ignored(put, data, tensors):
    change = with_new_field("general.author", gguf.ValueType.STRING, "someone")
    assert_same(model_file.read(put(rebuild(data, change))), SMALL, tensors)
    change = with_new_field("tokenizer.ggml.add_bos_token", gguf.ValueType.BOOL, True)
    assert_same(model_file.read(put(rebuild(data, change))), SMALL, tensors)


def test_unknown_token_type_is_special(put, data):
    def change(fields, _tensors):
        types = fields["tokenizer.ggml.token_type"]
        fields["tokenizer.ggml.token_type"] = types._replace(value=[1, 3, 2] + [1] * 8)

    assert model_file.read(put(rebuild(data, change))).special == {1, 2}


def test_given_checksum_function_is_used(put, data):
    path, sums = put(data), []

    def crc32(buffer):
        sums.append(zlib.crc32(buffer))
        return sums[-1]

    found = model_file.read(path, crc32)
    assert sums == list(found.checksums.values()) == list(found.metadata["ee.tensor_crc32"])
    with pytest.raises(ModelFileError, match="stem.positions.* is damaged"):
        model_file.read(path, lambda buffer: 0)


def test_unreadable_files(tmp_path, data):
    with pytest.raises(FileError, match="No such file"):
        model_file.read(tmp_path / "missing.gguf")
    with pytest.raises(FileError, match="directory"):
        model_file.read(tmp_path)
    with pytest.raises(FileError):
        model_file.read("a\0b")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ModelFileError, match="empty file"):
        model_file.read(empty)
    locked = tmp_path / "locked.gguf"
    locked.write_bytes(data)
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        with pytest.raises(FileError, match="Permission"):
            model_file.read(locked)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="regular file"):
        model_file.read(tmp_path / "pipe")
    with pytest.raises(FileError, match="regular file"):
        model_file.write(tmp_path / "pipe", SMALL, TOKENS, SPECIAL, {}, overwrite=True)


def test_existing_output_is_kept_unless_overwritten(tmp_path, tensors, data):
    path = tmp_path / "m.gguf"
    path.write_text("mine")
    with pytest.raises(FileError, match="exists"):
        model_file.write(path, SMALL, TOKENS, SPECIAL, tensors)
    assert path.read_text() == "mine"
    model_file.write(path, SMALL, TOKENS, SPECIAL, tensors, name="small", overwrite=True)
    assert path.read_bytes() == data
    with pytest.raises(FileError):
        model_file.write(tmp_path, SMALL, TOKENS, SPECIAL, tensors, overwrite=True)
    with pytest.raises(FileError, match="No such file"):
        model_file.write(tmp_path / "no" / "m.gguf", SMALL, TOKENS, SPECIAL, tensors)


@pytest.mark.parametrize("change, message", [
    ({"head.2.bias": None}, "head.2.bias.*found nothing"),
    ({"head.4.bias": np.zeros(11, np.float32)}, "head.4.bias.*not part"),
    ({"head.2.bias": np.zeros(12, np.float32)}, "head.2.bias.*expected float32"),
    ({"head.2.bias": np.zeros(11)}, "head.2.bias.*found float64"),
    ({"head.2.bias": np.full(11, np.nan, np.float32)}, "head.2.bias.*finite"),
    ({"head.2.bias": np.full(11, -np.inf, np.float32)}, "head.2.bias.*finite"),
])
def test_unfit_tensors_leave_nothing_behind(tmp_path, tensors, change, message):
    changed = {name: value for name, value in {**tensors, **change}.items() if value is not None}
    path = tmp_path / "m.gguf"
    path.write_text("mine")
    with pytest.raises(ModelFileError, match=message):
        model_file.write(path, SMALL, TOKENS, SPECIAL, changed, overwrite=True)
    assert os.listdir(tmp_path) == ["m.gguf"] and path.read_text() == "mine"


@pytest.mark.parametrize("tokens, special, config, error", [
    (TOKENS[1:], (), SMALL, ModelFileError),
    (("\ud800",) * 11, (), SMALL, ModelFileError),
    (("x" * 70000,) * 11, (), SMALL, ModelFileError),
    (TOKENS, (11,), SMALL, ModelFileError),
    (TOKENS, (-1,), SMALL, ModelFileError),
    (TOKENS, (), replace(SMALL, log_floor=1e-60), ModelFileError),
    (TOKENS, (), replace(SMALL, norm_eps=1e300), ModelFileError),
    (TOKENS, (), replace(SMALL, kernel=4), ArgumentError),
])
def test_unfit_metadata_is_refused(tmp_path, tensors, tokens, special, config, error):
    with pytest.raises(error):
        model_file.write(tmp_path / "m.gguf", config, tokens, special, tensors)
    assert os.listdir(tmp_path) == []


TINY = st.builds(
    lambda exits, heads, **sizes: Config(
        exits=len(exits), layers_per_exit=tuple(exits), dim=2 * heads, heads=heads, **sizes),
    exits=st.lists(st.integers(1, 2), min_size=1, max_size=3), heads=st.integers(1, 3),
    ff=st.integers(1, 5), kernel=st.sampled_from([1, 3]), vocab=st.integers(2, 6),
    max_frames=st.integers(1, 5), mels=st.integers(1, 5), blank=st.integers(0, 1),
    pad=st.integers(0, 1600), frontend=st.sampled_from(["mel", "logmel"]),
    log_floor=st.floats(2.0**-100, 1, width=32).map(model_file.nearest_float32),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TINY, st.data())
def test_any_configuration_and_tokens_come_back(tmp_path_factory, config, draw):
    tokens = tuple(draw.draw(st.lists(st.text(max_size=8), min_size=config.vocab,
                                      max_size=config.vocab)))
    special = draw.draw(st.frozensets(st.integers(0, config.vocab - 1)))
    name = draw.draw(st.text(max_size=10))
    tensors = {spec.name: np.full(spec.shape, 0.5, np.float32) for spec in tensor_specs(config)}
    path = tmp_path_factory.mktemp("any") / "m.gguf"
    model_file.write(path, config, tokens, special, tensors, name=name)
    found = model_file.read(path)
    assert_same(found, config, tensors)
    assert (found.tokens, found.special) == (tokens, special)
    assert found.metadata["general.name"] == name


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 9000), st.binary(min_size=1, max_size=12), st.integers(0, 1 << 20),
       st.booleans())
def test_mutations_raise_nothing_else(put, data, position, noise, length, correct):
    """Bytes overwritten, the file cut, and in half of the cases the header's checksum corrected."""
    changed = bytearray(data)
    changed[position : position + len(noise)] = noise
    if correct:
        try:
            changed = rebuild(bytes(changed), lambda fields, tensors: None)
        except Exception:
            return  # no longer a header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model_file.read(put(changed[: max(1, length)]))
        except EeError:
            pass


def test_layout_of_the_published_shape():
    specs = tensor_specs(FULL)
    assert len(specs) == 5 + 12 * 28 + 6 * 2
    assert [spec.exit for spec in specs] == sorted(spec.exit for spec in specs)
    # 31,536,128 as PyTorch counts them, less the folded norms, and the position table.
    count = sum(int(np.prod(spec.shape)) for spec in specs)
    assert count == 31_536_128 - 12 * 2 * 256 + 2000 * 256
