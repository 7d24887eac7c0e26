"""How frozen goldens are compared with what PyTorch gives again (tests/golden/make.py)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.make import differences, write_npz

VALUES = np.array([1000, 1, -1e-3, 0, -np.inf], np.float32)


@pytest.fixture
def frozen(tmp_path):
    path = tmp_path / "frozen.npz"
    write_npz(path, {"a": VALUES, "n": np.arange(3)})
    return path


def changed(index: int, value: float) -> np.ndarray:
    values = VALUES.copy()
    values[index] = value
    return values


@pytest.mark.parametrize("values", [
    VALUES, VALUES * np.float32(1 - 2**-24), changed(3, 9e-9), changed(2, -1e-3 + 9e-9),
], ids=["same", "other_rounding", "noise_beside_1000", "cancelled_terms"])
def test_rounding_of_another_cpu_is_no_difference(frozen, values):
    assert differences(frozen, {"a": values, "n": np.arange(3)}) == []


@pytest.mark.parametrize("arrays, message", [
    ({"a": changed(1, 1 + 3e-7)}, "frozen.npz: a: "),
    ({"a": changed(3, 1e-7)}, "frozen.npz: a: "),
    ({"a": changed(4, np.nan)}, "frozen.npz: a: "),
    ({"a": VALUES.astype(np.float64)}, "expected float64, found float32"),
    ({"a": VALUES, "n": np.arange(3) + 1}, "frozen.npz: n: "),
    ({"a": VALUES, "b": VALUES}, "frozen.npz: b is missing"),
    ({}, "frozen.npz: a is of no case"),
], ids=["value", "zero", "nan", "dtype", "integer", "missing", "left_over"])
def test_a_difference_is_named(frozen, arrays, message):
    found = differences(frozen, {"n": np.arange(3), **arrays})
    assert len(found) == 1 and message in found[0]
