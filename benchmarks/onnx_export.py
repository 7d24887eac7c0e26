"""The PyTorch model as ONNX, float32 and dynamically quantised to int8, kept in the cache folder.

    python benchmarks/onnx_export.py 10 conformer

One file a length of audio: attention masks and reshapes of the exported graph hold the number of
frames.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

from common import CONFORMER, FULL_SEED, SHAPES, cache, frames_of, random_state_dict

OPSET = 17


def exported(seconds: float, kind: str, shape: str = CONFORMER) -> Path:
    """Path of the model for audio of `seconds`, kind "f32" or "int8"; made when it is missing."""
    path = _path(seconds, kind, shape)
    if not path.exists():
        subprocess.run([sys.executable, __file__, f"{seconds:g}", shape], check=True,
                       stdout=sys.stderr)
    return path


def _path(seconds: float, kind: str, shape: str) -> Path:
    return cache() / f"{shape}-{FULL_SEED}-{seconds:g}s-opset{OPSET}-{kind}.onnx"


def export(seconds: float, shape: str) -> None:
    """Write both files."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ee_ref.conformance.draw import random_features
    from tests.golden.gen_model import PublishedModel, published_model
    from tests.golden.gen_splitformer import PublishedSplitformer

    layout = PublishedModel if shape == CONFORMER else PublishedSplitformer

    class Stacked(torch.nn.Module):
        """All exits as one output."""

        def __init__(self):
            super().__init__()
            state = random_state_dict(SHAPES[shape], FULL_SEED)
            self.model = published_model(SHAPES[shape], state, layout)

        def forward(self, features):
            return torch.stack(self.model(features))

    features = torch.from_numpy(random_features(frames_of(seconds), 3))
    single, quantized = (_path(seconds, kind, shape) for kind in ("f32", "int8"))
    drafts = [path.with_suffix(f".{os.getpid()}") for path in (single, quantized)]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Stacked(), (features,), str(drafts[0]), opset_version=OPSET,
                          dynamo=False)
    quantize_dynamic(str(drafts[0]), str(drafts[1]), weight_type=QuantType.QInt8)
    for draft, path in zip(drafts, (single, quantized)):
        os.replace(draft, path)


if __name__ == "__main__":
    export(float(sys.argv[1]), sys.argv[2])
