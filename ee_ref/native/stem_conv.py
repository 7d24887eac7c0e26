from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError
from ._arrays import check, padded, pointer
from ._lib import lib, ops, team


def stem_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 2) -> np.ndarray:
    """See `ee_ref.ops.stem_conv`."""
    frames, channels = check("x", x, None, None)
    outs, window = check("weight", weight, None, None)
    check("bias", bias, outs)
    if window % channels:
        raise ShapeError(f"weight: expected a multiple of {channels} columns, found {window}")
    if stride < 1:
        raise ArgumentError(f"stride: expected at least 1, found {stride}")

    kernel = window // channels
    rows = lib.ee_stem_conv_f32_frames(frames, kernel, stride)
    out = np.empty((rows, outs), np.float32)
    weight = padded(weight)
    lib.ee_stem_conv_f32_c(pointer(out), pointer(x), pointer(weight), pointer(bias), frames,
                           channels, outs, kernel, stride, ops(), team())
    return out
