"""One utterance, from audio to words.

    audio -> features -> stem -> [group -> head -> policy]* -> decode -> words

Read `Model.transcribe` from top to bottom: each stage is one call into the module of that name, and
no stage knows another.
"""

from __future__ import annotations

import os
import time
import warnings
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np

from . import model_file
from . import audio as audio_stage
from . import decode, encoder, exits
from .config import Config
from .errors import ArgumentError, EeWarning, ModelFileError, NativeUnavailable, shown
from .exits import AnyPolicy, Policy, Scores, Utterance
from .frontend import FrontEnd, front_end
from .info import frame_costs
from .tokens import Tokens, Word

Audio = Union[str, Path, BinaryIO, np.ndarray, tuple[np.ndarray, int]]
Decoder = Callable[[np.ndarray], Union[decode.Hypothesis, Sequence[decode.Hypothesis]]]

BACKENDS = ("native", "numpy")
MAX_THREADS = 256
"""EE_MAX_WORKERS of the C library."""

DEFAULT_POLICY = "balanced"
"""Operating point that `Model.transcribe` uses when it is given neither exit nor policy."""


@dataclass(frozen=True)
class Alternative:
    """One hypothesis of the decoder: its text, its score (natural log) and its token ids."""

    text: str
    score: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """What `Model.transcribe` returns.

    text: the words, separated by spaces.
    exit: the exit, 1-based, whose log-probabilities were decoded; score: the policy's score there;
    margin: how far the score lies past the policy's threshold, in the score's own units; negative
    when the last exit was reached without the policy asking to stop.
    confidence: least word confidence, in [0, 1] (docs/decoding.md); 1.0 for an empty transcript.
    words: `Word(word, start, end, confidence)`, times in seconds of the audio given.
    n_best: the decoder's hypotheses, best first.
    timing: seconds spent by stage, and their `total`.
    duration: seconds of audio.
    """

    text: str
    exit: int
    score: float
    margin: float
    confidence: float
    words: list[Word]
    n_best: list[Alternative]
    timing: dict[str, float] = field(compare=False)
    duration: float


