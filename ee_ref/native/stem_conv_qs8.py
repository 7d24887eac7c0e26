from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError
from ._arrays import check, check_matrix, padded_int8, pointer
from ._lib import lib, ops_qs8


def stem_conv_qs8(
    x: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray, stride: int = 2
) -> np.ndarray:
    """See `ee_ref.ops.stem_conv_qs8`."""
    frames, channels = check("x", x, None, None)
    _, window = check("weight", weight, None, None, dtype=np.int8)
    outs = check_matrix("weight", weight, weight_scale, bias, None, window)
    if window % channels:
        raise ShapeError(f"weight: expected a multiple of {channels} columns, found {window}")
    if stride < 1:
        raise ArgumentError(f"stride: expected at least 1, found {stride}")

    kernel = window // channels
    rows = lib.ee_stem_conv_f32_frames(frames, kernel, stride)
    out = np.empty((rows, outs), np.float32)
    weight = padded_int8(weight)
    ops_qs8().stem_conv(pointer(out), pointer(x), pointer(weight), pointer(weight_scale),
                        pointer(bias), frames, channels, outs, kernel, stride)
    return out
