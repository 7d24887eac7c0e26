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

from plans import active_region

WORD_SOURCES = ("speech-commands", "wake-words")

Clip = dict[str, Any]
"""start, samples, text, speaker, source, kind ("sentence", "word" or "synthetic"), active."""


def write(path: Path, recordings: Iterable[tuple[np.ndarray, dict[str, Any]]]) -> float:
    """Pack recordings ((N,) int16, a manifest line) as `path`.npy and .json; returns the hours.

    A line has text, speaker and source.
    """
    clips: list[Clip] = []
    parts: list[np.ndarray] = []
    start = 0
    for samples, line in recordings:
        word = line["source"] in WORD_SOURCES
        kind = "word" if word else "synthetic" if line["source"] == "synthetic" else "sentence"
        active = active_region(samples) if word else (0, len(samples))
        clips.append({"start": start, "samples": len(samples), "text": line["text"],
                      "speaker": line["speaker"], "source": line["source"], "kind": kind,
                      "active": active})
        parts.append(samples)
        start += len(samples)
    for suffix, save in ((".npy", lambda file: np.save(file, np.concatenate(parts))),
                         (".json", lambda file: file.write(json.dumps(clips).encode()))):
        temporary = path.with_suffix(suffix + ".tmp")
        with open(temporary, "wb") as file:
            save(file)
        os.replace(temporary, path.with_suffix(suffix))
    return start / 16000 / 3600


def read(index: Path) -> tuple[np.ndarray, list[Clip]]:
    """The samples (mapped) and the clips of a pack named by its .json."""
    return np.load(index.with_suffix(".npy"), mmap_mode="r"), json.loads(index.read_text())
