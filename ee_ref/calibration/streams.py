"""Fit the view of streams: the shortest wait that keeps the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..evaluation import run as runs
from ..evaluation import scoring
from ..evaluation.manifest import Recording
from ..exits.policy import as_policy
from ..model import Model
from ..stream import LIVE, LONG, Chunks, Windows

VIEWS: tuple[Windows | Chunks, ...] = (
    Chunks(16, 64), LIVE, Windows(96, 12, 12), Windows(96, 24, 16), Windows(64, 48, 16),
    Windows(64, 80, 32), LONG)
"""What is tried, as far as the model has it."""

_SILENCE = 0.3, 1.2  # seconds before each recording, evenly drawn
_SECONDS = 120.0  # of a joined recording, or a little more


def measure(
    model: Model, recordings: Sequence[Recording], normalise: str = "plain", threads: int = 1,
    progress: runs.Progress = lambda items, total: items, failed: runs.Failed | None = None,
) -> dict[str, Any]:
    """Word error rates of recordings one by one, and joined with silence, view by view.

    The order and the silence are drawn, always the same. Each view is measured with the policy that
    `Model.transcribe` takes by default, as one by one, and at the last exit. Gives `utterances`,
    `words`, `seconds` of audio when joined, `wer` [%] one by one, and `views`: of each its `view`
    and `policy`, the `seconds` for which a row waits at most, its `wer` and
    `multiply_accumulates` for a second. Raises ArgumentError for a model that has a view of its
    own, and for recordings without words.
    """
    if model.config.chunk:
        raise ArgumentError("streams: expected a model whose view can be chosen, found one with "
                            f"chunks of {model.config.chunk} rows")
    policy = as_policy(model.policy())

    def heard(recording: Recording) -> tuple[np.ndarray, str, str]:
        samples = runs.samples_of(recording, model)
        return samples, recording.text, model.transcribe(samples, policy=policy).text

    clips = runs.each(recordings, heard, threads, progress, failed)
    words, alone = _counted([(text, found) for _, text, found in clips], normalise)
    if not words:
        raise ArgumentError("calibration set: expected recordings with words, found none")
    rate = model.config.sample_rate
    parts = list(_joined([(samples, text) for samples, text, _ in clips], rate))
    seconds = sum(len(samples) for samples, _ in parts) / rate
    last = exits.Fixed(model.config.exits)
    rules = [policy] if policy == last else [policy, last]
    tried = [(view, rule) for view in _views(model) for rule in rules]
    views = []
    for view, rule in progress(tried, len(tried)):
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(partial(_streamed, model, view, rule),
                                  [samples for samples, _ in parts]))
        _, errors = _counted([(text, said) for (_, text), (said, _) in zip(parts, found)],
                             normalise)
        views.append({"view": asdict(view), "policy": exits.to_plain(rule),
                      "seconds": _waits(view) * model.config.frame_seconds,
                      "wer": 100 * errors / words,
                      "multiply_accumulates": sum(work for _, work in found) / seconds})
    return {"utterances": len(clips), "seconds": seconds, "words": words,
            "wer": 100 * alone / words, "views": views}


def stream_point(measured: dict[str, Any], share: float) -> dict[str, Any]:
    """The operating point `stream`: of the views with at most so many more errors than one by one,
    as a share of those, the one that waits least, of equals the one with the least work.

    Raises ArgumentError where no view keeps that.
    """
    most = measured["wer"] * (1 + share)
    kept = [view for view in measured["views"] if view["wer"] <= most + 1e-9]
    if not kept:
        least = min(view["wer"] for view in measured["views"])
        raise ArgumentError(f"streams: expected a view with at most {most:.2f} % of words wrong, "
                            f"found none with less than {least:.2f} %")
    best = min(kept, key=lambda view: (view["seconds"], view["multiply_accumulates"]))
    return {"policy": best["policy"], "view": best["view"], "target": f"x {1 + share:g}",
            "wer": round(best["wer"], 3), "full_wer": round(measured["wer"], 3),
            "seconds": round(best["seconds"], 3), "utterances": measured["utterances"]}


def _views(model: Model) -> list[Windows | Chunks]:
    """VIEWS, but for chunks that the model's family has not; windows no longer than it admits."""
    found: dict[Windows | Chunks, None] = {}
    for view in VIEWS:
        if isinstance(view, Windows):
            found[view.within(model.config.max_frames)] = None
            continue
        with suppress(ArgumentError):
            model.encoder_of(view)
            found[view] = None
    return list(found)


def _waits(view: Windows | Chunks) -> int:
    """Rows that may have to come before one is final."""
    return view.chunk if isinstance(view, Chunks) else view.hop + view.ahead


def _joined(clips: Sequence[tuple[np.ndarray, str]], rate: int
            ) -> Iterator[tuple[np.ndarray, str]]:
    """Recordings of about _SECONDS, each of several clips in drawn order with silence between."""
    draw = np.random.default_rng(1)
    parts: list[np.ndarray] = []
    texts: list[str] = []
    order = draw.permutation(len(clips))
    for number in order:
        samples, text = clips[number]
        silence = np.zeros(int(rate * draw.uniform(*_SILENCE)), np.float32)
        parts += [silence, samples]
        texts.append(text)
        if sum(map(len, parts)) >= _SECONDS * rate or number == order[-1]:
            yield np.concatenate(parts), " ".join(texts)
            parts, texts = [], []


def _streamed(model: Model, view: Windows | Chunks, policy: exits.Policy, samples: np.ndarray
              ) -> tuple[str, int]:
    stream = model.stream(policy, view=view)
    events = stream.feed(samples) + stream.finish()
    return (" ".join(event.text for event in events if event.final),
            stream.work.multiply_accumulates)


def _counted(pairs: Sequence[tuple[str, str]], normalise: str) -> tuple[int, int]:
    """Words of the first of each pair, and word errors of the second."""
    counted = [scoring.count([said], [found], normalise)[0] for said, found in pairs]
    return (sum(errors.reference_words for errors in counted),
            sum(errors.words for errors in counted))
