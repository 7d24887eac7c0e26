"""Clips in two files: NAME.npy, all samples (int16), and NAME.json, where each lies and what it is.

A pack is complete once its .json is there, so a trainer may take packs that others still write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ee_ref.errors import FileError

RATE = 16000
WORD_SOURCES = ("speech-commands", "wake-words")
"""Sources of words alone: their clips are joined to strings."""

Clip = dict[str, Any]
"""start, samples, text, speaker, source, kind ("sentence", "word" or "synthetic"), and active: the
first and last + 1 sample of the speech."""


def loud(level: np.ndarray) -> tuple[int, int]:
    """First and last frame of the speech by level (frames,), smoothed over five frames."""
    level = np.convolve(np.pad(level, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    floor, peak = np.quantile(level, 0.1), level.max()
    frames = np.flatnonzero(level >= floor + 0.3 * (peak - floor))
    return int(frames[0]), int(frames[-1])


def active_region(samples: np.ndarray) -> tuple[int, int]:
    """First and last + 1 sample of the speech in a short clip (N,), generous on both sides."""
    hop = RATE // 100
    frames = len(samples) // hop
    if not frames:
        return 0, len(samples)
    power = np.square(samples[:frames * hop].astype(np.float32).reshape(frames, hop)).mean(axis=1)
    first, last = loud(np.log(power + 10))
    return max(0, first - 6) * hop, min(len(samples), (last + 9) * hop)


def write(path: Path, recordings: Iterable[tuple[np.ndarray, dict[str, Any]]]) -> float:
    """Pack recordings ((N,) int16, a manifest line) as `path`.npy and .json; returns the hours.

    A line has text, speaker and source; the source "synthetic" is that of synthetic speech.
    """
    clips: list[Clip] = []
    parts: list[np.ndarray] = []
    start = 0
    for samples, line in recordings:
        source = line["source"]
        kind = ("word" if source in WORD_SOURCES else
                "synthetic" if source == "synthetic" else "sentence")
        active = active_region(samples) if kind == "word" else (0, len(samples))
        clips.append({"start": start, "samples": len(samples), "text": line["text"],
                      "speaker": line["speaker"], "source": source, "kind": kind,
                      "active": active})
        parts.append(samples)
        start += len(samples)
    _write(path.with_suffix(".npy"), lambda file: np.save(file, np.concatenate(parts)))
    _write(path.with_suffix(".json"), lambda file: file.write(json.dumps(clips).encode()))
    return start / RATE / 3600


def _write(path: Path, save: Any) -> None:
    temporary = path.with_suffix(f"{path.suffix}.tmp")
    with open(temporary, "wb") as file:
        save(file)
    os.replace(temporary, path)


def read(index: Path) -> tuple[np.ndarray, list[Clip]]:
    """The samples (mapped) and the clips of a pack named by its .json. Raises FileError."""
    samples, clips = np.load(index.with_suffix(".npy"), mmap_mode="r"), json.loads(
        index.read_text())
    end = max((clip["start"] + clip["samples"] for clip in clips), default=0)
    if end > len(samples):
        raise FileError(f"{index}: expected clips within the {len(samples)} samples of the pack, "
                        f"found one that ends at {end}")
    return samples, clips
