"""Checkpoints: what is read, what is inferred, what is computed, and what is refused."""

import functools
import io
import json
import os
import pickle
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ee_ref import model_file
from ee_ref.cli import main
from ee_ref.conformance.draw import SMALL, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.errors import ArgumentError, CheckpointError, FileError
from ee_ref.families import tensors as tensor_specs
from ee_ref.plan import multiply_accumulates
from weights_io import from_torch, tokenizer
from weights_io.from_torch import read_checkpoint

from .hostile.checkpoints import (
    global_,
    hostile_pickles,
    integer,
    storage,
    tensor,
    text,
    torch_file,
    zip_file,
)
from .hostile.corpus import safetensors_file
from .support import FULL

LAYER = "conformer.1.conformer_layers.0"


@pytest.fixture(scope="module")
def state():
    return random_state_dict(SMALL, 3)


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file and return its path."""
    def put(content, name="checkpoint.pt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path
    return put


def assert_same_state(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


# What the tensors become


def test_convolutions_become_matrices(state):
    _, tensors = convert_state_dict(state, heads=4)
    window = np.arange(3 * 13, dtype=np.float32).reshape(3, 13)  # frames, mels
    weight = state["conv_subsample.sequential.0.weight"]
    expected = np.einsum("ock,kc->o", weight, window)
    np.testing.assert_allclose(tensors["stem.conv1.weight"] @ window.ravel(), expected, rtol=1e-5)
    np.testing.assert_array_equal(
        tensors["group.2.layer.1.conv.in.weight"],
        state[f"{LAYER}.conv_module.sequential.0.weight"][:, :, 0])
    np.testing.assert_array_equal(
        tensors["stem.positions"], state["positional_encoder.pe"][:, 0])


def test_batch_norm_is_folded(state):
    _, tensors = convert_state_dict(state, heads=4)
    norm = {key: state[f"{LAYER}.conv_module.sequential.3.{key}"].astype(np.float64)
            for key in ("weight", "bias", "running_mean", "running_var")}
    conv_weight = state[f"{LAYER}.conv_module.sequential.2.weight"].astype(np.float64)
    conv_bias = state[f"{LAYER}.conv_module.sequential.2.bias"].astype(np.float64)
    window = np.linspace(-2, 3, 5 * 20).reshape(5, 20)  # taps, channels
    y = np.einsum("dk,kd->d", conv_weight[:, 0], window) + conv_bias
    y = (y - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
    y = y * norm["weight"] + norm["bias"]
    weight = tensors["group.2.layer.1.conv.depthwise.weight"]
    bias = tensors["group.2.layer.1.conv.depthwise.bias"]
    np.testing.assert_allclose((weight * window).sum(0) + bias, y, rtol=1e-5, atol=1e-6)


def test_every_tensor_of_the_checkpoint_is_used(state):
    _, before = convert_state_dict(state, heads=4)
    for name, value in state.items():
        _, after = convert_state_dict({**state, name: value + 1}, heads=4)
        changed = [key for key in before if not np.array_equal(before[key], after[key])]
        if name.endswith("num_batches_tracked"):
            assert changed == []
        elif ".sequential.3." in name:  # batch norm: weight and variance scale the convolution
            assert changed and all(".conv.depthwise." in key for key in changed)
        elif name.endswith("conv_module.sequential.2.bias"):
            assert changed == [key for key in changed if key.endswith("conv.depthwise.bias")] != []
        else:
            assert len(changed) == 1


# What is inferred


@pytest.mark.parametrize("config", [
    SMALL,
    replace(SMALL, exits=1, layers_per_exit=(3,), kernel=1),
    replace(SMALL, frontend="logmel", n_fft=512, win_length=400),
], ids=["small", "one exit", "logmel"])
def test_sizes_come_from_the_shapes(config):
    found, tensors = convert_state_dict(random_state_dict(config, 1), heads=config.heads)
    assert found == config
    assert {name: value.shape for name, value in tensors.items()} == {
        spec.name: spec.shape for spec in tensor_specs(config)}
    assert all(value.dtype == np.float32 for value in tensors.values())


def test_published_shape():
    small = random_state_dict(replace(FULL, dim=16, ff=24, max_frames=20), 1)
    sizes = {16: 256, 24: 2048, 48: 768, 32: 512, 20: 2000}
    state = {name: np.broadcast_to(np.float32(0.5), [sizes.get(n, n) for n in value.shape])
             for name, value in small.items()}
    config, tensors = convert_state_dict(state)
    assert config == FULL
    learned = [value.size for name, value in state.items()
               if not name.endswith(("running_mean", "running_var", "num_batches_tracked", ".pe"))]
    assert sum(learned) == 31_536_128
    assert sum(value.size for value in tensors.values()) == 31_536_128 - 6_144 + 512_000


def test_settings_come_from_argument_then_checkpoint_then_default(state):
    extras = {"heads": 5, "pad": 160, "n_fft": 256, "win_length": 200, "log_floor": 1e-5,
              "frontend": "mel", "blank": 3, "sample_rate": 8000, "hop_length": 80,
              "epoch": 7, "tokens": ["x"]}
    config, _ = convert_state_dict(state, extras=extras)
    assert config == replace(SMALL, heads=5, pad=160, n_fft=256, win_length=200, log_floor=1e-5,
                             blank=3, sample_rate=8000, hop_length=80)
    config, _ = convert_state_dict(state, heads=2, extras=extras)
    assert config.heads == 2
    config, tensors = convert_state_dict(state, heads=4, frontend="logmel")
    assert (config.frontend, config.n_fft) == ("logmel", 512)
    np.testing.assert_array_equal(tensors["frontend.mean"], np.zeros(13))
    np.testing.assert_array_equal(tensors["frontend.scale"], np.ones(13))


@pytest.mark.parametrize("extras", [
    {"heads": "4"}, {"heads": True}, {"heads": 3}, {"heads": 0}, {"pad": -1}, {"pad": 1.5},
    {"log_floor": "x"}, {"log_floor": float("nan")}, {"frontend": "mfcc"}, {"frontend": ["mel"]},
    {"blank": 11}, {"n_fft": 1 << 40}, {"log_floor": 1e-99}, {"norm_eps": 10**400},
    {"heads": [[4]]}, {"heads": functools.reduce(lambda inner, _: (inner, inner), range(100))},
])
def test_impossible_settings_are_named(state, extras):
    (name,) = extras
    with pytest.raises(CheckpointError, match=name):
        convert_state_dict(state, extras={"heads": 4, **extras})


def test_arguments_are_checked(state):
    with pytest.raises(ArgumentError, match="heads"):
        convert_state_dict(state, heads=0)
    with pytest.raises(ArgumentError, match="frontend"):
        convert_state_dict(state, frontend="mfcc")
    with pytest.raises(CheckpointError, match="heads.*divisor of dim 20"):
        convert_state_dict(state)  # 8 heads


# What is refused in a state dict


def without(*names):
    return lambda state: {name: value for name, value in state.items() if name not in names}


def having(**changes):
    return lambda state: {**state, **{name.replace("__", "."): value
                                      for name, value in changes.items()}}


def renamed(old, new):
    return lambda state: {name.replace(old, new): value for name, value in state.items()}


@pytest.mark.parametrize("change, messages", [
    (without("linears.1.bias", f"{LAYER}.ffn1.sequential.0.weight"),
     ["2 missing: linears.1.bias, conformer.1"]),
    (having(linears__0__scale=np.zeros(3, np.float32)), ["1 unexpected: linears.0.scale"]),
    (having(decoder__weight=np.zeros(3, np.float32)), ["1 unexpected: decoder.weight"]),
    (having(linears__2__bias=np.zeros(12, np.float32)),
     ["1 of another shape: linears.2.bias", "expected (11,), found (12,)"]),
    (having(linears__2__bias=np.zeros(11, np.int64)), ["not floating-point: linears.2.bias"]),
    (having(linears__2__bias=np.full(11, np.nan, np.float32)), ["'linears.2.bias'", "finite"]),
    (having(linears__2__bias=np.full(11, 1e39)), ["head.3.bias", "too large"]),
    (having(frontend__mean=np.zeros(13, np.float32)), ["1 missing: frontend.scale"]),
    (renamed("linears.1", "linears.7"), ["linears.N numbered 0, 1, 2", "0, 2, 7"]),
    (renamed("linears.2", "linears.x"), ["2 heads and 3 groups"]),
    (renamed("conformer.1.", "conformer.3."), ["conformer.N numbered"]),
    (renamed("conformer.1.conformer_layers.0", "conformer.1.conformer_layers.4"),
     ["layers conformer.1.conformer_layers.N numbered", "found 1, 4"]),
    (renamed("linears.", "lm_head."), ["exit heads linears.N", "found none", "conformer.0"]),
    (without("positional_encoder.pe"), ["positional_encoder.pe", "no such tensor"]),
    (having(positional_encoder__pe=np.zeros((40, 20), np.float32)), ["3 dimensions"]),
    (having(positional_encoder__pe=np.zeros((40, 2, 20), np.float32)),
     ["of another shape: positional_encoder.pe (expected (40, 1, 20)"]),
    (lambda state: {}, ["found none"]),
    (lambda state: {name: value for name, value in state.items() if ".ffn2." not in name},
     ["24 missing", "... (24 in all)"]),
    (lambda state: {**state, f"{LAYER}.conv_module.sequential.3.running_var":
                    np.full(20, -1, np.float32)}, ["running_var", "negative"]),
    (lambda state: {name: value for name, value in state.items() if "running_" not in name},
     ["8 missing", "sequential.3.running_mean"]),
])
def test_misfits_are_named(state, change, messages):
    with pytest.raises(CheckpointError) as caught:
        convert_state_dict(change(state), heads=4)
    for message in messages:
        assert message in str(caught.value)


# Reading torch.save files


def test_torch_file(put, state):
    found = read_checkpoint(put(torch_file(state)))
    assert_same_state(found.state, state)
    assert found.extras == {}
    assert not any(value.flags.writeable for value in found.state.values())


@pytest.mark.parametrize("key", from_torch.STATE_KEYS)
def test_state_under_a_key_with_extras_and_wrapper(put, state, key):
    wrapped = {f"module.{name}": value for name, value in state.items()}
    content = {"epoch": 3, key: wrapped, "tokens": ["a", "▁"], "heads": 4, "log_floor": 1e-6,
               "done": True, "betas": (0.9, 0.98), "none": None,
               "optimizer": {"state": {0: {"step": np.zeros(1, np.float32)}}}}
    found = read_checkpoint(put(torch_file(content)))
    assert_same_state(found.state, state)
    assert found.extras["tokens"] == ["a", "▁"] and found.extras["betas"] == (0.9, 0.98)
    assert found.extras["log_floor"] == 1e-6 and key not in found.extras


def wrapped(state, prefix="module."):
    return {prefix + name: value for name, value in state.items()}


MOMENTS = {"state": {0: {"exp_avg": np.zeros(2, np.float32)}}, "ema": {"exp.avg": 3}}


@pytest.mark.parametrize("lay", [
    lambda state: {"model": state, "rng_state": np.zeros(3, np.int64)},
    lambda state: {"rng": np.zeros(3, np.int64), "module": {"net": state, "step": np.ones(1)}},
    lambda state: {"epoch": 1, "model": {"heads": 4, "state_dict": state}, "optimizer": MOMENTS},
    lambda state: {"conformer": state, "rng_state": np.zeros(3, np.int64), "optimizer": MOMENTS},
    lambda state: {"trainer": {"students": {"0": state}}, "heads": 4},
    lambda state: {**state, "n_averaged": np.array(3)},
], ids=["beside a tensor", "nested beside tensors", "nested", "another key", "deep", "averaged"])
def test_where_the_state_dict_is(put, state, lay):
    found = read_checkpoint(put(torch_file(lay(state))))
    assert_same_state({name: found.state[name] for name in state}, state)
    convert_state_dict(found.state, heads=4)
    if "heads" in str(lay(state)):
        assert found.extras["heads"] == 4


def test_of_several_state_dicts_one_is_chosen(put, state, tmp_path, capsys):
    averaged = {name: np.asarray(2 * value) for name, value in state.items()}
    path = put(torch_file({"ema": {"module": averaged, "decay": 0.9}, "model": state,
                           "tokens": []}))
    with pytest.raises(CheckpointError, match=r"several: ema\.module \(\d+ entries\), model "
                                              r"\(\d+ entries\); choose one with --state"):
        read_checkpoint(path)
    assert_same_state(read_checkpoint(path, "model").state, state)
    found = read_checkpoint(path, "ema.module")
    assert_same_state(found.state, averaged)
    assert found.extras["decay"] == 0.9 and found.extras["tokens"] == []
    with pytest.raises(CheckpointError, match=r"'ema': expected one of: ema\.module"):
        read_checkpoint(path, "ema")
    other = put(torch_file({"a": wrapped(state), "b": state}), "other.pt")
    with pytest.raises(CheckpointError, match="several: a .*, b "):
        read_checkpoint(other)
    options = ["convert", str(path), "--heads", "4", "-o", str(tmp_path / "m.gguf")]
    assert main(options) == 1 and "ema.module" in capsys.readouterr().err
    assert main([*options, "--state", "model"]) == 1  # it has no tokens: read, and then refused
    assert "labels from the checkpoint" in capsys.readouterr().err


def test_one_state_dict_under_two_keys_is_one(state):
    found = from_torch._split({"model": state, "state_dict": state, "heads": 4}, None)
    assert_same_state(found.state, state)
    assert found.extras["heads"] == 4


def test_a_file_of_one_state_dict_has_no_parts_to_choose(put, state):
    with pytest.raises(CheckpointError, match="'model': expected one of: the file itself"):
        read_checkpoint(put(torch_file(state)), "model")
    path = put(safetensors_file(state, {}), "checkpoint.safetensors")
    with pytest.raises(CheckpointError, match="found safetensors"):
        read_checkpoint(path, "model")


@pytest.mark.parametrize("rename", [
    lambda name: f"module.{name}", lambda name: f"_orig_mod.module.{name}",
    lambda name: f"module._orig_mod.{name}", lambda name: f"model._forward_module.{name}",
    lambda name: "_fsdp_wrapped_module._checkpoint_wrapped_module." + name,
    lambda name: name.replace(".conformer_layers.", "._orig_mod.conformer_layers._fpw_module."),
    lambda name: name.replace("linears.1.", "linears.1._orig_mod."),
])
def test_wrappers_nest_in_any_order_and_anywhere(put, state, rename):
    renamed = {rename(name): value for name, value in state.items()}
    assert_same_state(read_checkpoint(put(torch_file(renamed))).state, state)
    assert_same_state(read_checkpoint(put(safetensors_file(renamed, {}))).state, state)


def test_names_that_become_one_are_refused(put, state):
    name = next(iter(state))
    with pytest.raises(CheckpointError, match=f"found '{name}' and 'module.{name}'"):
        read_checkpoint(put(torch_file({**state, f"module.{name}": state[name]})))


def test_dictionaries_that_share_parts_are_each_looked_at_once(put):
    """Each holds the next a hundred times: a search that went every way would not end."""
    inner = {"a.b": 1.0}
    for _ in range(from_torch.MAX_DEPTH):
        inner = {f"{number}": inner for number in range(100)}
    with pytest.raises(CheckpointError, match="expected tensors, or a state dict under"):
        from_torch._split(inner, None)


def test_other_dtypes(put):
    state = {"half": np.array([1.5, -2], np.float16), "double": np.array([[1e-300]]),
             "long": np.array(7)}
    assert_same_state(read_checkpoint(put(torch_file(state))).state, state)


def test_files_of_pytorch(tmp_path, state):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    shared = torch.arange(12.0).reshape(3, 4)
    content = {
        "model": {**tensors, "t": shared.t(), "column": shared[:, 1], "row": shared[1:2],
                  "bf16": torch.tensor([1.5, -3e38], dtype=torch.bfloat16),
                  "half": torch.tensor([0.1], dtype=torch.float16), "empty": torch.zeros(0, 3),
                  "parameter": torch.nn.Parameter(shared), "scalar": torch.tensor(2.5),
                  "flag": torch.tensor([True])},
        "size": torch.Size([2]), "tokens": ["a"],
    }
    for protocol in (2, 4, 5):
        path = tmp_path / f"{protocol}.pt"
        torch.save(content, path, pickle_protocol=protocol)
        found = read_checkpoint(path)
        assert found.extras == {"size": (2,), "tokens": ["a"]}
        for name, value in content["model"].items():
            value = value.detach()
            value = value.float() if value.dtype == torch.bfloat16 else value
            np.testing.assert_array_equal(found.state[name], value.numpy(), strict=True)
    module = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Linear(2, 3)))
    torch.save(module.state_dict(), tmp_path / "module.pt")
    assert set(read_checkpoint(tmp_path / "module.pt").state) == {"0.weight", "0.bias"}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_old_and_foreign_files_say_what_to_do(tmp_path, put):
    torch = pytest.importorskip("torch")
    path = tmp_path / "old.pt"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="bare pickle; re-save it"):
        read_checkpoint(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize("content, message", [
    (b"", "empty file"),
    (pickle.dumps({"a": 1}, 0), "re-save"),
    (pickle.dumps({"a": 1}, 2), "bare pickle; re-save"),
    (b"GGUF\3\0\0\0", "model file"),
    (b"PK\3\4" + bytes(60), "damaged zip"),
    (b"hello", "begins with b'hello'"),
    (zip_file(b"\x80\x02}."), "expected tensors, or a state dict under model"),
    (zip_file(b"\x80\x02]."), "expected a state dict, found a list"),
    (torch_file({"model": {"a": 1.5}}), "found a float as 'a'"),
    (torch_file({"weights": {}}), "found weights"),
    (torch_file({"a": np.zeros(1), "epoch": 3}), "found a int as 'epoch'"),
])
def test_other_content_is_refused(put, content, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(put(content))
    assert "checkpoint.pt" in str(caught.value)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_checkpoint(tmp_path / "missing.pt")
    with pytest.raises(FileError, match="directory"):
        read_checkpoint(tmp_path)


# Hostile checkpoints


@pytest.mark.parametrize("name", hostile_pickles(""))
def test_hostile_pickle_runs_nothing(put, tmp_path, name):
    trace = tmp_path / "trace"
    content, refused = hostile_pickles(f"touch {trace}")[name]
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(put(zip_file(content)))
    assert refused in str(caught.value)
    assert not trace.exists()


FOUR = {"0": np.arange(4, dtype=np.float32).tobytes()}


DOUBLED = b")" + b"q\0h\0\x86" * 100


def of(value: bytes, storages=FOUR, **options) -> bytes:
    """A checkpoint whose only tensor is what `value` pushes."""
    return zip_file(b"\x80\x02}X\x01\0\0\0a" + value + b"s.", storages, **options)


@pytest.mark.parametrize("content, message", [
    (of(tensor("0", (5,), count=4)), "does not fit"),
    (of(tensor("0", (4,), count=4, offset=1)), "does not fit"),
    (of(tensor("0", (2,), count=4, strides=(4,))), "does not fit"),
    (of(tensor("0", (1 << 40,), count=4, strides=(0,))), "does not fit"),
    (of(tensor("0", (1 << 40, 1 << 40), count=4, strides=(0, 0))), "does not fit"),
    (of(tensor("0", (0, 1 << 61), count=4)), "damaged"),
    (of(tensor("0", (-1,), count=4)), "not proper sizes"),
    (of(tensor("0", (2,), count=4, strides=(-1,))), "not proper sizes"),
    (of(tensor("0", (2,), count=4, strides=(1, 1))), "not proper sizes"),
    (of(tensor("0", (1,) * 9, count=4)), "not proper sizes"),
    (of(tensor("0", (1 << 80,), count=4)), "not proper sizes"),
    (of(tensor("0", (1,), count=4, offset=-1)), "offset"),
    (of(tensor("0", (1,), count=3)), "expected 3 numbers, found 4"),
    (of(tensor("0", (1,), count=1 << 62)), "found 4"),
    (of(tensor("0", (1,), count=4, kind="DoubleStorage")), "expected 4 numbers, found 2"),
    (of(tensor("0", (1,), count=4, kind="ComplexFloatStorage")), "torch.ComplexFloatStorage"),
    (of(tensor("1", (1,), count=4)), "data/1, found none"),
    (of(tensor("../data.pkl", (1,), count=4)), "found none"),
    (of(tensor("0", (1,), count=4), {"0": bytes(15)}), "multiple of 4 bytes, found 15"),
    (of(tensor("0", (4,), count=4), byteorder=b"big"), "byte order little, found b'big'"),
    (of(tensor("0", (4,), count=4), compression=zipfile.ZIP_DEFLATED), "compressed"),
    (of(tensor("0", (4,), count=4), extra={"constants.pkl": b"x"}), "TorchScript"),
    (of(tensor("0", (4,), count=4), extra={"b/data.pkl": b"x"}), "found 2"),
    (of(storage("0", 4) + b"Q"), "storage"),
    (zip_file(bytes(5 << 20)), "at most"),
    (zip_file(b"\x80\x02"), "damaged pickle"),
    (zip_file(b"\x80\x02."), "damaged pickle"),
    (zip_file(b"\x80\x02(."), "state dict"),
    (zip_file(b"\x80\x02}R."), "damaged pickle"),
    (zip_file(b"\x80\x02(tu."), "damaged pickle"),
    (zip_file(b"\x80\x02Ka)R."), "no function"),
    (zip_file(b"\x80\x02})Nsa."), "keys"),
    (zip_file(b"\x80\x02r\xff\xff\xff\xff."), "damaged pickle"),
    (zip_file(b"\x80\x02j\xff\xff\xff\xff."), "damaged pickle"),
    (zip_file(b"\x80\x02\x8e" + struct.pack("<Q", 1 << 62)), "damaged pickle"),
    (zip_file(b"\x80\x02B\xff\xff\xff\xff"), "damaged pickle"),
    (zip_file(b"\x80\x02\x8b\xff\xff\xff\x7f"), "damaged pickle"),
    (zip_file(b"(" * 100000 + b"t" * 100000 + b"."), "found a tuple"),
    (of(b"0" * 20), "POP"),
    (of(b"](" + tensor("0", (1 << 16,), count=1 << 16) * 12 + b"e", {"0": bytes(4 << 16)}),
     "more than 8 times"),
    # Tuples that hold the one before twice: each step doubles what hash or repr would visit.
    (zip_file(b"\x80\x02}" + text("model") + b"}" + text("a") + DOUBLED + b"ss."),
     "found a tuple"),
    (of(b"(" + text("storage") + DOUBLED + text("0") + text("cpu") + integer(4) + b"tQ"),
     "expected a reference to a storage"),
    (of(global_("torch._utils", "_rebuild_tensor_v2") + b"(" + storage("0", 4) + integer(0)
        + DOUBLED + b"(K\1tN)tR"), "not proper sizes"),
    (of(DOUBLED + b"Ka"), "damaged"),
    (zip_file(b"\x80\x02}" + DOUBLED + b"Nsa."), "keys"),
    (zip_file(b"\x80\x02" + DOUBLED + DOUBLED + b"\x93."), "refused global"),
    (zip_file(b"\x80\x02" + DOUBLED + DOUBLED + b"R."), "no function"),
])
def test_hostile_structure_is_refused(put, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(put(content))


def test_zip_with_overlapping_entries_is_refused(put):
    """Entries that share bytes claim more than the file has."""
    content = bytearray(of(tensor("0", (4,), count=4), {"0": bytes(1 << 16), "1": bytes(1 << 16)}))
    at = content.find(b"archive/data/0", content.find(b"PK\1\2")) - 46
    other = content.find(b"archive/data/1", at) - 46
    size = struct.pack("<II", 1 << 17, 1 << 17)
    content[at + 20 : at + 28] = content[other + 20 : other + 28] = size
    with pytest.raises(CheckpointError, match="claim"):
        read_checkpoint(put(content))


def test_duplicate_entry_is_refused(put):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data.pkl", b"\x80\x02].")
    with pytest.raises(CheckpointError, match="twice"):
        read_checkpoint(put(out.getvalue()))


def test_flipped_number_is_noticed(put, state):
    content = bytearray(torch_file(state))
    position = content.find(state["linears.0.weight"].tobytes())
    content[position] ^= 1
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(put(content))


SEED = torch_file({"model": {"w": np.zeros((2, 3), np.float32), "n": np.array(1)},
                   "tokens": ["a"], "lr": 0.1, "t": (1, None)})
SEED_PICKLE = zipfile.ZipFile(io.BytesIO(SEED)).read("archive/data.pkl")
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6), st.integers(0, 6)),
                   min_size=1, max_size=4)


def spliced(content, changes):
    for position, noise, drop in changes:
        position %= len(content) + 1
        content = content[:position] + noise + content[position + drop :]
    return content


@pytest.mark.filterwarnings("ignore:invalid escape")
@settings(max_examples=400, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, st.sampled_from(["pickle", "zip"]))
def test_mutated_torch_file_raises_nothing_else(put, changes, where):
    if where == "zip":
        content = spliced(SEED, changes)
    else:
        content = zip_file(spliced(SEED_PICKLE, changes), {"0": bytes(24), "1": bytes(8)})
    try:
        found = read_checkpoint(put(content))
        convert_state_dict(found.state, extras=found.extras)
    except CheckpointError:
        pass


# safetensors


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_safetensors(put, state):
    header, data = {"__metadata__": {"heads": "4", "frontend": "mel", "tokens": '["a"]'}}, b""
    for name, value in state.items():
        dtype = "I64" if value.dtype == np.int64 else "F32"
        header[name] = entry(value.shape, len(data), len(data) + value.nbytes, dtype)
        data += value.tobytes()
    found = read_checkpoint(put(safetensors(header, data)))
    assert_same_state(found.state, state)
    assert found.extras == {"heads": 4, "frontend": "mel", "tokens": ["a"]}


def test_safetensors_of_the_public_package(tmp_path, state):
    numpy = pytest.importorskip("safetensors.numpy")
    state = {f"module.{name}": np.ascontiguousarray(value) for name, value in state.items()}
    state["module.half"] = np.ones(3, np.float16)
    numpy.save_file(state, tmp_path / "m.safetensors")
    found = read_checkpoint(tmp_path / "m.safetensors").state
    assert {f"module.{name}" for name in found} == set(state)
    for name, value in found.items():
        np.testing.assert_array_equal(value, state[f"module.{name}"], strict=True)


def test_bfloat16_in_safetensors(put):
    content = safetensors({"a": entry([2], 0, 4, "BF16")}, b"\xc0\x3f\x00\xc0")
    np.testing.assert_array_equal(read_checkpoint(put(content)).state["a"], [1.5, -2])


@pytest.mark.parametrize("content, message", [
    (safetensors({"a": entry([1], 0, 4)}, length=1 << 62), "at most"),
    (safetensors({"a": entry([1], 0, 4)}, length=1 << 20), "at most"),
    (safetensors(b"{"), "JSON"),
    (safetensors(b'{"a":' * 100000), "JSON"),
    (safetensors(b'{"a":' + b"9" * 5000 + b"}"), "JSON"),
    (safetensors(b'{"a":1}'), "dtype, shape"),
    (safetensors(b'{"a":1,"a":1}'), "twice"),
    (safetensors({"__metadata__": 1}), "__metadata__"),
    (safetensors({"a": entry([2], 0, 4)}, bytes(4)), "expected 8 bytes"),
    (safetensors({"a": entry([1], 0, 4, "F8")}, bytes(4)), "found F8"),
    (safetensors({"a": entry([1], 0, 8, ["F64"])}, bytes(8)), "dtype"),
    (safetensors({"a": entry([1], 4, 8)}, bytes(8)), "data at 0, found 4"),
    (safetensors({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, bytes(4)), "data at 4, found 0"),
    (safetensors({"a": entry([1], 0, 4)}, bytes(8)), "4 bytes of data, found 8"),
    (safetensors({"a": entry([1], 0, 4)}), "two offsets that fit 0"),
    (safetensors({"a": entry([-1], 0, 4)}, bytes(4)), "expected a shape"),
    (safetensors({"a": entry([1 << 62, 4], 0, 4)}, bytes(4)), "expected a shape"),
    (safetensors({"a": entry([True], 0, 4)}, bytes(4)), "expected a shape"),
    (safetensors({"a": entry([1.0], 0, 4)}, bytes(4)), "expected a shape"),
    (safetensors({"a": entry([1], 4, 0)}, bytes(4)), "expected 4 bytes"),
    (safetensors({"a": {"dtype": "F32"}}), "dtype, shape"),
])
def test_lying_safetensors_is_refused(put, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(put(content))


@settings(max_examples=200, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_mutated_safetensors_raises_nothing_else(put, changes):
    seed = safetensors({"__metadata__": {"a": "[1]"}, "a": entry([2], 0, 8),
                        "b": entry([1, 2], 8, 12, "BF16")}, bytes(12))
    content = spliced(seed, changes)
    try:
        found = read_checkpoint(put(content))
        convert_state_dict(found.state, extras=found.extras)
    except CheckpointError:
        pass


# Tokenizers


def piece(text, kind=None):
    data = text.encode()
    body = b"\x0a" + bytes([len(data)]) + data + b"\x15" + struct.pack("<f", -1.5)
    body += b"" if kind is None else bytes([0x18, kind])
    return b"\x0a" + bytes([len(body)]) + body


PIECES = [("@", 4), ("<s>", 3), ("</s>", 3), ("<unk>", 2), ("▁the", None), ("<0x0A>", 6),
          ("É", 1), ("a", 1), ("b", 1), ("c", 1), ("d", 1)]
SENTENCEPIECE = b"".join(piece(*item) for item in PIECES) + b"\x12\x02\x08\x01"


def test_sentencepiece_model(put):
    tokens, special = tokenizer.read_sentencepiece(put(SENTENCEPIECE))
    assert tokens == tuple(text for text, _ in PIECES)
    assert special == {1, 2, 3}


def test_sentencepiece_of_the_public_package(tmp_path):
    public = pytest.importorskip("sentencepiece")
    public.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "a dog ate a log"] * 5),
        model_prefix=str(tmp_path / "m"), model_type="bpe", vocab_size=40, pad_id=38, unk_id=39,
        bos_id=1, eos_id=2, user_defined_symbols=["@"], minloglevel=2)
    tokens, special = tokenizer.read_sentencepiece(tmp_path / "m.model")
    model = public.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    assert list(tokens) == [model.id_to_piece(number) for number in range(40)]
    assert tokens[0] == "@" and special == {1, 2, 38, 39}


@settings(max_examples=200, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_mutated_sentencepiece_raises_nothing_else(put, changes):
    try:
        tokenizer.read_sentencepiece(put(spliced(SENTENCEPIECE, changes)))
    except CheckpointError:
        pass


@pytest.mark.parametrize("content, message", [
    (b"", "no pieces"),
    (b"\x12\x00", "no pieces"),
    (b"\x0a\x05ab", "ends inside a field"),
    (b"\x0a", "ends inside a number"),
    (b"\xff" * 20, "more than ten bytes"),
    (b"\x08\x01", "no message"),
    (b"\x0a\x00", "without text"),
    (b"\x0a\x03\x0a\x01\xff", "UTF-8"),
    (b"\x0b", "wire type 3"),
    (b"RIFF....WAVE", "SentencePiece model"),
])
def test_other_files_are_no_sentencepiece_model(put, content, message):
    with pytest.raises(CheckpointError, match=message):
        tokenizer.read_sentencepiece(put(content))


def test_token_file(put):
    content = "@\n<s>\n▁THE\n<0x41>\n<17>\r\n<pad>\n<\n".encode()
    tokens, special = tokenizer.read_token_file(put(content))
    assert tokens == ("@", "<s>", "▁THE", "<0x41>", "<17>", "<pad>", "<")
    assert special == {1, 5}
    assert tokenizer.read_token_file(put(content[:-1])) == (tokens, special)


@pytest.mark.parametrize("content, message", [
    (b"a\n\nb\n", "line 2"), (b"a 0\nb 1\n", "line 1: expected one token, found 'a 0'"),
    (b"\xff\n", "UTF-8"), (b"", "line 1"),
])
def test_other_files_are_no_token_file(put, content, message):
    with pytest.raises(CheckpointError, match=message):
        tokenizer.read_token_file(put(content))


def test_tokens_of_a_checkpoint():
    assert tokenizer.from_extras({"heads": 4}) is None
    tokens = ["<b>", "a", "<x>"]
    assert tokenizer.from_extras({"tokens": tokens}) == (tuple(tokens), {0, 2})
    assert tokenizer.from_extras({"tokens": tokens, "special": []})[1] == frozenset()
    assert tokenizer.from_extras({"tokens": tokens, "special": [1]})[1] == {1}
    assert tokenizer.from_extras({"tokens": tokens, "special": ["a"]})[1] == {1}
    for extras in ({"tokens": [1]}, {"tokens": "ab"}, {"tokens": tokens, "special": [3]},
                   {"tokens": tokens, "special": [True]}, {"tokens": tokens, "special": 1}):
        with pytest.raises(CheckpointError, match="expected"):
            tokenizer.from_extras(extras)


# The commands


def test_convert_command(put, tmp_path, state, capsys):
    checkpoint = put(torch_file({"state_dict": state}), "my model.pt")
    output = tmp_path / "m.gguf"
    assert main(["convert", str(checkpoint), "-o", str(output), "--heads", "4",
                 "--tokenizer", str(put(SENTENCEPIECE, "bpe.model"))]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "3 exits after 1+2+1 layers, width 20, 4 heads," in err
    found = model_file.read(output)
    assert found.config == SMALL and found.special == {1, 2, 3}
    assert found.tokens == tuple(text for text, _ in PIECES)
    assert found.metadata["general.name"] == "my model"
    _, tensors = convert_state_dict(state, heads=4)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], value)

    before = output.read_bytes()
    command = ["convert", str(checkpoint), "-o", str(output), "--heads", "4"]
    assert main(command) == 1
    assert "exists" in capsys.readouterr().err and output.read_bytes() == before
    assert main([*command, "--force"]) == 0
    assert model_file.read(output).tokens == tuple(f"<{n}>" for n in range(11))
    assert "placeholders" in capsys.readouterr().err


def test_convert_command_uses_what_the_checkpoint_says(put, tmp_path, capsys):
    config = replace(SMALL, frontend="logmel", n_fft=512, win_length=400, heads=2, pad=40)
    labels = ["<b>", *"abcdefghij"]
    checkpoint = put(torch_file({"model": random_state_dict(config, 1), "tokens": labels,
                                 "frontend": "logmel", "heads": 2, "pad": 40, "epoch": 3}))
    assert main(["convert", str(checkpoint), "-o", str(tmp_path / "m.gguf")]) == 0
    found = model_file.read(tmp_path / "m.gguf")
    assert found.config == config
    assert found.tokens == tuple(labels) and found.special == {0}
    assert "assumed" not in capsys.readouterr().err


def test_convert_command_refusals(put, tmp_path, state, capsys):
    checkpoint = str(put(torch_file(state)))
    output = str(tmp_path / "m.gguf")
    short = str(put(b"a\nb\n", "short.txt"))
    assert main(["convert", checkpoint, "-o", output, "--heads", "4", "--tokens", short]) == 1
    assert "expected 11, as the exit heads have, found 2" in capsys.readouterr().err
    assert main(["convert", checkpoint, "-o", checkpoint, "--heads", "4", "--force"]) == 2
    assert main(["convert", checkpoint, "-o", output, "--heads", "-4"]) == 2
    assert main(["convert", checkpoint, "-o", output]) == 1
    assert "a divisor of dim 20, found 8" in capsys.readouterr().err
    assert not os.path.exists(output)


def test_info_command(put, tmp_path, state, capsys):
    checkpoint, output = str(put(torch_file(state))), tmp_path / "m.gguf"
    assert main(["convert", checkpoint, "-o", str(output), "--heads", "4"]) == 0
    capsys.readouterr()
    assert main(["info", str(output), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["layers_per_exit"] == [1, 2, 1]
    assert found["bytes"] == found["exits"][-1]["bytes"] == output.stat().st_size
    assert [exit_["layers"] for exit_ in found["exits"]] == [1, 3, 4]
    _, tensors = convert_state_dict(state, heads=4)
    assert found["parameters"] + found["constants"] == sum(t.size for t in tensors.values())
    assert found["exits"][-1]["parameters"] == found["parameters"]
    assert set(found["checksums"]["tensors"]) == set(tensors)
    assert main(["info", str(output), "--checksums"]) == 0
    text = capsys.readouterr().out
    assert found["checksums"]["header"] in text and "head.3.bias" in text
    assert "too long" in text  # 10 s are 247 frames, of 40
    assert main(["info", str(tmp_path / "missing.gguf")]) == 1


def test_multiply_accumulates_of_the_published_shape():
    names = ("ff1.up", "ff1.down", "attn.in", "attn.out", "conv.in", "conv.depthwise", "conv.out",
             "ff2.up", "ff2.down")
    sizes = {spec.name: int(np.prod(spec.shape)) for spec in tensor_specs(FULL)}
    layer = sum(sizes[f"group.1.layer.1.{name}.weight"] for name in names)
    half, frames = 500, 249  # after the two convolutions of 1001 frames
    stem = half * sizes["stem.conv1.weight"] + frames * sizes["stem.conv2.weight"]
    group = frames * (2 * layer + sizes["head.1.weight"]) + 2 * 2 * frames**2 * FULL.dim
    assert multiply_accumulates(FULL, 10) == tuple(stem + n * group for n in range(1, 7))
    assert multiply_accumulates(FULL, 0) == (0,) * 6
    assert multiply_accumulates(FULL, 81) is None  # more than 2000 frames
