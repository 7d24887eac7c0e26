"""Run a model over recordings: every exit of each, and the policy on its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import audio, exits, formats
from ..clock import StageClock
from ..errors import EeError
from ..exits.attention import ATTENTION_SCORES
from ..exits.phrase import PHRASE_SCORES
from ..exits.scores import POSTERIORS
from ..loading import thread_count
from ..model import Model, Result, attends
from ..phrase_decoder import Heard, PhraseDecoder
from . import scoring
from .manifest import Recording

if TYPE_CHECKING:
    from ..model import AnyDecoder

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iteration over (items, their number)."""

Failed = Callable[[Recording, EeError], None]

Spread = Callable[[Callable[[T], R], Sequence[T], Sequence[float]], Iterable[tuple[int, R]]]
"""(function, items, about how many seconds each is) -> (number of an item, what the function gives
for it), in any order: `here`, or `cluster.Cluster.map`."""


def here(threads: int | None = 1) -> Spread:
    """Items in order, so many side by side. None takes EE_REF_THREADS, or 1.

    Raises ArgumentError for another number of threads.
    """
    threads = thread_count(threads)

    def spread(function: Callable[[T], R], items: Sequence[T], seconds: Sequence[float]
               ) -> Iterator[tuple[int, R]]:
        if threads == 1:
            yield from enumerate(map(function, items))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            yield from enumerate(pool.map(function, items))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return spread


@dataclass(frozen=True)
class Tried:
    """`one`, which gives its EeError instead of raising it where errors are kept."""

    one: Callable[[Any], Any]
    keeps: bool = True

    def __call__(self, item: Any) -> Any:
        try:
            return self.one(item)
        except EeError as error:
            if self.keeps:
                return error
            raise


def each(
    recordings: Sequence[Recording],
    one: Callable[[Recording], T],
    threads: int | None = 1,
    progress: Progress = lambda items, total: items,
    failed: Failed | None = None,
    spread: Spread | None = None,
) -> list[T]:
    """What `one` gives for each recording, in order.

    threads: as of `here`. failed: called for each recording for which `one` raised an EeError, and
    which is then left out; without it the first such error is raised. spread: runs `one` elsewhere,
    which then has to be pickled; `threads` counts for nothing. Raises ArgumentError for another
    number of threads, and what `spread` raises.
    """
    found: dict[int, T] = {}
    outcomes = (spread or here(threads))(
        Tried(one, failed is not None), recordings, [seconds_of(each) for each in recordings])
    for number, outcome in progress(outcomes, len(recordings)):
        if not isinstance(outcome, EeError):
            found[number] = outcome
        elif failed is not None:
            failed(recordings[number], outcome)
    return [found[number] for number in sorted(found)]


def seconds_of(recording: Recording) -> float:
    """About how long it is: what its manifest says, or the size of its file."""
    said = recording.fields.get("seconds")
    if isinstance(said, (int, float)) and 0 <= said < math.inf:
        return float(said)
    return audio.rough_seconds(recording.path)


def samples_of(recording: Recording, model: Model) -> np.ndarray:
    """The samples of a recording, at the rate of a model. Raises as `audio.read` does."""
    return audio.read(recording.path, model.config.sample_rate, model.config.max_seconds)


