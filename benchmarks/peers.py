"""One process a peer: the same random weights and features, a run for each line on stdin.

A peer is a kind and a number of threads, written `native-int8` or `native-int8@2`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from common import (
    CONFORMER,
    FULL,
    FULL_SEED,
    SPLITFORMER,
    frames_of,
    have,
    random_state_dict,
    yardstick,
)

from ee_ref.conformance.draw import random_features
from ee_ref.frontend import waveform
from tests.speech_layouts import clip

Run = Callable[[np.ndarray], Iterator[np.ndarray]]
"""features -> the log-probabilities of each exit, as they are reached."""

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
"""What tells the time: CPU time of a peer's process, all its threads together, or wall time."""

REST = 0.02
"""Seconds before each run in which the threads of the peer before may stop spinning."""


# In the process of a peer.


def native(dtype: str, threads: int, packed: bool = False, shape: str = CONFORMER
           ) -> tuple[Run, dict]:
    """The C runtime."""
    from ee_ref.native._session import NativeModel

    config, tensors = yardstick(dtype, shape)
    return _log_probs(NativeModel(config, tensors, threads, packed)), {}


def numpy_ops() -> tuple[Run, dict]:
    """The NumPy ops; its BLAS takes the threads from the environment."""
    from ee_ref.encoder import ReferenceEncoder

    return _log_probs(ReferenceEncoder(*yardstick("f32"))), {"numpy": np.__version__}


def _log_probs(encoder) -> Run:
    return lambda features: (out.log_probs for out in encoder.exits(features))


def torch_modules(dtype: str, threads: int) -> tuple[Run, dict]:
    """torchaudio's Conformer, from exit to exit; weights and activations of this dtype."""
    import torch

    from tests.golden.gen_model import published_model

    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    model = published_model(FULL, random_state_dict(FULL, FULL_SEED)).to(kind)

    def run(features):
        with torch.inference_mode():
            for out in model.steps(torch.from_numpy(features).to(kind)):
                yield out.float().numpy()

    return run, {"torch": torch.__version__}


def onnx(kind: str, seconds: float, threads: int, shape: str = CONFORMER) -> tuple[Run, dict]:
    """ONNX Runtime, which gives all exits at once."""
    from onnx_export import exported

    return onnx_session(str(exported(seconds, kind, shape)), threads)


