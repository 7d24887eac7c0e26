"""A float32 model made into an int8 one (docs/numerics.md), and how much precision that loses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from . import families
from .config import Config
from .errors import ArgumentError
from .families import SCALE_SUFFIX
from .ops._exact import flush
from .ops.quantize_qs8 import quantize_qs8


def quantize(
    config: Config, tensors: Mapping[str, np.ndarray]
) -> tuple[Config, dict[str, np.ndarray]]:
    """Configuration and tensors of the int8 model of a float32 one.

    Each row of a matrix (an output channel; a frame of the positions) becomes int8 with a scale of
    its own, by `ee_ref.ops.quantize_qs8`; the other tensors stay as they are, except that numbers
    below 2**-50 become 0, because docs/numerics.md relies on there being none. No calibration data
    is needed: activations get their scales when the model runs.
    Raises ArgumentError for a model that is not float32, or of a family without int8 mode.
    """
    if config.dtype != "f32":
        raise ArgumentError(f"expected a float32 model to quantise, found dtype {config.dtype!r}")
    int8 = dataclasses.replace(config, dtype="qs8").validate()
    quantized = {}
    for spec in families.tensors(config):
        tensor = tensors[spec.name]
        if spec.is_quantizable:
            quantized[spec.name], quantized[spec.name + SCALE_SUFFIX] = quantize_qs8(tensor)
        else:
            quantized[spec.name] = flush(tensor)
    return int8, quantized


def dequantize(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The float32 matrix that an int8 tensor and its scales stand for."""
    return tensors[name] * tensors[name + SCALE_SUFFIX][:, None]


def signal_to_noise(expected: np.ndarray, found: np.ndarray) -> float:
    """10 log10(sum of expected**2 / sum of (found - expected)**2) in dB; inf when equal."""
    expected = np.asarray(expected, np.float64)
    noise = np.square(found - expected).sum()
    signal = np.square(expected).sum()
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def weight_report(
    tensors: Mapping[str, np.ndarray], quantized: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Name -> signal-to-noise ratio in dB of every matrix that was quantised, in file order."""
    return {
        name: signal_to_noise(tensors[name], dequantize(quantized, name))
        for name in quantized if name + SCALE_SUFFIX in quantized
    }
