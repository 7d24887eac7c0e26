"""The training clips as mel energies in memory, and the samples and batches drawn from them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

import augment
import packs
from corpora import Line
from ee_ref import audio
from ee_ref.frontend import plain
from packs import WORD_SOURCES
from recipe import FRAMES_PER_SECOND, MODEL, PAD_FRAMES, Augment, Mix, encode
from words import COMMANDS, DIGITS

Clip = dict[str, Any]
"""A line of the feature cache, with where its frames lie."""

READ_SOURCES = ("librispeech-dev-clean", "librispeech-train-clean-100", "librispeech-train-clean-5",
                "common-voice", "kathleen", "ljspeech", "speechocean762")

LENGTHS = tuple(round(40 * 1.1 ** step) for step in range(41))
"""Frames of a row in `Sampler.stream`: 0.4 to 18 s."""


def active_region(energies: np.ndarray) -> tuple[int, int]:
    """First and last + 1 frame of the speech in log-mel energies (T, mels), by level.

    Generous on both sides.
    """
    first, last = packs.loud(np.log(np.exp(energies[:, 4:]).sum(axis=1) + 1e-6))
    return max(0, first - 5), min(len(energies), last + 8)


def _energies(job: tuple[Line, float]) -> np.ndarray:
    """Log-mel energies (T, mels) of one (manifest line, speed)."""
    line, speed = job
    samples = audio.read(line["path"], MODEL.sample_rate)
    if speed != 1.0:
        ratio = Fraction(1 / speed).limit_denominator(20)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
    return plain.extract(samples, replace(MODEL, pad=0))  # batches pad, after joining clips


def build_cache(lines: Sequence[Line], folder: Path, speeds: Sequence[float]) -> None:
    """Compute the log-mel energies of all clips once into `folder`: features.npy and clips.json.

    Word clips (the sources that are not read sentences) get a resampled copy for every speed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(line, speed) for line in lines
            for speed in (speeds if line["source"] in WORD_SOURCES else (1.0,))]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        all_energies = list(pool.map(_energies, jobs, chunksize=32))
    clips, offset = [], 0
    for (line, speed), energies in zip(jobs, all_energies):
        start, end = active_region(energies)
        clips.append({
            "text": line["text"], "speaker": line["speaker"], "source": line["source"],
            "speed": speed, "offset": offset, "frames": len(energies), "start": start, "end": end})
        offset += len(energies)
    np.save(folder / "features.tmp.npy", np.concatenate(all_energies))
    os.replace(folder / "features.tmp.npy", folder / "features.npy")
    (folder / "clips.tmp").write_text(json.dumps(clips))
    # Last: its presence marks a complete cache.
    os.replace(folder / "clips.tmp", folder / "clips.json")


class Corpus:
    """The cached clips, sorted into pools."""

    def __init__(self, folder: Path, read_longest: float) -> None:
        self.features = np.load(folder / "features.npy", mmap_mode="r")
        clips = json.loads((folder / "clips.json").read_text())
        self.pools = {}
        self.speakers = {}
        for clip in clips:
            pool = self._pool(clip, read_longest)
            self.pools.setdefault(pool, {}).setdefault(clip["text"], []).append(clip)
            if pool in ("core", "other", "digits"):
                self.speakers.setdefault((clip["speaker"], clip["speed"]), []).append(clip)
        self.pools = {name: list(by_text.values()) for name, by_text in self.pools.items()}
        self.speakers = [own for own in self.speakers.values() if len(own) > 2]

    @staticmethod
    def _pool(clip: Clip, read_longest: float) -> str:
        text, source = clip["text"], clip["source"]
        if source in READ_SOURCES:
            return "read" if clip["frames"] <= read_longest * FRAMES_PER_SECOND else "too-long"
        if not text:
            return "silence"
        if source == "wake-words":
            return "wake"
        if source == "synth":
            words = text.split()
            if set(words) <= set(DIGITS):
                return "synth-digits" if len(words) == 1 else "digit-strings"
            return "synth"
        return "core" if text in COMMANDS else "digits" if text in DIGITS else "other"

    def energies(self, clip: Clip, start: int = 0, end: int | None = None) -> np.ndarray:
        """Log-mel energies of a clip or of frames of it (T, mels)."""
        end = clip["frames"] if end is None else end
        return self.features[clip["offset"] + start:clip["offset"] + end]

    def draw(self, pool: str, rng: np.random.Generator) -> Clip:
        """A clip of a pool; texts are equally likely, whatever the number of their clips."""
        same_text = self.pools[pool][rng.integers(len(self.pools[pool]))]
        return same_text[rng.integers(len(same_text))]


