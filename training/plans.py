"""Processes that draw batches as tables of pieces of clips; the samples stay on the device.

They know of a clip where it lies, how long it is and what is said, and use NumPy alone.
"""

from __future__ import annotations

import multiprocessing
import queue
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ee_ref.families.conformer import Config
from recipe_english import ROW_BLOCKS, Mix, Optimisation, row_samples
from words import COMMANDS, DIGITS

PIECE = ("start", "length", "at", "rate", "gain")
"""Columns of a table (R, K, 5), float64: first sample in the store and samples of a piece, where it
begins in the row, source samples a sample of the row, and its factor. Pieces of a row are in order
and do not overlap; `at` of an unused one is beyond the row."""

TIMEOUT = 180.0  # seconds without a batch after which the planners count as lost


class Plan(NamedTuple):
    """A batch: rows of 8 `blocks` encoder frames."""
    blocks: int
    table: np.ndarray       # (R, K, 5), see PIECE
    labels: np.ndarray      # of all rows, one after the other
    counts: list[int]       # labels of each row


class Clip(NamedTuple):
    start: int              # in the store
    length: int             # samples
    labels: list[int]
    active: tuple[int, int]  # samples: where the word is


class Row(NamedTuple):
    pieces: list[tuple[float, ...]]
    end: int                # samples
    labels: list[int]


class Planner:
    """Draws rows, sorts them by length and fills batches."""

    def __init__(self, config: Config, mix: Mix, opt: Optimisation,
                 encode: Callable[[str], list[int]], seed: Sequence[int]) -> None:
        self.config, self.mix, self.opt, self.encode = config, mix, opt, encode
        self.rng = np.random.default_rng(seed)
        self.words: dict[str, dict[str, list[Clip]]] = {}
        self.sentences: dict[str, list[Clip]] = {}
        self.seconds: dict[str, float] = {}
        self.synthetic: list[Clip] = []

    def add(self, start: int, clips: Sequence[dict[str, Any]]) -> None:
        """Clips whose samples begin at `start` of the store: a part of an index (packs.py)."""
        for clip in clips:
            length = clip["samples"]
            if length > self.mix.longest * self.config.sample_rate:
                continue
            own = Clip(start + clip["start"], length, self.encode(clip["text"]),
                       tuple(clip["active"]))
            if clip["kind"] == "synthetic":
                self.synthetic.append(own)
            elif clip["kind"] == "sentence" and clip["text"]:
                source = clip["source"]
                self.sentences.setdefault(source, []).append(own)
                self.seconds[source] = self.seconds.get(source, 0.0) + length
            elif clip["kind"] == "word":
                pool = self._pool(clip)
                self.words.setdefault(pool, {}).setdefault(clip["text"], []).append(own)

    @staticmethod
    def _pool(clip: dict[str, Any]) -> str:
        if not clip["text"]:
            return "silence"
        if clip["source"] == "wake-words":
            return "wake"
        return ("core" if clip["text"] in COMMANDS else
                "digits" if clip["text"] in DIGITS else "other")

    def _weighted(self, weights: dict[str, float]) -> str:
        share = np.array(list(weights.values()), float)
        return list(weights)[self.rng.choice(len(share), p=share / share.sum())]

    def _word(self, pool: str) -> Clip:
        """A clip of a pool; texts are equally likely."""
        texts = list(self.words[pool].values())
        same = texts[self.rng.integers(len(texts))]
        return same[self.rng.integers(len(same))]

    def _string(self) -> Row:
        rng, mix, second = self.rng, self.mix, self.config.sample_rate
        count = 1 if rng.random() < mix.single else int(rng.integers(2, mix.most_words + 1))
        raw = rng.random() < mix.raw
        rate = rng.uniform(*mix.rate)
        weights = {pool: weight for pool, weight in mix.pools.items() if pool in self.words}
        at = int(rng.uniform(0, 0.25) * second)
        pieces, labels = [], []
        for _ in range(count):
            clip = self._word(self._weighted(weights))
            first, last = 0, clip.length
            if not raw:
                margins = (mix.margin * second * rng.random(2) ** 1.5).astype(int)
                first = max(0, clip.active[0] - margins[0])
                last = min(clip.length, clip.active[1] + margins[1])
                if rng.random() < 0.5:
                    rate = rng.uniform(*mix.rate)
            gain = 10 ** (rng.uniform(-5, 5) / 20) if count > 1 else 1.0
            pieces.append((clip.start + first, last - first, at, rate, gain))
            at += int((last - first) / rate)
            end = at
            if not raw:
                at += int(rng.uniform(0, mix.gap) * second)
            labels += clip.labels
        return Row(pieces, end, labels)

    def _speech(self) -> Row:
        rng, mix, second = self.rng, self.mix, self.config.sample_rate
        real = not self.synthetic or (bool(self.sentences) and rng.random() < mix.real)
        if real:
            source = self._weighted({name: seconds * mix.sources.get(name, 1.0)
                                     for name, seconds in self.seconds.items()})
            clips = self.sentences[source]
        else:
            clips = self.synthetic
        rate = rng.uniform(*(mix.rate if real else mix.synthetic_rate))
        count = 1
        if rng.random() < mix.several:
            count = int(rng.integers(2, mix.most_sentences + 1))
        at = int(rng.uniform(0, 0.25) * second)
        pieces, labels, end = [], [], 0
        for _ in range(count):
            clip = clips[rng.integers(len(clips))]
            length = int(clip.length / rate)
            if pieces and at + length > mix.longest * second:
                break
            gain = 10 ** (rng.uniform(-3, 3) / 20) if count > 1 else 1.0
            pieces.append((clip.start, clip.length, at, rate, gain))
            end = at + length
            at = end + int(rng.uniform(0.05, 0.5) * second)
            labels += clip.labels
        return Row(pieces, end, labels)

    def row(self) -> Row:
        """One row, whose labels fit into its frames."""
        kind, mix = self.rng.random(), self.mix
        if kind < mix.strings and any(pool in self.words for pool in mix.pools):
            row = self._string()
        elif kind < mix.strings + mix.silence and "silence" in self.words:
            clip = self._word("silence")
            row = Row([(clip.start, clip.length, 0, 1.0, 1.0)], clip.length, [])
        else:
            row = self._speech()
        config = self.config
        inputs = 1 + (row.end + 2 * config.pad) // config.hop_length
        needed = len(row.labels) + sum(a == b for a, b in zip(row.labels, row.labels[1:]))
        return row if config.encoder_frames(inputs) > needed else self.row()

    def stream(self, longest: Callable[[], int]) -> Iterator[Plan]:
        """Endless batches; rows of more than `longest()` blocks are left out."""
        waiting: dict[int, list[Row]] = {blocks: [] for blocks in ROW_BLOCKS}
        lengths = {blocks: row_samples(blocks, self.config) for blocks in ROW_BLOCKS}
        while True:
            row = self.row()
            fits = [blocks for blocks in ROW_BLOCKS if lengths[blocks] >= row.end]
            if not fits or fits[0] > longest():
                continue
            blocks = fits[0]
            waiting[blocks].append(row)
            if len(waiting[blocks]) == rows_of(blocks, self.config, self.opt):
                yield self._plan(blocks, waiting[blocks], lengths[blocks])
                waiting[blocks] = []

    def _plan(self, blocks: int, rows: Sequence[Row], length: int) -> Plan:
        table = np.zeros((len(rows), self.mix.most_pieces, len(PIECE)))
        table[:, :, 2], table[:, :, 3] = 1e9, 1.0
        for own, row in zip(table, rows):
            own[:len(row.pieces)] = row.pieces
            own[:len(row.pieces), 2] += self.rng.integers(0, length - row.end + 1)
        labels = np.array([label for row in rows for label in row.labels], np.int32)
        return Plan(blocks, table, labels, [len(row.labels) for row in rows])