@dataclass(frozen=True)
class Measurement:
    """All exits of one recording, and the choice of a policy.

    texts, times, costs: one entry an exit: its text, greedy, of the decoder given or of `heard`;
    CPU seconds of the calling thread and multiply-accumulates of the encoder up to it. scores:
    `exits.Scores` of each exit; posteriors: (posterior, posterior per token) of each, empty when
    not asked for. attention: `exits.ATTENTION_SCORES` of each, empty without attention decoders.
    heard: the phrases of each, empty where none were given. seconds: of audio.
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
    attention: tuple[dict[str, float], ...] = ()
    heard: tuple[Heard, ...] = ()
    exit: int = 0
    text: str = ""
    seconds_used: float = 0.0
    score_seconds: float = 0.0


def run(
    model: Model,
    recordings: Sequence[Recording],
    policy: exits.AnyPolicy | None = None,
    *,
    posteriors: bool = False,
    phrases: PhraseDecoder | None = None,
    decoder: AnyDecoder | None = None,
    **how: Any,
) -> list[Measurement]:
    """`Measurement` of each recording, in order.

    policy: also run on its own, from the first layer again, so that its times include nothing else.
    posteriors: measure these too, by a beam search at every exit. phrases: all that may be said.
    decoder: as `Model.transcribe` takes it, in place of greedy decoding.
    how: threads, progress, failed and spread of `each`.
    Raises AudioError, AudioFileError or TooLongError of a recording, ArgumentError.
    """
    one = partial(_measured, model, policy, posteriors, phrases, decoder)
    return each(recordings, one, **how)


def _measured(model: Model, policy: exits.AnyPolicy | None, posteriors: bool,
              phrases: PhraseDecoder | None, decoder: AnyDecoder | None, recording: Recording
              ) -> Measurement:
    config = model.config
    samples = samples_of(recording, model)
    features = model.features(samples)
    whole = model.run(features, every=True, clock=StageClock(time.thread_time))
    heard = tuple(phrases(out.log_probs) for out in whole.outputs) if phrases else ()
    if heard:
        texts = tuple(found.text for found in heard)
    elif attends(decoder):
        texts = tuple(model.tokens.text(decoder(out, len(features))[0].tokens)
                      for out in whole.outputs)
    elif decoder is None and whole.every_attended:
        texts = tuple(model.tokens.text(attended.hypotheses[0].tokens)
                      for attended in whole.every_attended)
    elif decoder is not None:
        texts = tuple(model.text(out.log_probs, decoder) for out in whole.outputs)
    else:
        texts = tuple(model.tokens.text(greedy.best.tokens) for _, greedy in whole.measured)
    chosen: dict[str, Any] = {}
    if policy is not None:
        alone = model.run(features, policy, phrases=phrases, clock=StageClock(time.thread_time))
        in_rule = sum(alone.rule_seconds)
        chosen = {"exit": alone.out.exit, "text": texts[alone.out.exit - 1],
                  "seconds_used": sum(alone.encoder_seconds) + in_rule, "score_seconds": in_rule}
    return Measurement(
        recording, len(samples) / config.sample_rate, texts,
        times=tuple(accumulate(whole.encoder_seconds)),
        costs=config.costs(len(features)),
        scores=tuple(scores for scores, _ in whole.measured),
        posteriors=tuple(exits.n_best_posterior(out.log_probs, blank=config.blank)
                         for out in whole.outputs if posteriors),
        attention=tuple({name: attended.score(name) for name in ATTENTION_SCORES}
                        for attended in whole.every_attended),
        heard=heard, **chosen)


def rendered(
    model: Model,
    recordings: Sequence[Recording],
    format: str,
    policy: exits.AnyPolicy | None = None,
    phrases: PhraseDecoder | None = None,
    decoder: AnyDecoder | None = None,
    **how: Any,
) -> list[str]:
    """The transcription of each recording, in order, as text of a format: ctm or trn.

    policy: None is the last exit. phrases, decoder: as `run` takes them. how: threads, progress,
    failed and spread of `each`.
    Raises as `run` does, and ArgumentError for recordings that one file cannot tell apart.
    """
    formats.refuse_shared_ids(format, (
        (repr(recording.id), formats.cleaned_id(recording.id)) for recording in recordings))
    if policy is None:
        policy = exits.Fixed(model.config.exits)

    heard = partial(model.transcribe, policy=policy, decoder=decoder, phrases=phrases)
    return each(recordings, partial(_rendered, heard, format), **how)


def _rendered(heard: Callable[[Path], Result], format: str, recording: Recording) -> str:
    return formats.render(format, recording.id, heard(recording.path), id=recording.id)


@dataclass(frozen=True)
class Table:
    """Measurements as arrays: n utterances, K exits.

    word_errors, character_errors (n, K) int; words, characters (n,) of the references; seconds (n,)
    of audio; layers (K,) up to each exit; costs, times (n, K) up to each exit; scores: name ->
    (n, K), of the fields of `exits.Scores` and, where they were measured, the two posteriors, those
    of attention decoders and those of phrases.
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

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, which: np.ndarray) -> Table:
        """The utterances `which`, indices or a mask."""
        arrays = {name: getattr(self, name)[which] for name in (
            "word_errors", "character_errors", "words", "characters", "seconds", "costs", "times")}
        return replace(self, ids=tuple(np.array(self.ids, object)[which]), **arrays,
                       scores={name: array[which] for name, array in self.scores.items()})


def table(model: Model, utterances: Sequence[Measurement], normalise: str) -> Table:
    """The measurements of `run` with errors counted. Raises as `scoring.count` does."""
    counted = [scoring.count([u.recording.text] * len(u.texts), u.texts, normalise)
               for u in utterances]
    errors = np.array(counted, np.int64)  # (n, K, 4)
    measured = np.array([[s + p for s, p in zip_longest(u.scores, u.posteriors, fillvalue=())]
                         for u in utterances], float)  # (n, K, scores)
    names = exits.Scores._fields + POSTERIORS
    of_attention = {name: np.array([[scores[name] for scores in u.attention] for u in utterances])
                    for name in ATTENTION_SCORES if utterances[0].attention}
    of_phrases = {name: np.array([[getattr(heard.scores, field) for heard in u.heard]
                                  for u in utterances])
                  for name, field in PHRASE_SCORES.items() if utterances[0].heard}
    return Table(
        ids=tuple(u.recording.id for u in utterances),
        word_errors=errors[..., 0], character_errors=errors[..., 1],
        words=errors[:, 0, 2], characters=errors[:, 0, 3],
        seconds=np.array([u.seconds for u in utterances]),
        layers=np.cumsum(model.config.layers_per_exit),
        costs=np.array([u.costs for u in utterances], float),
        times=np.array([u.times for u in utterances]),
        scores={name: measured[..., number] for number, name
                in enumerate(names[: measured.shape[-1]])} | of_attention | of_phrases,
    )
