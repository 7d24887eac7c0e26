from __future__ import annotations

import numpy as np

from ._arrays import check, pointer
from ._lib import ops


def silu(x: np.ndarray) -> np.ndarray:
    """See `ee_ref.ops.silu`."""
    check("x", x, None, None)

    out = np.empty_like(x)
    ops().silu(pointer(out), pointer(x), x.size)
    return out
