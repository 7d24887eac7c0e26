"""Golden bytes of int8 mode: what the NumPy ops give, frozen, so that a changed bit is seen.

Unlike the other goldens these come from ee_ref itself: docs/numerics.md, which the ops follow, has
no other implementation. tests/test_ops_qs8.py judges the ops by a second reading of that page.
Needs no torch.
"""

from __future__ import annotations

import numpy as np

from ee_ref import ops
from ee_ref.conformance.cases import cases_of, op_names, outputs
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_LSTM,
    SMALL_SPLITFORMER,
    SMALL_ZIPFORMER,
    random_features,
    random_int8_model,
)
from ee_ref.encoder import ReferenceEncoder
from ee_ref.exits import frame_entropy
from ee_ref.frontend import front_end
from tests import speech_layouts
from tests.support import FULL, INT8_CLIPS, INT8_FULL, SMALL_CLIPS, SMALL_SEED, frozen

SMALL_MODELS = {"small": SMALL, "splitformer": SMALL_SPLITFORMER, "zipformer": SMALL_ZIPFORMER,
                "conformer-lstm": SMALL_LSTM}


def generate() -> dict[str, np.ndarray]:
    """`op/case/N` -> output N of the op, and log-probabilities and entropies of whole models:
    `small/FRAMES/EXIT` and so on for each of SMALL_MODELS, `wav2vec2/MODEL/SAMPLES/EXIT`,
    `full/SEED/QK_GAIN/FRAMES/EXIT`, each also with `/entropy`. See `frozen`.
    """
    goldens = {}
    for op in op_names("qs8"):
        for case in cases_of(op):
            result = getattr(ops, op)(**case.arguments())
            for number, output in enumerate(outputs(op, result)):
                goldens[f"{op}/{case.name}/{number}"] = frozen(output)
    for name, config in SMALL_MODELS.items():
        small = ReferenceEncoder(*random_int8_model(config, SMALL_SEED))
        for frames in SMALL_CLIPS:
            features = random_features(frames, SMALL_SEED, config.mels)
            goldens |= exits(f"{name}/{frames}", small, features)
    for name, kin in speech_layouts.MODELS.items():
        encoder = ReferenceEncoder(*speech_layouts.int8_model(kin))
        for samples in speech_layouts.LENGTHS:
            features = front_end(kin, {}, "numpy")(speech_layouts.clip(samples))
            goldens |= exits(f"wav2vec2/{name}/{samples}", encoder, features)
    for seed, qk_gain in INT8_FULL:
        full = ReferenceEncoder(*random_int8_model(FULL, seed, qk_gain))
        for clip in INT8_CLIPS:
            features = random_features(clip.frames, clip.seed)
            goldens |= exits(f"full/{seed}/{qk_gain}/{clip.frames}", full, features)
    return goldens


def exits(name: str, encoder: ReferenceEncoder, features: np.ndarray) -> dict[str, np.ndarray]:
    """Every exit of one utterance."""
    found = {}
    for out in encoder.exits(features):
        found[f"{name}/{out.exit}"] = frozen(out.log_probs)
        found[f"{name}/{out.exit}/entropy"] = frozen(
            np.array([frame_entropy(out.log_probs)], np.float32))
    return found
