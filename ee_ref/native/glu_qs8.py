from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ._arrays import check, pointer
from ._lib import ops_qs8


def glu_qs8(x: np.ndarray) -> np.ndarray:
    """See `ee_ref.ops.glu_qs8`."""
    rows, width = check("x", x, None, None)
    if width % 2:
        raise ShapeError(f"x: expected an even number of columns, found {width}")

    out = np.empty((rows, width // 2), np.float32)
    ops_qs8().glu(pointer(out), pointer(x), rows, width // 2)
    return out
