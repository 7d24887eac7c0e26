from __future__ import annotations

import numpy as np

from ._arrays import check, int8_rows, pointer
from ._lib import ops_qs8


def quantize_qs8(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `ee_ref.ops.quantize_qs8`; here x is (T, n)."""
    rows, ins = check("x", x, None, None)

    q, scale = int8_rows(rows, ins), np.empty(rows, np.float32)
    ops_qs8().quantize(pointer(q), pointer(scale), pointer(x), rows, ins, q.shape[1], ins)
    return q[:, :ins], scale
