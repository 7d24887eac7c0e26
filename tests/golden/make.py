"""Regenerate every golden file from PyTorch, or check that they are what PyTorch says.

    python tests/golden/make.py             write the files
    python tests/golden/make.py ops model   write only these
    python tests/golden/make.py --check     write nothing, exit 1 when a value differs

Each `gen_NAME.py` beside this file has `generate() -> dict[str, ndarray]`, which is written to
`NAME.npz`, here or in ee_ref/conformance/golden. Needs torch, torchaudio and for wav2vec2
transformers; the tests need none of them, they read the files. The same values give the same bytes,
so a file changes only when the values do.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CONFORMANCE_GOLDEN = HERE.parent.parent / "ee_ref" / "conformance" / "golden"
PACKAGED = ("ops", "suite")
"""Goldens that the conformance suite needs too: they lie in the package."""

ONE_ROUNDING = 2.0**-23
"""How far two roundings to float32 of one value may be apart, relative to it."""

DOUBLE_NOISE = 1e-11
"""How far double precision may be away on another CPU, where libraries sum in another order:
relative to the largest value of an array, since terms that cancel leave the noise of large ones. It
is 2**-53 for one operation, of which long sums and twelve layers add up some thousands."""

OF_THIS_CPU = "_distance"
"""Arrays whose names end so say how PyTorch rounds on the CPU that ran it, and are not compared."""


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`numpy.savez_compressed` without the time of day in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED)


def differences(path: Path, arrays: dict[str, np.ndarray]) -> list[str]:
    """What is in a golden file and should not be, one line each."""
    with np.load(path) as archive:
        frozen = dict(archive)
    found = [f"{path.name}: {name} is missing" for name in sorted(arrays.keys() - frozen)]
    found += [f"{path.name}: {name} is of no case" for name in sorted(frozen.keys() - arrays)]
    for name in sorted(frozen.keys() & arrays):
        if name.endswith(OF_THIS_CPU):
            continue
        try:
            assert_same(frozen[name], np.ascontiguousarray(arrays[name]))
        except AssertionError as error:
            found.append(f"{path.name}: {name}: {' '.join(str(error).split())}")
    return found


def assert_same(frozen: np.ndarray, again: np.ndarray) -> None:
    """AssertionError unless of one shape and dtype, and equal but for rounding."""
    if frozen.dtype.kind == "f":
        noise = DOUBLE_NOISE * np.abs(again[np.isfinite(again)]).max(initial=0)
        np.testing.assert_allclose(frozen, again, rtol=ONE_ROUNDING, atol=noise)
    else:
        np.testing.assert_array_equal(frozen, again)
    assert frozen.dtype == again.dtype, f"expected {again.dtype}, found {frozen.dtype}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="gen_NAME.py; default: all")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    options = parser.parse_args()

    sys.path.insert(0, str(HERE.parent.parent))
    known = [source.stem.removeprefix("gen_") for source in sorted(HERE.glob("gen_*.py"))]
    if unknown := set(options.names) - set(known):
        parser.error(f"expected names of {known}, found {sorted(unknown)}")
    found = []
    for name in options.names or known:
        arrays = importlib.import_module(f"tests.golden.gen_{name}").generate()
        path = (CONFORMANCE_GOLDEN if name in PACKAGED else HERE) / f"{name}.npz"
        if options.check:
            found += differences(path, arrays)
        else:
            write_npz(path, arrays)
        print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes", file=sys.stderr)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
