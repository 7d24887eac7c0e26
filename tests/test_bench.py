"""Benchmarks: what they find, what they write; never how long anything took."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ee_ref import bench, load, native
from ee_ref.cli import main
from ee_ref.errors import ArgumentError
from ee_ref.ops._names import stem_and_mode

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """benchmarks/ is a folder of scripts that import each other."""
    sys.path.append(str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


# ---- ee-ref bench ----


@pytest.mark.parametrize("backend_name", ["native", "numpy"])
def test_the_command_prints_every_stage_and_exit(model_path, capsys, backend_name, native_library):
    arguments = ["bench", "--model", str(model_path), "--seconds", "2", "--runs", "2", "--backend",
                 backend_name]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["stages"]) == ["audio", "features", "exit 1", "exit 2", "exit 3", "decode"]
    assert [exit_["exit"] for exit_ in found["exits"]] == [1, 2, 3]
    assert found["backend"] == backend_name and found["threads"] == 1
    for exit_ in found["exits"]:
        assert exit_["total_ms"] > exit_["encoder"]["median_ms"] > 0
        assert exit_["real_time_factor"] == pytest.approx(exit_["total_ms"] / 2000, abs=1e-5)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert re.search(r"^exit 3 +[\d.]+ +[\d.]+ +[\d.]+$", out, re.MULTILINE)
    assert re.search(r"^ +3 +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", out, re.MULTILINE)


@pytest.mark.parametrize("arguments, expected", [
    (["--seconds", "0"], "seconds"), (["--seconds", "-1"], "seconds"),
    (["--seconds", "3600"], "seconds"), (["--seconds", "nan"], "seconds"),
    (["--runs", "1"], "runs"),
])
def test_wrong_usage(model_path, capsys, arguments, expected):
    assert main(["bench", "--model", str(model_path), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"ee-ref: {expected}: expected")


def test_exits_add_up(model_path):
    found = bench.measure(load(model_path, backend="numpy"), seconds=1, runs=2)
    ends = [exit_["encoder"]["least_ms"] for exit_ in found["exits"]]
    assert ends == sorted(ends) and ends[0] == found["stages"]["exit 1"]["least_ms"]


def test_the_demo_is_repeated_to_a_length():
    wav = bench.demo_wav(10)
    samples = np.frombuffer(wav, "<i2", offset=44)
    length = (bench.DEMO.stat().st_size - 44) // 2
    assert len(samples) == 160000
    assert (samples[:length] == samples[length : 2 * length]).all() and samples.any()


def test_spread():
    assert bench.spread([0.004, 0.001, 0.002, 0.003, 0.005]) == {
        "median_ms": 3.0, "quartiles_ms": [2.0, 4.0], "least_ms": 1.0}


def test_peak_memory_grows_with_what_is_held():
    before = bench.peak_memory()
    assert before is not None
    block = np.ones(before + (64 << 20), np.uint8)
    assert bench.peak_memory() >= before + (32 << 20) and block[-1] == 1


def test_too_long_audio_is_refused(model_path):
    model = load(model_path, backend="numpy")
    with pytest.raises(ArgumentError, match="seconds: expected more than 0 and at most"):
        bench.measure(model, seconds=model.config.max_seconds + 1)


# ---- benchmarks/ops.py ----


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_ops_are_found_for_every_kernel(dtype, native_library, monkeypatch):
    import ops as ops_benchmark

    from ee_ref.conformance.draw import (
        SMALL,
        random_features,
        random_int8_model,
        random_state_dict,
    )
    from ee_ref.convert import convert_state_dict

    def small(asked):
        if asked == "qs8":
            return random_int8_model(SMALL, 1)
        config, tensors = convert_state_dict(random_state_dict(SMALL, 1), heads=SMALL.heads)
        return config, tensors

    monkeypatch.setattr(ops_benchmark, "yardstick", small)
    monkeypatch.setattr(ops_benchmark, "random_features",
                        lambda frames, seed: random_features(frames, seed, SMALL.mels))
    of_samples = {"gelu", "group_norm", "grouped_conv", "gated_attention"}  # not of a Conformer
    everything = {op for op in native.__all__ if stem_and_mode(op)[1] == dtype
                  and stem_and_mode(op)[0] not in of_samples}
    calls = ops_benchmark.trace(dtype, seconds=1)
    assert {call.op for call in calls} == everything, "an op that the model never calls"
    layers = sum(SMALL.layers_per_exit)
    counted = {stem_and_mode(op)[0]: sum(call.calls for call in calls if call.op == op)
               for op in everything}
    assert counted["conformer_layer"] == layers and counted["exit_head"] == SMALL.exits
    assert counted["feed_forward"] == 2 * layers and counted["layer_norm"] == 5 * layers


def test_multiply_accumulates_of_a_trace_are_those_of_info(native_library):
    """What the ops count themselves adds up to the formula of `ee-ref info`."""
    import ops as ops_benchmark

    from ee_ref.plan import multiply_accumulates
    from tests.support import FULL

    calls = ops_benchmark.trace("f32", seconds=1)
    total = sum(call.calls * call.macs for call in calls
                if call.op in ("conformer_layer", "exit_head", "stem_conv"))
    assert total == multiply_accumulates(FULL, 1)[-1]


def test_every_kernel_can_be_timed(native_library, monkeypatch):
    import ops as ops_benchmark

    monkeypatch.setattr(ops_benchmark, "SECONDS_A_KERNEL", 0)
    monkeypatch.setattr(ops_benchmark, "SAMPLE", 0)
    for dtype in ("f32", "qs8"):
        for call in ops_benchmark.trace(dtype, seconds=0.2):
            times = ops_benchmark.kernel_times(call, dtype)
            assert len(times) == ops_benchmark.FEWEST and min(times) > 0, call.op
            assert set(ops_benchmark.isas_of(call.op, dtype)) >= {"c"}


# ---- Results, figures, tables ----

FIELDS = {
    "machine": {"cpu", "cores", "isa", "isas", "compiler", "python", "numpy", "system", "commit"},
    "peaks": {"read", "load"},
    "forward": {"peer", "threads", "seconds", "mel_frames", "runs", "clock", "median_ms",
                "quartiles_ms", "least_ms", "load"},
    "ratio": {"above", "below", "seconds", "runs", "clock", "median", "quartiles",
              "largest_difference", "signal_to_noise_db"},
    "ops": {"op", "dtype", "isa", "seconds", "shapes", "calls", "samples", "median_ms",
            "quartiles_ms", "least_ms", "bytes", "gb_per_s", "read_percent", "load"},
    "stages": {"dtype", "threads", "seconds", "runs", "stage_ms", "load"},
    "cold_start": {"command", "runs", "median_ms", "quartiles_ms", "least_ms", "import_numpy",
                   "peak_mb", "load"},
    "memory": {"dtype", "seconds", "peak_mb", "after_load_mb", "after_features_mb", "file_mb",
               "baseline_mb"},
    "front_end": {"peer", "seconds", "runs", "median_ms", "by_torchaudio", "load"},
    "utterance": {"model", "exit", "of", "runs", "median_ms", "by_last", "load"},
    "opening": {"file", "file_mb", "runs", "median_ms", "by_read", "load"},
    "cold": {"model", "runs", "median_ms", "by_imports", "load"},
    "small_files": {"model", "threads", "files", "runs", "median_ms", "files_a_second", "load"},
    "figure": {"what", "value", "limit", "at_least", "unit", "met"},
}
FILES = sorted((BENCHMARKS / "results").glob("*.jsonl"))


def test_there_are_results():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_results_have_the_fields_that_the_readme_documents(path):
    import common

    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    lines = common.read(path)
    assert lines[0]["benchmark"] == "machine" and path.name == common.file_name(
        lines[0]["cpu"], lines[0]["isa"])
    for line in lines:
        kind = line["benchmark"]
        missing = FIELDS[kind] - set(line)
        assert not missing, f"{kind}: without {missing}"
        for field in set(line) - {"benchmark", "torch", "onnxruntime", "openvino"}:
            assert f"`{field}`" in readme, f"{kind}: {field} is not in benchmarks/README.md"
    assert {line["benchmark"] for line in lines} >= {"machine", "peaks", "forward", "ratio", "ops"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_figures_in_a_file_are_those_of_its_measurements(path):
    import check
    import common

    lines = common.read(path)
    expected = json.loads(json.dumps([figure.line() for figure in check.figures(lines)]))
    assert common.of(lines, "figure") == expected


def test_the_tables_of_the_page_are_those_of_the_results():
    import tables

    page = tables.PAGE.read_text(encoding="utf-8")
    for name, made in (("tables", tables.tables()), ("instructions", tables.instruction_table())):
        begin, end = tables.marks(name)
        assert begin + made + end in page


def test_instructions_belong_to_one_op_each():
    import instructions

    runs = instructions.read()
    assert [(run["board"], run["core"], run["exit"]) for run in runs] == list(instructions.RUNS)
    for run in runs:
        assert list(run["by_op"]) == list(instructions.OPS)
        assert sum(run["by_op"].values()) == run["total"]
    total, found = instructions.by_op(
        "total 150\nstage open 90\nstage layers 60\nfunction ee_linear_digits_qs8_dsp 60\n"
        "function add_products 40\nfunction add_products 5\nfunction ee_mel_block_mve 20\n"
        "function __aeabi_fmul 15\nfunction (elsewhere) 10\n")
    assert total == 150 and {op: count for op, count in found.items() if count} == {
        "int8 products": 105, "front end": 20, "floats in software": 15, "all else": 10}
    with pytest.raises(ValueError, match="expected functions of 150 instructions in all, found 40"):
        instructions.by_op("total 150\nfunction memset 40\n")


def test_peers_are_those_whose_modules_are_here(monkeypatch):
    import peers

    here = {"torchaudio", "onnx", "onnxruntime"}
    monkeypatch.setattr(peers, "have", lambda *modules: here.issuperset(modules))
    assert peers.installed() == ["native-int8", "native-int8-packed", "native-f32",
                                 "native-f32-packed", "numpy", "onnx-int8", "onnx-f32", "torch",
                                 "torch-bf16"]
    here.add("openvino")
    known = {*peers.installed(), *peers.installed("splitformer")}
    assert set(peers.KINDS) - known == {"openvino-int8"}
    here.clear()
    assert peers.installed() == [
        "native-int8", "native-int8-packed", "native-f32", "native-f32-packed", "numpy"]
    assert peers.installed("splitformer") == ["splitformer-native-int8", "splitformer-native-f32"]
    assert peers.split("numpy@2") == ("numpy", 2) and peers.split("torch") == ("torch", 1)
    with pytest.raises(SystemExit, match="expected one of .*, found 'tensorflow'"):
        peers.split("tensorflow")


@pytest.mark.parametrize("clock, names", [
    ("cpu", ["native-f32", "numpy"]), ("wall", ["native-f32@2", "numpy"])])
def test_peers_on_more_than_one_thread_are_counted_in_wall_time(monkeypatch, clock, names):
    import forward

    class Peer:
        def __init__(self, name, seconds, folder, clock):
            self.name, self.about, self.runs, clocks[name] = name, {}, [], clock
            self.kind, self.threads = forward.split(name)
            self.last_exit = np.ones((2, 3))

        def run(self):
            return [1.0, 2.0]

        def close(self):
            pass

    clocks = {}
    monkeypatch.setattr(forward, "Peer", Peer)
    lines = list(forward.measure(names, 1.0, 2))
    assert set(clocks.values()) == {line["clock"] for line in lines} == {clock}
    assert lines[0]["exit_ratio"] == [0.5, 1.0] and lines[-1]["median"] == 1.0


def test_figures_are_met_or_not():
    import check

    lines = [
        {"benchmark": "machine", "isa": "avx2"},
        {"benchmark": "peaks", "fma_f32_256": 100.0},
        {"benchmark": "forward", "peer": "native-f32", "threads": 1, "seconds": 10.0,
         "median_ms": 1e-8 * check.operations(10)[-1] / 0.9, "exit_ratio": [0.3, 0.55, 1.0]},
        {"benchmark": "ratio", "above": "native-f32", "below": "onnx-f32", "seconds": 10.0,
         "median": 0.81},
        {"benchmark": "ratio", "above": "native-f32", "below": "onnx-f32", "seconds": 3.0,
         "median": 0.9},
    ]
    made = {figure.what: figure for figure in check.figures(lines)}
    assert made["native-f32 / onnx-f32, time"].met is False
    assert made["native-f32, of the FMA peak"].value == pytest.approx(0.9, abs=1e-3)
    assert made["native-f32, of the FMA peak"].met is True
    assert made["native-f32 / onnx-f32 at 3 s, by that at 10 s"].met is True
    assert made["native-f32, most of exit k of n by the whole pass, less k/n"].met is True
    assert made["numpy / torch, time"].met is None
    assert "NOT MET" in check.table(list(made.values()))


def test_the_figure_beside_openvino_is_that_of_its_fastest_precision():
    import check

    ratios = [{"benchmark": "ratio", "above": "native-int8", "below": below, "seconds": 10.0,
               "median": median} for below, median in (
                   ("onnx-int8", 0.3), ("openvino-f32", 0.35), ("openvino-int8", 0.9),
                   ("openvino-bf16", 0.6))]
    for isa, limit in (("vnni", 0.40), ("amx", 0.25)):
        made = {figure.what: figure for figure in check.figures(
            [{"benchmark": "machine", "isa": isa}, *ratios])}
        assert made["native-int8 / OpenVINO's fastest, time"].value == 0.9
        assert made["native-int8 / OpenVINO's fastest, time"].met is False
        assert made["native-int8 / onnx-int8, time"].met is (0.3 <= limit)


def test_kaldi_s_filter_bank_has_the_frames_of_the_others(native_library):
    pytest.importorskip("kaldi_native_fbank")
    import around

    samples = np.sin(np.arange(16000, dtype=np.float32))
    assert around.FRONT_ENDS["kaldi-native-fbank"](samples)().shape == (100, 80)
    assert around.FRONT_ENDS["native"](samples)().shape[1] == 80


def test_names_of_results_files():
    import common

    assert common.file_name("AMD EPYC", "avx2") == "amd-epyc-avx2.jsonl"
    assert common.file_name("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "vnni") == (
        "intel-xeon-platinum-8481c-vnni.jsonl")