class Model:
    """A loaded model. Made by `load`.

    config: `ee_ref.config.Config`; tokens: the CTC labels, a sequence of strings;
    backend: "native" or "numpy", the one in use. threads: see `load`.

    Any number of threads may use a model at once; C runs without the interpreter's lock. A copy, by
    `pickle` or `copy`, is loaded from the same file again, which has to be there still.
    """

    def __init__(self, file: model_file.ModelFile, backend: str, threads: int = 1) -> None:
        self.config: Config = file.config
        self.tokens = Tokens(file.tokens, file.special, file.config.blank)
        self.backend = backend
        self.file = file
        self.threads = threads
        self._encoder: encoder.Encoder = (
            encoder.NativeEncoder(file.config, file.tensors, threads) if backend == "native"
            else encoder.ReferenceEncoder(file.config, file.tensors))

    def __repr__(self) -> str:
        config = self.config
        return (f"<Model {self.file.path}: {config.exits} exits, {sum(config.layers_per_exit)} "
                f"layers of {config.dim}, {config.vocab} labels, {config.dtype}, {self.backend}>")

    def __reduce__(self) -> tuple[Callable[..., "Model"], tuple]:
        """A copy, also in another process, is loaded again from the file."""
        file = self.file
        return _load_again, (os.path.abspath(file.path), self.backend, self.threads,
                             file.header_checksum, file.size)

    def info(self) -> dict[str, Any]:
        """Configuration, sizes, multiply-accumulates per exit, checksums, backend, threads, ISA."""
        from .info import describe

        return describe(self.file, self.backend, self.threads)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Mel features of mono audio.

        samples: (N,) float32 at `config.sample_rate`, full scale at 1.
        Returns (frames, mels) float32. Raises AudioError for NaN or infinite samples.
        """
        return self._front_end.features(samples)

    @cached_property
    def _front_end(self) -> FrontEnd:
        """Made when it is first needed: its tables take longer than the file."""
        return front_end(self.config, self.file.tensors, self.backend)

    def exits(self, features: np.ndarray) -> Generator[encoder.ExitOutput, None, None]:
        """Run the encoder from exit to exit.

        features: (frames, mels) float32. Yields `ExitOutput(exit, log_probs)` with exit = 1, 2, ...
        and log_probs (encoder frames, vocab) float32. The layers after an exit run when the next
        one is asked for; leaving the loop stops the work. Raises TooLongError when there are more
        encoder frames than positions.
        """
        return self._encoder.exits(features)

    def transcribe(
        self,
        audio: Audio,
        exit: int | None = None,
        policy: AnyPolicy | str | None = None,
        decoder: Decoder | None = None,
    ) -> Result:
        """Words of one utterance, at the exit chosen.

        audio: a path, a binary file object, (samples, rate), or samples at `config.sample_rate`.
        exit: stop at this exit, 1-based. policy: stop where it says; a name is one of `policies`.
        Neither: the policy `balanced` where the model has it, else the last exit.
        decoder: log_probs -> Hypothesis, or a list of them, best first; greedy by default.
        Raises AudioError, AudioFileError, TooLongError or ArgumentError.
        """
        policy = self.policy(exit, policy)
        if decoder is None:
            decoder = partial(decode.greedy, blank=self.config.blank)
        clock = StageClock()

        samples = audio_stage.read(audio, self.config.sample_rate, self.config.max_seconds)
        clock.lap("audio")

        mel = self.features(samples)
        clock.lap("features")

        utterance = self.utterance(len(mel))
        utterance.started = clock.started
        rule = exits.begin(policy, utterance)
        for out in self.exits(mel):
            clock.lap("encoder")
            stop, score = rule(out)
            clock.lap("policy")
            if stop:
                break

        hypotheses = decoder(out.log_probs)
        if isinstance(hypotheses, decode.Hypothesis):
            hypotheses = [hypotheses]
        best = hypotheses[0]
        confidences = decode.token_confidences(out.log_probs, best)
        clock.lap("decode")

        duration = len(samples) / self.config.sample_rate
        words = self._words(best, confidences, duration)
        clock.lap("words")

        return Result(
            text=self.tokens.text(best.tokens),
            exit=out.exit,
            score=score,
            margin=exits.margin_of(rule, score),
            confidence=min((word.confidence for word in words), default=1.0),
            words=words,
            n_best=[Alternative(self.tokens.text(h.tokens), h.score, h.tokens) for h in hypotheses],
            timing=clock.timing(),
            duration=duration,
        )

    @cached_property
    def policies(self) -> dict[str, Policy]:
        """The operating points that `ee-ref calibrate` stored in the file, by name; may be empty.

        Raises ModelFileError when they cannot be understood.
        """
        try:
            points = model_file.operating_points(self.file)
            return {name: exits.from_plain(point["policy"]) for name, point in points.items()}
        except (ArgumentError, KeyError) as error:
            raise ModelFileError(
                f"{self.file.path}: operating points: {shown(error, 300)}") from None

    def policy(self, exit: int | None = None, policy: AnyPolicy | str | None = None
               ) -> AnyPolicy:
        """The policy that `transcribe` uses for these arguments. Raises ArgumentError."""
        if exit is not None and policy is not None:
            raise ArgumentError(f"expected exit or policy, found both: {exit!r} and {policy!r}")
        if isinstance(policy, str):
            if policy not in self.policies:
                known = ", ".join(self.policies) or "none: see ee-ref calibrate"
                raise ArgumentError(
                    f"policy: expected an operating point of this model ({known}), "
                    f"found {policy!r}")
            policy = self.policies[policy]
        if policy is None and exit is None:
            policy = self.policies.get(DEFAULT_POLICY)
        if policy is None:
            policy = exits.Fixed(self.config.exits if exit is None else exit)
        deepest = exits.deepest_fixed(policy)
        if deepest > self.config.exits:
            raise ArgumentError(
                f"exit: expected an integer in 1..{self.config.exits}, found {deepest}"
            )
        return policy

    def utterance(self, mel_frames: int) -> Utterance:
        """What policies may ask about an utterance of so many mel frames, begun now."""
        now = time.perf_counter()
        return Utterance(
            exits=self.config.exits, blank=self.config.blank,
            costs=self._costs(mel_frames), started=now, encoder_started=now,
            measure=self._measure)

    @cached_property
    def _costs(self) -> Callable[[int], tuple[int, ...]]:
        """`frame_costs` of this model, remembered: computing them takes as long as a score."""
        return lru_cache(maxsize=1024)(partial(frame_costs, self.config))

    @cached_property
    def _measure(self) -> Callable[..., tuple[Scores, np.ndarray]]:
        if self.backend == "native":
            from .native._exits import measure

            return measure
        return exits.measure

    def _words(
        self, best: decode.Hypothesis, confidences: Sequence[float], duration: float
    ) -> list[Word]:
        config = self.config
        last = best.frames[-1] if best.frames else -1
        centres = [config.frame_time(frame) for frame in range(last + 1)]
        return self.tokens.words(
            best.tokens, best.frames, confidences, centres, duration, config.frame_seconds / 2
        )


class StageClock:
    """Seconds spent in each stage; a stage visited twice adds up."""

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Count the time since the last lap as `stage`."""
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def timing(self) -> dict[str, float]:
        """Seconds by stage, and their total."""
        return {**self._seconds, "total": self._last - self.started}


