"""The PyTorch model as ONNX, float32 and dynamically quantised to int8, kept in the cache folder.

    python benchmarks/onnx_export.py 10

One file a length of audio: attention masks and reshapes of the exported graph hold the number of
frames.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

from common import FULL, FULL_SEED, cache, frames_of, random_state_dict

OPSET = 17


def exported(seconds: float, kind: str) -> Path:
    """Path of the model for audio of `seconds`, kind "f32" or "int8"; made when it is missing."""
    path = _path(seconds, kind)
    if not path.exists():
        subprocess.run([sys.executable, __file__, f"{seconds:g}"], check=True, stdout=sys.stderr)
    return path


def _path(seconds: float, kind: str) -> Path:
    return cache() / f"full-{FULL_SEED}-{seconds:g}s-opset{OPSET}-{kind}.onnx"


def export(seconds: float) -> None:
    """Write both files."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ee_ref.conformance.draw import random_features
    from tests.golden.gen_model import published_model

    class Stacked(torch.nn.Module):
        """All exits as one output."""

        def __init__(self):
            super().__init__()
            self.model = published_model(FULL, random_state_dict(FULL, FULL_SEED))

        def forward(self, features):
            return torch.stack(self.model(features))

    features = torch.from_numpy(random_features(frames_of(seconds), 3))
    single, quantized = _path(seconds, "f32"), _path(seconds, "int8")
    drafts = [path.with_suffix(f".{os.getpid()}") for path in (single, quantized)]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Stacked(), (features,), str(drafts[0]), opset_version=OPSET,
                          dynamo=False)
    quantize_dynamic(str(drafts[0]), str(drafts[1]), weight_type=QuantType.QInt8)
    for draft, path in zip(drafts, (single, quantized)):
        os.replace(draft, path)


if __name__ == "__main__":
    export(float(sys.argv[1]))
