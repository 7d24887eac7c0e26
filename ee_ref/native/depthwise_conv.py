from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._arrays import check, pointer
from ._lib import ops


def depthwise_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """See `ee_ref.ops.depthwise_conv`."""
    rows, dim = check("x", x, None, None)
    kernel, _ = check("weight", weight, None, dim)
    check("bias", bias, dim)
    if kernel % 2 == 0:
        raise ShapeError(f"weight: expected an odd number of taps, found {kernel}")

    out = np.empty_like(x)
    ops().depthwise_conv(pointer(out), pointer(x), pointer(weight), pointer(bias), rows, 0,
                         rows, dim, kernel, dim)
    return out
