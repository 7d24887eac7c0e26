from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._arrays import check, pointer
from ._lib import ops


def glu(x: np.ndarray) -> np.ndarray:
    """See `ee_ref.ops.glu`."""
    rows, width = check("x", x, None, None)
    if width % 2:
        raise ShapeError(f"x: expected an even number of columns, found {width}")

    out = np.empty((rows, width // 2), np.float32)
    ops().glu(pointer(out), pointer(x), rows, width // 2)
    return out
