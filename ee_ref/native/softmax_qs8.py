from __future__ import annotations

import numpy as np

from ._arrays import check, int8_rows, pointer
from ._lib import ops_qs8


def softmax_qs8(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `ee_ref.ops.softmax_qs8`; here x is (T, D)."""
    rows, dim = check("x", x, None, None)

    high, low = int8_rows(rows, dim), int8_rows(rows, dim)
    inverse = np.empty(rows, np.float32)
    ops_qs8().softmax(pointer(high), pointer(low), pointer(inverse), pointer(x), rows, dim,
                      high.shape[1])
    return high[:, :dim], low[:, :dim], inverse
