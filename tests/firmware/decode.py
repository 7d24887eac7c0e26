"""Greedy decoding, exit scores and texts as firmware computes them (ee_decode.h, ee_exits.h)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ee_ref.native._arrays import check, pointer
from ee_ref.native._lib import ensure, ffi, lib, ops


def greedy(log_probs: np.ndarray, blank: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(tokens, frames) of `ee_ref.decode.greedy`. log_probs: (T, V) float32.

    Raises ArgumentError for NaN, values above 0 or a blank outside 0..V-1, ShapeError.
    """
    rows, vocab = check("log_probs", log_probs, None, None)
    tokens, count = ffi.new("ee_token[]", rows), ffi.new("size_t *")
    ensure(lib.ee_greedy(tokens, rows, count, pointer(log_probs), rows, vocab, blank))
    found = tokens[0 : count[0]]
    return tuple(item.token for item in found), tuple(item.frame for item in found)


def frame_entropy(log_probs: np.ndarray) -> float:
    """`ee_ref.exits.frame_entropy`. log_probs: (T, V) float32. Raises ArgumentError for NaN."""
    rows, vocab = check("log_probs", log_probs, None, None)
    entropy = ffi.new("float *")
    ensure(lib.ee_frame_entropy(entropy, pointer(log_probs), rows, vocab, ops()))
    return entropy[0]


def fixed(exit: int):
    """The policy `ee_ref.exits.Fixed(exit)` for `policy_stop`."""
    return ffi.new("ee_policy *", {"kind": lib.EE_POLICY_FIXED, "exit": exit})


def entropy(threshold: float):
    """The policy `ee_ref.exits.Entropy(threshold)` for `policy_stop`."""
    return ffi.new("ee_policy *", {"kind": lib.EE_POLICY_ENTROPY, "threshold": threshold})


def policy_stop(policy, exit: int, log_probs: np.ndarray) -> tuple[bool, float]:
    """(stop, score) at an exit with these log-probabilities (T, V) float32."""
    rows, vocab = check("log_probs", log_probs, None, None)
    stop, score = ffi.new("int *"), ffi.new("float *")
    ensure(lib.ee_policy_stop(policy, exit, pointer(log_probs), rows, vocab, stop, score,
                              ops()))
    return bool(stop[0]), score[0]


class Labels:
    """What each label adds to a text, for `text`: `ee_ref.flash_image.labels_of`."""

    def __init__(self, labels: Sequence[str]):
        encoded = [label.encode() for label in labels]
        self._ends = np.cumsum([len(label) for label in encoded], dtype=np.uint32)
        self._text = b"".join(encoded)
        self.handle = ffi.new("ee_labels *", {
            "vocab": len(encoded), "ends": ffi.from_buffer("uint32_t[]", self._ends),
            "text": ffi.from_buffer(self._text),
        })


def text(labels, tokens: Sequence[int]) -> str:
    """The words of `tokens`; labels: an `ee_labels *`. Raises ArgumentError for ids of no label."""
    items = ffi.new("ee_token[]", [{"token": token} for token in tokens])
    length = ffi.new("size_t *")
    status = lib.ee_text(ffi.NULL, 0, length, labels, items, len(tokens))
    if status != lib.EE_ERR_BUFFER_TOO_SMALL:
        ensure(status)
    buffer = ffi.new("char[]", length[0] + 1)
    ensure(lib.ee_text(buffer, len(buffer), length, labels, items, len(tokens)))
    return ffi.unpack(buffer, length[0]).decode()