class Sampler:
    """Draws batches for one process. Two processes with different `rank` draw different samples."""

    def __init__(
        self, corpus: Corpus, batch_frames: int, pool_batches: int, seed: int, rank: int
    ) -> None:
        self.corpus, self.mix, self.changes = corpus, Mix(), Augment()
        self.batch_frames, self.pool_batches = batch_frames, pool_batches
        self.rng = np.random.default_rng([seed, rank])
        # The same in all processes, so that their steps match in length.
        self.order = np.random.default_rng(seed)
        weights = np.array(list(self.mix.pools.values()), float)
        self.pool_names, self.pool_weights = list(self.mix.pools), weights / weights.sum()

    def batches(self, progress: float) -> Iterator[tuple[torch.Tensor, list[list[int]]]]:
        """`pool_batches` batches (log_mel (B, T, mels), token lists) at a progress of 0..1."""
        samples: list[tuple[np.ndarray, str]] = []
        frames = 0
        while frames < self.batch_frames * self.pool_batches:
            power, text = self._sample(progress)
            samples.append((power, text))
            frames += len(power) + 2 * PAD_FRAMES
        samples.sort(key=lambda sample: len(sample[0]) * self.rng.uniform(0.97, 1.03))
        ends = np.cumsum([len(power) + 2 * PAD_FRAMES for power, _ in samples]) / frames
        batch_of = np.minimum(
            np.ceil(ends * self.pool_batches).astype(int) - 1, self.pool_batches - 1)
        for batch in self.order.permutation(self.pool_batches):
            chosen = [sample for sample, own in zip(samples, batch_of) if own == batch]
            if chosen:
                energies, targets = self._finish(chosen, max(len(power) for power, _ in chosen))
                yield torch.from_numpy(energies), targets

    def stream(
        self, progress: Callable[[], float]
    ) -> Iterator[tuple[np.ndarray, list[list[int]]]]:
        """Endless batches (log_mel (B, T, mels), token lists) whose shapes are a fixed few.

        A GPU is slow at shapes that it has not seen: T is one of `LENGTHS`, B follows from it.
        progress: a function that returns it, 0..1.
        """
        waiting: dict[int, list[tuple[np.ndarray, str]]] = {length: [] for length in LENGTHS}
        while True:
            power, text = self._sample(progress())
            if len(power) > LENGTHS[-1]:
                continue
            length = next(length for length in LENGTHS if length >= len(power))
            waiting[length].append((power, text))
            if len(waiting[length]) == max(1, self.batch_frames // (length + 2 * PAD_FRAMES)):
                yield self._finish(waiting[length], length)
                waiting[length] = []

    def _finish(
        self, samples: Sequence[tuple[np.ndarray, str]], longest: int
    ) -> tuple[np.ndarray, list[list[int]]]:
        """Fill the samples to one length with silence, then lay noise on them."""
        rows, targets = [], []
        for power, text in samples:
            before = self.rng.integers(longest - len(power) + 1)
            filled = np.pad(power, ((before, longest - len(power) - before), (0, 0)))
            rows.append(augment.finish(filled, self.rng, self.changes, self._background))
            targets.append(encode(text))
        return np.stack(rows), targets

    def _background(self, frames: int) -> tuple[np.ndarray, bool]:
        """Mel energies (frames, mels) of recorded background or of someone reading.

        And whether it is speech.
        """
        speech = bool(self.rng.random() < 0.4)
        clip = self.corpus.draw("read" if speech else "silence", self.rng)
        energies = np.exp(self.corpus.energies(clip))
        energies = np.tile(energies, (-(-frames // len(energies)) + 1, 1))
        start = self.rng.integers(len(energies) - frames + 1)
        return energies[start:start + frames], speech

    def _sample(self, progress: float) -> tuple[np.ndarray, str]:
        """One sample before filling and augmentation: mel energies (T, mels) and its text."""
        kind = self.rng.random()
        if kind < self.mix.read and progress >= self.mix.read_after:
            clips = [self.corpus.draw("read", self.rng)]
        elif kind < self.mix.read + self.mix.digit_strings:
            clips = [self.corpus.draw("digit-strings", self.rng)]
        elif kind < self.mix.read + self.mix.digit_strings + self.mix.silence:
            clips = [self.corpus.draw("silence", self.rng)]
        else:
            clips = self._words(1 + self.rng.choice(len(self.mix.clips), p=self.mix.clips))
        power = self._join(clips)
        text = " ".join(clip["text"] for clip in clips)
        tokens = encode(text)
        shortest = len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:]))
        if MODEL.encoder_frames(len(power) + 2 * PAD_FRAMES) <= shortest:
            return self._sample(progress)
        return power, text

    def _words(self, count: int) -> list[Clip]:
        if count > 1 and self.rng.random() < self.mix.one_speaker:
            own = self.corpus.speakers[self.rng.integers(len(self.corpus.speakers))]
            return [own[self.rng.integers(len(own))] for _ in range(count)]
        pools = self.rng.choice(self.pool_names, count, p=self.pool_weights)
        return [self.corpus.draw(pool, self.rng) for pool in pools]

    def _join(self, clips: Sequence[Clip]) -> np.ndarray:
        """The mel energies of clips, each warped and, unless raw, cut near its word."""
        rng, mix = self.rng, self.mix
        raw = rng.random() < mix.raw
        one_speaker = len({(clip["speaker"], clip["speed"]) for clip in clips}) == 1
        frequency = rng.uniform(*self.changes.frequency_warp)
        pieces = []
        for clip in clips:
            start, end = 0, clip["frames"]
            if not raw:
                margins = (mix.margin * FRAMES_PER_SECOND * rng.random(2) ** 1.5).astype(int)
                start, end = max(0, clip["start"] - margins[0]), min(end, clip["end"] + margins[1])
            if not one_speaker:
                frequency = rng.uniform(*self.changes.frequency_warp)
            time = rng.uniform(*self.changes.time_warp) if not raw or rng.random() < 0.5 else 1.0
            piece = np.exp(augment.warp(self.corpus.energies(clip, start, end), time, frequency))
            if pieces and not raw:
                piece *= 10 ** (rng.uniform(-5, 5) / 10)
                gap = rng.integers(mix.gap * FRAMES_PER_SECOND)
                pieces.append(np.zeros((gap, piece.shape[1]), np.float32))
            pieces.append(piece)
        return np.concatenate(pieces)