def rows_of(blocks: int, config: Config, opt: Optimisation) -> int:
    """Rows of a batch."""
    return max(1, int(opt.batch_seconds * config.sample_rate / (
        row_samples(blocks, config) + 2 * config.pad)))


@dataclass
class _Lost:
    why: str


class Planners:
    """`count` daemon processes that run `make(rank).stream()`."""

    def __init__(self, make: Callable[[int], Planner], count: int) -> None:
        context = multiprocessing.get_context("fork")
        self._plans: Any = context.Queue(maxsize=8 * count)
        self._clips = [context.SimpleQueue() for _ in range(count)]
        self._longest = context.Value("i", max(ROW_BLOCKS))
        self._processes = [
            context.Process(target=self._draw, args=(make, rank), daemon=True)
            for rank in range(count)]
        for process in self._processes:
            process.start()

    def _draw(self, make: Callable[[int], Planner], rank: int) -> None:
        try:
            planner = make(rank)
            planner.add(*self._clips[rank].get())
            for plan in planner.stream(lambda: self._longest.value):
                self._plans.put(plan)
                while not self._clips[rank].empty():
                    planner.add(*self._clips[rank].get())
        except Exception:
            self._plans.put(_Lost(traceback.format_exc()))

    def add(self, start: int, clips: Sequence[dict[str, Any]]) -> None:
        for clips_of in self._clips:
            clips_of.put((start, clips))

    def limit(self, blocks: int) -> None:
        """Draw no rows of more than so many blocks from now on."""
        self._longest.value = blocks

    def take(self) -> Plan:
        """Raises RuntimeError when no batch comes any more."""
        try:
            plan = self._plans.get(timeout=TIMEOUT)
        except queue.Empty:
            raise RuntimeError(f"no batch in {TIMEOUT:.0f} s: expected {len(self._processes)} "
                               "planners at work") from None
        if isinstance(plan, _Lost):
            raise RuntimeError(f"a planner failed: {plan.why}")
        return plan

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
