"""Golden values of the float32 model of the conformance suite, as gen_model.py makes its own."""

from __future__ import annotations

import numpy as np
import torch

from ee_ref.conformance import suite
from tests.golden.gen_model import published_model


def generate() -> dict[str, np.ndarray]:
    """FRAMES/EXIT -> log-probabilities (T', vocab)."""
    model = published_model(suite.F32_CONFIG, suite.f32_state_dict()).double()
    values = {}
    with torch.no_grad():
        for frames in suite.F32_FRAMES.values():
            features = torch.from_numpy(suite.f32_features(frames))
            for number, log_probs in enumerate(model(features.double()), start=1):
                values[f"{frames}/{number}"] = log_probs.float().numpy()
    return values
