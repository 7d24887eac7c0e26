from __future__ import annotations

import numpy as np

from ._arrays import check, pointer
from ._lib import ops


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.layer_norm`."""
    rows, dim = check("x", x, None, None)
    check("weight", weight, dim)
    check("bias", bias, dim)

    out = np.empty_like(x)
    ops().layer_norm(pointer(out), pointer(x), pointer(weight), pointer(bias), rows, dim, eps)
    return out
