from __future__ import annotations

import numpy as np

from ._arrays import check, pointer
from ._lib import ops


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """See `ee_ref.ops.linear`."""
    rows, ins = check("x", x, None, None)
    outs, _ = check("weight", weight, None, ins)
    if bias is not None:
        check("bias", bias, outs)

    out = np.empty((rows, outs), np.float32)
    ops().linear(pointer(out), pointer(x), pointer(weight), pointer(bias), rows, ins, outs,
                 outs, ins, ins)
    return out
