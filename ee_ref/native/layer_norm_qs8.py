from __future__ import annotations

import numpy as np

from ._arrays import check, pointer
from ._lib import ops_qs8


def layer_norm_qs8(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """See `ee_ref.ops.layer_norm_qs8`."""
    rows, dim = check("x", x, None, None)
    check("weight", weight, dim)
    check("bias", bias, dim)

    out = np.empty_like(x)
    ops_qs8().layer_norm(pointer(out), pointer(x), pointer(weight), pointer(bias), rows, dim, eps)
    return out
