"""The SHA-256 of the conformance suite's manifest, frozen: it changes with any byte of a vector.

Where vectors change that were released, the version in ee_ref/conformance/suite.py has to as well.
Reads the goldens of `ops` and `suite`, which are made before it. Needs no torch.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ee_ref.conformance import manifest
from ee_ref.conformance.suite import suite


def generate() -> dict[str, np.ndarray]:
    """`version/N` -> the digest of version N."""
    vectors = manifest.computed(suite())
    digest = hashlib.sha256(manifest.files(vectors)["manifest.json"]).digest()
    return {f"version/{vectors.version}": np.frombuffer(digest, np.uint8)}