def onnx_session(path: str, threads: int) -> tuple[Run, dict]:
    """A model of ONNX Runtime, of one input and one output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return (lambda features: iter([session.run(None, {name: features})[0]]),
            {"onnxruntime": onnxruntime.__version__})


def openvino(kind: str, seconds: float, threads: int) -> tuple[Run, dict]:
    """OpenVINO, which gives all exits at once. kind: what its CPU plugin is told to calculate in,
    "f32" or "bf16", or "int8": the graph quantised by NNCF, with the rest in bfloat16."""
    import openvino
    from onnx_export import exported

    if kind == "int8":
        from openvino_int8 import quantised

        path, precision = quantised(seconds), "bf16"
    else:
        path, precision = exported(seconds, "f32"), kind
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
               "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(str(path), "CPU", options).create_infer_request()
    return (lambda features: iter([request.infer([features])[0]]),
            {"openvino": openvino.__version__})


KINDS: dict[str, Callable[[float, int], tuple[Run, dict]]] = {
    "native-int8": lambda seconds, threads: native("qs8", threads),
    "native-int8-packed": lambda seconds, threads: native("qs8", threads, packed=True),
    "native-f32": lambda seconds, threads: native("f32", threads),
    "native-f32-packed": lambda seconds, threads: native("f32", threads, packed=True),
    "numpy": lambda seconds, threads: numpy_ops(),
    "onnx-int8": lambda seconds, threads: onnx("int8", seconds, threads),
    "onnx-f32": lambda seconds, threads: onnx("f32", seconds, threads),
    "openvino-int8": lambda seconds, threads: openvino("int8", seconds, threads),
    "openvino-bf16": lambda seconds, threads: openvino("bf16", seconds, threads),
    "openvino-f32": lambda seconds, threads: openvino("f32", seconds, threads),
    "torch": lambda seconds, threads: torch_modules("float32", threads),
    "torch-bf16": lambda seconds, threads: torch_modules("bfloat16", threads),
    "splitformer-native-int8": lambda seconds, threads: native("qs8", threads, shape=SPLITFORMER),
    "splitformer-native-f32": lambda seconds, threads: native("f32", threads, shape=SPLITFORMER),
    "splitformer-onnx-int8": lambda seconds, threads: onnx("int8", seconds, threads, SPLITFORMER),
    "splitformer-onnx-f32": lambda seconds, threads: onnx("f32", seconds, threads, SPLITFORMER),
}


def speech_native(dtype: str, threads: int, packed: bool = False) -> tuple[Run, dict]:
    """The C runtime on the base shape of wav2vec 2.0."""
    from speech_model import yardstick as of_speech

    from ee_ref.native._session import NativeModel

    return _log_probs(NativeModel(*of_speech(dtype), threads, packed)), {}


def speech_torch(threads: int) -> tuple[Run, dict]:
    """The class of transformers, which gives all exits at once."""
    import torch
    import transformers
    from speech_model import torch_model

    torch.set_num_threads(threads)
    model = torch_model()

    def run(features):
        with torch.inference_mode():
            yield model(torch.from_numpy(features.T)).numpy()

    return run, {"torch": torch.__version__, "transformers": transformers.__version__}


def speech_onnx(kind: str, seconds: float, threads: int) -> tuple[Run, dict]:
    """ONNX Runtime on an export of that."""
    from speech_model import exported

    run, about = onnx_session(str(exported(seconds, kind)), threads)
    return lambda features: run(features.T), about


SPEECH: dict[str, Callable[[float, int], tuple[Run, dict]]] = {
    "wav2vec2-int8": lambda seconds, threads: speech_native("qs8", threads),
    "wav2vec2-int8-packed": lambda seconds, threads: speech_native("qs8", threads, packed=True),
    "wav2vec2-f32": lambda seconds, threads: speech_native("f32", threads),
    "wav2vec2-f32-packed": lambda seconds, threads: speech_native("f32", threads, packed=True),
    "wav2vec2-onnx-int8": lambda seconds, threads: speech_onnx("int8", seconds, threads),
    "wav2vec2-onnx-int8-products":
        lambda seconds, threads: speech_onnx("int8-products", seconds, threads),
    "wav2vec2-onnx-f32": lambda seconds, threads: speech_onnx("f32", seconds, threads),
    "wav2vec2-transformers": lambda seconds, threads: speech_torch(threads),
}
"""On the base shape of wav2vec 2.0, which `speech.py` measures."""


def features_of(kind: str, seconds: float) -> np.ndarray:
    """What a peer is given: samples, normalised, or mel features."""
    if kind in SPEECH:
        return waveform.extract(clip(int(seconds * 16_000)))
    return random_features(frames_of(seconds), 3)


MODULES = {"onnx": ("torchaudio", "onnx", "onnxruntime"),
           "openvino": ("torchaudio", "onnx", "onnxruntime", "openvino"),
           "openvino-int8": ("nncf",), "torch": ("torchaudio",)}
MODULES |= {f"{SPLITFORMER}-onnx-{kind}": MODULES["onnx"] for kind in ("int8", "f32")}
"""What a kind needs besides ee_ref: of the kind itself, and of all whose name begins like that."""


def installed(shape: str = CONFORMER) -> list[str]:
    """The kinds of a shape whose modules are here."""
    return [kind for kind in KINDS
            if kind.startswith(f"{SPLITFORMER}-") == (shape == SPLITFORMER)
            and have(*MODULES.get(kind, ()), *MODULES.get(kind.partition("-")[0], ()))]


def serve(kind: str, threads: int, seconds: float, outputs: str, clock: str) -> None:
    """Write the last exit's log-probabilities to `outputs`, say what runs here, then answer each
    line on stdin with the seconds after which each exit was reached."""
    now = CLOCKS[clock]
    run, about = {**KINDS, **SPEECH}[kind](seconds, threads)
    features = features_of(kind, seconds)
    *_, last = run(features)
    np.save(outputs, last[-1] if last.ndim == 3 else last)
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        time.sleep(REST)
        start, reached = now(), []
        for _ in run(features):
            reached.append(now() - start)
        print(json.dumps(reached), flush=True)


# In the first process.


def split(name: str) -> tuple[str, int]:
    """(kind, threads) of a peer, `kind` or `kind@threads`."""
    kind, _, threads = name.partition("@")
    if kind not in {**KINDS, **SPEECH}:
        known = ", ".join({**KINDS, **SPEECH})
        raise SystemExit(f"peers: expected one of {known}, found {kind!r}")
    return kind, int(threads or 1)


class Peer:
    """A peer's process. runs: for each run the seconds, by `clock`, after which each exit was
    reached."""

    def __init__(self, name: str, seconds: float, folder: str, clock: str):
        self.name = name
        self.kind, self.threads = split(name)
        self._outputs = f"{folder}/{name}.npy"
        limits = {name: str(self.threads) for name in (
            "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.kind, str(self.threads), repr(seconds), self._outputs,
             clock],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **limits},
        )
        self.about = self._answer()
        self.last_exit = np.load(self._outputs)
        self.runs: list[list[float]] = []

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"peers: {self.name} ended early (its error is above)")
        return json.loads(line)

    def run(self) -> list[float]:
        """Seconds until each exit of one more run."""
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