def load(
    path: str | Path | None = None, backend: str = "native", threads: int | None = 1
) -> Model:
    """Open a model file, check it whole, and make it ready to run.

    path: a model file (weights_io/FORMAT.md); None is the bundled model of command words.
    backend: "native" (the C kernels) or "numpy" (the reference). Where the C library was not built,
    "native" falls back to NumPy and warns once. For an int8 model both give the same bytes, from
    the samples to the text, unless an EeWarning says that its front end cannot.
    threads: how many share the work of one utterance, the calling one included, 1..MAX_THREADS;
    None takes the number from EE_REF_THREADS, or 1. Results are the same bytes for every number.
    The NumPy backend leaves threads to its BLAS library (OPENBLAS_NUM_THREADS and the like).
    Raises FileError, ModelFileError, ArgumentError, or ThreadsError when the system gives no more.
    """
    if backend not in BACKENDS:
        raise ArgumentError(f"backend: expected one of {BACKENDS}, found {backend!r}")
    threads = thread_count(threads)
    crc32 = zlib.crc32
    if backend == "native":
        try:
            from .native._crc32 import crc32
        except NativeUnavailable as error:
            _warn_once(f"{error}; using the NumPy backend")
            backend = "numpy"
    if path is None:
        path = bundled_model()
    elif not os.fspath(path):
        raise ArgumentError("path: expected a model file, found an empty path")
    return Model(model_file.read(path, crc32=crc32), backend, threads)


def _load_again(
    path: str, backend: str, threads: int, header_checksum: int, size: int
) -> Model:
    """The model that was pickled or copied; ModelFileError when its file holds another by now."""
    model = load(path, backend, threads)
    if (model.file.header_checksum, model.file.size) != (header_checksum, size):
        raise ModelFileError(f"{path}: expected the model that was copied, found another in it")
    return model


def thread_count(threads: int | None = None) -> int:
    """The number itself, or that of EE_REF_THREADS for None; ArgumentError for one out of range."""
    name, found = "threads", threads
    if threads is None:
        name, found = "EE_REF_THREADS", os.environ.get("EE_REF_THREADS") or "1"
        # Not int(): that takes "1_0", " 2" and digits of other scripts.
        threads = int(found) if found.isascii() and found.isdigit() else None
    is_integer = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool)
    if not is_integer or not 1 <= threads <= MAX_THREADS:
        raise ArgumentError(f"{name}: expected an integer in 1..{MAX_THREADS}, found {found!r}")
    return int(threads)


def bundled_model() -> Path:
    """Path of the model of command words that is part of the package (docs/model-card.md)."""
    return Path(__file__).parent / "assets" / "commands.gguf"


@lru_cache(maxsize=None)
def _warn_once(message: str) -> None:
    warnings.warn(message, EeWarning, stacklevel=3)
