"""What a user of ee_ref may write, checked by mypy --strict and pyright (`.ci/types`), never run.

It holds every snippet of README.md and the docs, and what these and the docstrings say is possible.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

import ee_ref
from ee_ref.calibration import Calibrator, fit
from ee_ref.encoder import ExitOutput
from ee_ref.evaluation import figures, manifest, run
from ee_ref.exits import (
    AnyPolicy, Budget, Decision, Entropy, ExitLike, Fixed, Learned, Observation, Policy, Posterior,
    Threshold,
)
from ee_ref.exits import Deadline, FirstOf, Patience, Within


def to_use_it() -> None:
    model = ee_ref.load()
    result = model.transcribe("speech.wav")
    print(result.text, result.confidence)
    for word, start, end, confidence in result.words:
        print(f"{start:6.2f} {end:6.2f} {word} {confidence:.2f}")
    text: str = result.text
    seconds: float = result.timing["total"] + result.duration + result.words[0].start
    best: tuple[int, ...] = result.n_best[0].tokens
    print(text, seconds, best, result.exit, result.score, result.margin)


def every_kind_of_audio(samples: NDArray[np.float32], file: BinaryIO) -> list[str]:
    model = ee_ref.load(Path("model.gguf"), backend="numpy", threads=None)
    sources: list[ee_ref.model.Audio] = [
        "speech.wav", Path("speech.wav"), file, io.BytesIO(b""), samples,
        (samples, 16000),
        (samples.astype(np.int16), 16000)]
    return [model.transcribe(source).text for source in sources]


def say_what_may_be_said() -> None:
    model = ee_ref.load()
    phrases = ee_ref.phrases.load("commands.phrases")
    result = model.transcribe("speech.wav", phrases=phrases)
    result = ee_ref.load().transcribe("speech.wav", phrases=phrases)
    print(result.text, result.intent, result.slots)
    intent, slots = phrases.meaning(phrases.sentence(phrases.count - 1))
    level: str | int = slots["level"]
    number: int | None = phrases.number(["TURN", "ON"])
    graph = phrases.compile(model.tokens)
    print(intent, level, number, graph.states)
    decoder = model.phrase_decoder("commands.phrases")
    result = model.transcribe("speech.wav", phrases=decoder, policy=ee_ref.exits.Phrase(-0.5, 3))
    print(result.intent, result.slots, result.confidence)
    model.transcribe("speech.wav", phrases=model.phrase_decoder(phrases, filler=10))
    model.transcribe("speech.wav", phrases=Path("commands.phrases"), policy="phrases")


def choose_the_depth(samples: NDArray[np.float32]) -> None:
    model = ee_ref.load("model.gguf", threads=2)
    model.transcribe("speech.wav", exit=2)
    model.transcribe("speech.wav", policy=ee_ref.exits.Entropy(0.01))
    model.transcribe("speech.wav", policy=ee_ref.exits.Posterior(0.5))
    model.transcribe("speech.wav", policy="fast")
    for out in model.exits(model.features(samples)):
        print(out.exit, model.text(out.log_probs))
        if good_enough(out):
            break
    model.transcribe("speech.wav", policy=FirstOf(Deadline(0.03), Within(Patience(1), floor=2)))


def how_it_went(model: ee_ref.Model, samples: NDArray[np.float32]) -> float:
    run: ee_ref.model.Run = model.run(model.features(samples), Fixed(2), every=True)
    seconds: tuple[float, ...] = run.encoder_seconds
    best = [model.decode(out.log_probs).score for out in run.outputs]
    stop, score, margin = run.decision
    scores, greedy = run.measured[0]
    print(stop, greedy.best.tokens)
    return sum(seconds) + sum(best) + scores.entropy + score + margin


def good_enough(out: ExitOutput) -> bool:
    number: int = out.exit
    return number > 2 or bool(out.log_probs.max() > -0.1)


def many_utterances(paths: list[str]) -> None:
    model = ee_ref.load()
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(model.transcribe, paths):
            print(result.text)


def confident(out: Observation) -> Decision:
    margin = out.scores.least_confidence - 0.9
    return Decision(margin >= 0, out.scores.least_confidence, margin)


class Twice:
    """A policy that remembers something of an utterance."""

    def decide(self, at: Observation, state: int | None) -> tuple[Decision, int]:
        times = (state or 0) + (at.scores.path > 0.99)
        return Decision(times >= 2, times, times - 2), times


def at_the_third(out: ExitLike) -> tuple[bool, float]:
    return out.exit == 3, float(np.exp(out.log_probs.max(axis=1)).min(initial=1.0))


def policies_of_every_kind(model: ee_ref.Model) -> list[ee_ref.exits.AnyPolicy]:
    twice: Policy = Twice()
    found: list[AnyPolicy] = [
        twice, confident, at_the_third, lambda out: (out.exit == 2, 1.0), Fixed(2), Entropy(0.01),
        Posterior(0.5, n_best=5), Threshold("path", (0.9, None)), Threshold("agreement", 0.5),
        Learned([[0.0] * 7], [1.0]), Patience(), Deadline(0.03, reserve=0.002), Budget(3e7),
        Budget(3, costs=[1, 2, 4]), Within(at_the_third, ceiling=4), Within(Twice(), 2),
        FirstOf(Deadline(0.02), Twice(), at_the_third), *model.policies.values()]
    for policy in found:
        model.transcribe("speech.wav", policy=policy)
    for rule in (confident, Twice(), at_the_third):
        model.transcribe("speech.wav", None, rule)
    stored = ee_ref.exits.to_plain(Fixed(2))
    return [ee_ref.exits.from_plain(stored), model.policy(exit=2), model.policy(policy="fast")]


def decoders(log_probs: NDArray[np.float32]) -> None:
    model = ee_ref.load()
    beam = partial(ee_ref.decode.beam_search, beam_width=10, n_best=3, blank=model.config.blank)
    result = model.transcribe("speech.wav", decoder=beam)
    model.transcribe("speech.wav", decoder=ee_ref.decode.greedy)
    hypothesis = ee_ref.decode.greedy(log_probs, blank=0)
    frames: tuple[int, ...] = hypothesis.frames
    print(result.n_best[0].score, hypothesis.tokens, frames, hypothesis.score)
    for other in ee_ref.decode.beam_search(log_probs, top_tokens=4, token_threshold=8.0):
        print(model.tokens.text(other.tokens), len(model.tokens), model.tokens[0])


def scores(log_probs: NDArray[np.float32]) -> tuple[float, float, float]:
    posterior, per_token = ee_ref.exits.n_best_posterior(log_probs)
    return ee_ref.exits.frame_entropy(log_probs), posterior, per_token


def what_it_costs(model: ee_ref.Model) -> None:
    config = model.config
    print(config.exits, config.layers_per_exit, config.dim, config.heads, config.ff, config.kernel,
          config.vocab, config.mels, config.sample_rate, config.frontend, config.max_frames)
    print(model.info()["exits"][0]["parameters"])


def written(result: ee_ref.model.Result) -> str:
    return ee_ref.formats.render("srt", "speech.wav", result)


def errors() -> None:
    try:
        ee_ref.load("model.gguf").transcribe("speech.wav")
    except ee_ref.errors.TooLongError as error:
        print(error)
    except (ee_ref.EeError, ValueError):
        raise


def ops_and_kernels(x: NDArray[np.float32]) -> NDArray[np.float32]:
    weight = np.ones((4, x.shape[1]), np.float32)
    y: NDArray[np.float32] = ee_ref.ops.linear(x, weight, np.zeros(4, np.float32))
    z: NDArray[np.float32] = ee_ref.native.linear(y, weight, np.zeros(4, np.float32))
    return z


def words(model: ee_ref.Model) -> float:
    lm = ee_ref.decode.language_model.read("english")
    decoder = ee_ref.decode.WordDecoder(model.tokens, lm, hotwords=["ada lovelace"], n_best=5)
    result = model.transcribe("a.wav", decoder=decoder)
    parts = result.n_best[0].parts
    return 0.0 if parts is None else parts.acoustic + parts.language_model


def listening(model: ee_ref.Model, samples: NDArray[np.float32]) -> float:
    stream = model.stream()
    for event in stream.feed(samples):
        print(event.text if event.final else f"{event.text} ...")
    for event in stream.finish():
        print(event.text)
    decoder = model.attention_decoder(beam_width=8, n_best=4, ctc_weight=0.3)
    result = model.transcribe("a.wav", decoder=decoder)
    print(result.text)
    patient = ee_ref.stream.Endpoint(before=5.0, after=0.5, longest=30.0)
    events = model.stream("fast", "commands.phrases", endpoint=patient, rate=48000,
                          view=ee_ref.stream.Windows(64, 24, 16)).finish()
    return sum(event.end for event in events if event.intent is not None)


def what_is_an_error(model: ee_ref.Model) -> None:
    """Each line needs its comment, or what it calls takes anything."""
    model.transcribe("speech.wav", policy=3)  # type: ignore[arg-type]
    model.transcribe("speech.wav", exit="2")  # type: ignore[arg-type]
    model.transcribe(3)  # type: ignore[arg-type]
    model.transcribe("speech.wav", policy=good_enough)  # type: ignore[arg-type]
    model.transcribe("speech.wav").words[0].speaker  # type: ignore[attr-defined]
    model.features("speech.wav")  # type: ignore[arg-type]
    FirstOf(Deadline(0.03), "fast")  # type: ignore[arg-type]
    Within(2, floor=2)  # type: ignore[arg-type]
    ee_ref.load(threads="2")  # type: ignore[arg-type]
    ee_ref.transcribe  # type: ignore[attr-defined]


def evaluated(model: ee_ref.Model) -> None:
    recordings = manifest.read("test.jsonl")
    utterances = run.run(model, recordings, Fixed(2), threads=2)
    table = run.table(model, utterances, "plain")
    print(figures.figures(table, np.zeros(len(table), int))["wer"])
    found = Calibrator({"fast": "cost 0.5"}, own={"late": fit.cheapest(
        lambda table: [Within(Patience(n), floor=2) for n in (3, 2, 1)])})
    print(found.fit(table, table.ids).points_["fast"], found.curves_["late"])
