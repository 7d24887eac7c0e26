from __future__ import annotations

import numpy as np

from ._arrays import check, pointer
from ._lib import ops_qs8


def silu_qs8(x: np.ndarray) -> np.ndarray:
    """See `ee_ref.ops.silu_qs8`."""
    check("x", x, None, None)

    out = np.empty_like(x)
    ops_qs8().silu(pointer(out), pointer(x), x.size)
    return out
