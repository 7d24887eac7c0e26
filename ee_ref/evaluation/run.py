"""Run a model over recordings: every exit of each, then the policy on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import audio, decode, exits, formats
from ..errors import EeError
from ..plan import frame_costs
from ..loading import thread_count
from ..model import Model
from . import scoring
from .manifest import Recording


@dataclass(frozen=True)
class Utterance:
    """All exits of one recording, and the choice of a policy.

    texts, times, costs: one entry an exit: its greedy text; CPU seconds of the calling thread and
    multiply-accumulates of the encoder up to it. scores: `exits.Scores` of each exit; posteriors:
    (posterior, posterior per token) of each, empty when not asked for. seconds: of audio.
    exit, text, seconds_used, score_seconds: of the policy, run on its own: the exit that it chose,
    the text there, the CPU seconds of encoder and rule together, and those of the rule alone; 0 and
    "" without a policy.
    """

    recording: Recording
    seconds: float
    texts: tuple[str, ...]
    times: tuple[float, ...]
    costs: tuple[int, ...]
    scores: tuple[exits.Scores, ...]
    posteriors: tuple[tuple[float, float], ...] = ()
    exit: int = 0
    text: str = ""
    seconds_used: float = 0.0
    score_seconds: float = 0.0
    result: str = ""


def run(
    model: Model,
    recordings: Sequence[Recording],
    policy: exits.AnyPolicy | None = None,
    *,
    posteriors: bool = False,
    threads: int | None = 1,
    render: str | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
    failed: Callable[[Recording, EeError], None] | None = None,
) -> list[Utterance]:
    """`Utterance` of each recording, in order.

    policy: also run on its own, from the first layer again, so that its times include nothing else.
    threads: how many recordings run side by side; None takes EE_REF_THREADS, or 1. render: ctm or
    trn, put into `result`: of the policy's transcription, without one of the last exit's.
    progress: wraps the iteration over (items, total). failed: called for each recording that cannot
    be used, which is then left out; without it the first such error is raised.
    Raises AudioError, AudioFileError or TooLongError of a recording, ArgumentError.
    """
    threads = thread_count(threads)
    if render is not None:
        formats.refuse_shared_ids(render, (
            (repr(recording.id), formats.cleaned_id(recording.id)) for recording in recordings))

    def one(recording: Recording) -> Utterance | EeError:
        try:
            return _one(model, recording, policy, posteriors, render)
        except EeError as error:
            if failed is None:
                raise
            return error

    def kept(outcomes: Iterable[Utterance | EeError]) -> list[Utterance]:
        found = []
        # The outcomes first: so they are asked for an end, and whatever shows progress sees it.
        for outcome, recording in zip(progress(outcomes, len(recordings)), recordings):
            if isinstance(outcome, EeError):
                failed(recording, outcome)
            else:
                found.append(outcome)
        return found

    if threads == 1:
        return kept(map(one, recordings))
    pool = ThreadPoolExecutor(threads)
    try:
        return kept(pool.map(one, recordings))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(model: Model, recording: Recording, policy: exits.AnyPolicy | None, posteriors: bool,
         render: str | None) -> Utterance:
    samples = audio.read(recording.path, model.config.sample_rate, model.config.max_seconds)
    features = model.features(samples)
    utterance = model.utterance(len(features))
    texts, times, scores, n_best = [], [], [], []
    spent, last = 0.0, time.thread_time()
    for out in model.exits(features):
        spent += time.thread_time() - last
        times.append(spent)
        scores.append(utterance.scores(out))
        texts.append(_text(model, out.log_probs))
        if posteriors:
            n_best.append(exits.n_best_posterior(out.log_probs, blank=model.config.blank))
        last = time.thread_time()
    chosen: dict[str, Any] = {}
    if policy is not None:
        chosen = _follow(model, features, policy)
    if render is not None:
        result = model.transcribe((samples, model.config.sample_rate), policy=policy,
                                  exit=None if policy else model.config.exits)
        chosen["result"] = formats.render(render, recording.id, result, id=recording.id)
    return Utterance(
        recording, len(samples) / model.config.sample_rate, tuple(texts), tuple(times),
        frame_costs(model.config, len(features)), tuple(scores), tuple(n_best), **chosen)


def _follow(model: Model, features: np.ndarray, policy: exits.AnyPolicy) -> dict[str, Any]:
    """What `Model.transcribe` does between features and text, with its times."""
    in_rule = 0.0
    begun = time.thread_time()
    rule = exits.begin(policy, model.utterance(len(features)))
    in_rule += time.thread_time() - begun
    for out in model.exits(features):
        before = time.thread_time()
        stop, _ = rule(out)
        in_rule += time.thread_time() - before
        if stop:
            break
    used = time.thread_time() - begun
    return {"exit": out.exit, "text": _text(model, out.log_probs), "seconds_used": used,
            "score_seconds": in_rule}


def _text(model: Model, log_probs: np.ndarray) -> str:
    return model.tokens.text(decode.greedy(log_probs, model.config.blank).tokens)


@dataclass(frozen=True)
class Table:
    """Measurements as arrays: n utterances, K exits.

    word_errors, character_errors (n, K) int; words, characters (n,) of the references; seconds (n,)
    of audio; layers (K,) up to each exit; costs, times (n, K) up to each exit; scores: name ->
    (n, K); features (n, K, len(exits.FEATURES)). cache: what fits keep between prices.
    """

    ids: tuple[str, ...]
    word_errors: np.ndarray
    character_errors: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    seconds: np.ndarray
    layers: np.ndarray
    costs: np.ndarray
    times: np.ndarray
    scores: dict[str, np.ndarray]
    features: np.ndarray
    cache: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, which: np.ndarray) -> "Table":
        """The utterances `which`, indices or a mask."""
        def cut(value):
            if isinstance(value, dict):
                return {name: array[which] for name, array in value.items()}
            return value[which]

        whole = {name: cut(getattr(self, name)) for name in (
            "word_errors", "character_errors", "words", "characters", "seconds", "costs", "times",
            "scores", "features")}
        return Table(ids=tuple(np.array(self.ids, object)[which]), layers=self.layers, **whole)


def table(model: Model, utterances: Sequence[Utterance], normalise: str) -> Table:
    """The measurements of `run` with errors counted. Raises as `scoring.count` does."""
    counted = [scoring.count([u.recording.text] * len(u.texts), u.texts, normalise)
               for u in utterances]
    errors = np.array(counted, np.int64)  # (n, K, 4)
    names = [name for name in exits.SCORES if not name.startswith("posterior")]
    scores = {name: np.array([[getattr(s, name) for s in u.scores] for u in utterances])
              for name in names}
    if utterances and utterances[0].posteriors:
        for number, name in enumerate(("posterior", "posterior_per_token")):
            scores[name] = np.array([[p[number] for p in u.posteriors] for u in utterances])
    return Table(
        ids=tuple(u.recording.id for u in utterances),
        word_errors=errors[..., 0], character_errors=errors[..., 1],
        words=errors[:, 0, 2], characters=errors[:, 0, 3],
        seconds=np.array([u.seconds for u in utterances]),
        layers=np.cumsum(model.config.layers_per_exit),
        costs=np.array([u.costs for u in utterances], float),
        times=np.array([u.times for u in utterances]),
        scores=scores,
        features=np.array([[exits.features_of(s) for s in u.scores] for u in utterances]),
    )
