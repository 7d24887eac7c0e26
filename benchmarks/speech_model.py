"""The base shape of wav2vec 2.0 with random weights: for ee_ref, for PyTorch, and as ONNX.

    python benchmarks/speech_model.py 10

writes the ONNX files for audio of that length, which are kept in the cache folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from functools import cache as cached
from pathlib import Path

from common import cache
from onnx_export import OPSET

from tests.speech_layouts import BASE, SEED, plain, state_of


@cached
def yardstick(dtype: str):
    """(config, tensors), "f32" or "qs8"."""
    from ee_ref.convert import convert_state_dict
    from ee_ref.quantize import quantize

    config, tensors = convert_state_dict(
        plain(state_of(BASE)), heads=BASE.heads, norm=BASE.norm, frontend=BASE.frontend,
        exit_layers=_layers())
    assert config == BASE
    return (config, tensors) if dtype == "f32" else quantize(config, tensors)


def _layers() -> tuple[int, ...]:
    """The layers after which the exits lie."""
    return tuple(sum(BASE.layers_per_exit[: exit_ + 1]) for exit_ in range(BASE.exits))


def torch_model():
    """The class of transformers as a module: samples (1, N) -> (exits, T', vocab)."""
    import torch
    import transformers

    config = transformers.Wav2Vec2Config(vocab_size=BASE.vocab)
    state = {name: torch.from_numpy(value) for name, value in plain(state_of(BASE)).items()}
    state["wav2vec2.masked_spec_embed"] = torch.zeros(BASE.dim)

    class Exits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.Wav2Vec2ForCTC(config).eval()
            self.model.load_state_dict(state)

        def forward(self, samples):
            states = self.model.wav2vec2(samples, output_hidden_states=True).hidden_states
            return torch.cat([self.model.lm_head(states[layer]).log_softmax(-1)
                              for layer in _layers()])

    return Exits()


def exported(seconds: float, kind: str) -> Path:
    """Path of the ONNX model for audio of `seconds`, made if missing; kind: "f32", "int8", all that
    ONNX Runtime quantises dynamically, or "int8-products", none of its convolutions."""
    path = _path(seconds, kind)
    if not path.exists():
        subprocess.run([sys.executable, __file__, f"{seconds:g}"], check=True, stdout=sys.stderr)
    return path


def _path(seconds: float, kind: str) -> Path:
    return cache() / f"wav2vec2-{SEED}-{seconds:g}s-opset{OPSET}-{kind}.onnx"


def export(seconds: float) -> None:
    """Write the files of every kind."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    paths = [_path(seconds, kind) for kind in ("f32", "int8", "int8-products")]
    drafts = [path.with_suffix(f".{os.getpid()}") for path in paths]
    samples = torch.zeros(1, int(seconds * BASE.sample_rate))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch_model(), (samples,), str(drafts[0]), opset_version=OPSET,
                          dynamo=False)
    for draft, ops in zip(drafts[1:], (None, ["MatMul"])):
        quantize_dynamic(str(drafts[0]), str(draft), weight_type=QuantType.QInt8,
                         op_types_to_quantize=ops)
    for draft, path in zip(drafts, paths):
        os.replace(draft, path)


if __name__ == "__main__":
    export(float(sys.argv[1]))
