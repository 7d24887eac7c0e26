"""The exported model quantised to int8 by NNCF for OpenVINO, kept in the cache folder.

    python benchmarks/openvino_int8.py 10

The scales of activations are fixed beforehand, by one run: those of the very features that the
benchmarks take, so that no peer has better ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common import FULL_SEED, cache, frames_of
from onnx_export import OPSET, exported


def quantised(seconds: float) -> Path:
    """Path of the model for audio of `seconds`; made when it is missing."""
    path = _path(seconds)
    if not path.exists():
        subprocess.run([sys.executable, __file__, f"{seconds:g}"], check=True, stdout=sys.stderr)
    return path


def _path(seconds: float) -> Path:
    return cache() / f"full-{FULL_SEED}-{seconds:g}s-opset{OPSET}-openvino.xml"


def quantise(seconds: float) -> None:
    """Write the file, and its weights beside it."""
    import nncf
    import openvino

    from ee_ref.conformance.draw import random_features

    features = random_features(frames_of(seconds), 3)
    model = openvino.Core().read_model(str(exported(seconds, "f32")))
    made = nncf.quantize(model, nncf.Dataset([features]), subset_size=1,
                         model_type=nncf.ModelType.TRANSFORMER)
    path = _path(seconds)
    draft = path.with_suffix(f".{os.getpid()}.xml")
    openvino.save_model(made, str(draft))
    # The weights first: who finds the graph finds them too.
    os.replace(draft.with_suffix(".bin"), path.with_suffix(".bin"))
    os.replace(draft, path)


if __name__ == "__main__":
    quantise(float(sys.argv[1]))
