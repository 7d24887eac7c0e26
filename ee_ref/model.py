"""One utterance, from audio to words.

    audio -> features -> stem -> [group -> head -> policy]* -> decode -> words

Read `Model.transcribe` from top to bottom: each stage is one call into the module of that name, and
no stage knows another.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import audio as audio_stage
from . import encoder, exits, model_file
from .checks import check_count
from .clock import StageClock
from .config import Config
from .decode import Alignment, Hypothesis, Parts, WordHypothesis, token_confidences
from .decode.greedy import align
from .errors import ArgumentError, ModelFileError, TooLongError, shown, shown_limit
from .exits import AnyPolicy, Confidence, Decision, Policy, Scores, Utterance
from .exits.policy import Course, require_phrases
from .frontend import FrontEnd, front_end
from .tokens import Tokens, Word

Audio = audio_stage.Source
Decoder = Callable[[np.ndarray], Hypothesis | Sequence[Hypothesis]]

if TYPE_CHECKING:  # phrases, streams and attention decoders are loaded when there are some
    from typing_extensions import TypeIs  # type checkers have it, whatever is installed

    from .attention_decoder import Attended, AttentionDecoder
    from .decode.graph import PhraseGraph
    from .phrase_decoder import Heard, PhraseDecoder, Search
    from .phrases import Phrases
    from .stream import Chunks, Endpoint, Event, Stream, Windows
    from .stream.speech import Spoken

    AnyPhrases = PhraseDecoder | Phrases | str | os.PathLike[str]
    Following = Callable[[Sequence[Event], float, float | None], None]
    AnyDecoder = Decoder | AttentionDecoder

DEFAULT_POLICY = "balanced"
"""Operating point that `Model.transcribe` uses when it is given neither exit nor policy."""

PHRASES_POLICY = "phrases"
"""The one that it prefers when it is given phrases."""

STREAM_POINT = "stream"
"""The one that streams prefer, which holds their view too, if the file has one."""

WHOLE_SECONDS = 40.0
"""What `Model.transcribe` hears as a whole, if the model admits it; a longer recording is a stream:
the time of attention, and the memory, grow with the square of the length."""


@dataclass(frozen=True)
class Alternative:
    """One hypothesis of the decoder: its text, its score (natural log) and its token ids.

    The score of a phrase is relative to the best path of free speech, so at most 0. parts: what the
    score of a `decode.WordDecoder` is the sum of, None from other decoders.
    """

    text: str
    score: float
    tokens: tuple[int, ...]
    parts: Parts | None = None


@dataclass(frozen=True)
class Result:
    """What `Model.transcribe` returns.

    text: the words, separated by spaces.
    exit: the exit, 1-based, whose log-probabilities were decoded; score: the policy's score there;
    margin: how far the score lies past the policy's threshold, in the score's own units; negative
    when the last exit was reached without the policy asking to stop, None where the policy has no
    threshold: at an exit that it does not judge, or because it is a plain function.
    confidence: least word confidence, in [0, 1] (docs/decoding.md); 1.0 for an empty transcript.
    Where phrases were given: that of the best phrase; below the threshold, text and words are empty
    and there is no intent, while n_best still lists the best phrases.
    words: `Word(word, start, end, confidence)`, times in seconds of the audio given.
    n_best: the decoder's hypotheses, best first.
    timing: seconds spent by stage, and their `total`.
    duration: seconds of audio.
    intent, slots: what the phrase means (`Phrases.meaning`); None and {} without phrases.
    """

    text: str
    exit: int
    score: float
    margin: float | None
    confidence: float
    words: list[Word]
    n_best: list[Alternative]
    timing: dict[str, float] = field(compare=False)
    duration: float
    intent: str | None = None
    slots: dict[str, str | int] = field(default_factory=dict)


class Transcript:
    """A `Result` from the events of a stream. of_phrases: whether it was given phrases."""

    def __init__(self, of_phrases: bool) -> None:
        self._of_phrases = of_phrases
        self._words: list[Word] = []
        self._exit = 1
        self._surest: Event | None = None

    def add(self, events: Iterable[Event]) -> None:
        """The next events; those that are not final count for nothing."""
        for event in events:
            if not event.final:
                continue
            self._words.extend(event.words)
            self._exit = max(self._exit, event.exit)
            if event.intent is not None and (
                    self._surest is None or event.confidence > self._surest.confidence):
                self._surest = event

    def result(self, duration: float, score: float = math.nan,
               timing: Mapping[str, float] | None = None) -> Result:
        """What was said so far, in so many seconds."""
        text = " ".join(word.word for word in self._words)
        confidence = min((word.confidence for word in self._words), default=1.0)
        surest = self._surest
        if self._of_phrases:
            confidence = 0.0 if surest is None else surest.confidence
        return Result(
            text=text, exit=self._exit, score=math.nan, margin=None, confidence=confidence,
            words=list(self._words), n_best=[Alternative(text, score, ())],
            timing=dict(timing or {}), duration=duration,
            intent=surest.intent if surest else None, slots=surest.slots if surest else {})


@dataclass(frozen=True)
class Run:
    """What `Model.run` returns.

    out: the output of the exit where it stopped, or of the last. decision: what the policy said
    there. inputs: frames of features that it is of. greedy: the best label of each of its frames,
    where it was measured. heard: the phrases found there, where the policy asked for them.
    attended: what its attention decoder says, where the model has some.
    encoder_seconds, rule_seconds: by the clock of the run, for each exit visited, what its layers
    and what its scores and the rule took.
    outputs, measured, every_attended: for each exit visited its `ExitOutput`, its `exits.Scores`
    with the greedy alignment behind them, and what its attention decoder says, if there is one;
    empty unless every exit was asked for.
    """

    out: encoder.ExitOutput
    decision: Decision
    inputs: int
    greedy: Alignment | None
    heard: Heard | None
    attended: Attended | None
    encoder_seconds: tuple[float, ...]
    rule_seconds: tuple[float, ...]
    outputs: tuple[encoder.ExitOutput, ...] = ()
    measured: tuple[tuple[Scores, Alignment], ...] = ()
    every_attended: tuple[Attended, ...] = ()


def attends(decoder: AnyDecoder | None) -> TypeIs[AttentionDecoder]:
    """Whether a decoder is asked with exits, and not with log-probabilities."""
    return hasattr(decoder, "attend")


def _encoder(
    config: Config, tensors: Mapping[str, np.ndarray], backend: str, threads: int, packed: bool
) -> encoder.Encoder:
    if backend == "numpy":
        return encoder.ReferenceEncoder(config, tensors)
    from .native._session import NativeModel

    return NativeModel(config, tensors, threads, packed)


class Model:
    """A loaded model. Made by `ee_ref.load`.

    config: `ee_ref.config.Config`; tokens: the CTC labels, a sequence of strings;
    backend: "native" or "numpy", the one in use. threads, packed: see `ee_ref.load`.

    Any number of threads may use a model at once; C runs without the interpreter's lock. A copy, by
    `pickle` or `copy`, is loaded from the same file again, which must still exist.
    """

    def __init__(
        self, file: model_file.ModelFile, backend: str, threads: int = 1, packed: bool = False
    ) -> None:
        self.config: Config = file.config
        self.tokens = Tokens(file.tokens, file.special, file.config.blank)
        self.backend = backend
        self.file = file
        self.threads = threads
        self.packed = packed
        self._encoder = _encoder(file.config, file.tensors, backend, threads, packed)

    def __repr__(self) -> str:
        config = self.config
        return (f"<Model {self.file.path}: {config.exits} exits, {sum(config.layers_per_exit)} "
                f"layers of {config.dim}, {config.vocab} labels, {config.dtype}, {self.backend}>")

    def info(self) -> dict[str, Any]:
        """Configuration, sizes, multiply-accumulates per exit, checksums, backend, threads, ISA."""
        from .info import describe

        return describe(self.file, self.backend, self.threads)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Mel features of mono audio.

        samples: (N,) float32 at `config.sample_rate`, full scale at 1.
        Returns (frames, mels) float32. Raises AudioError for NaN or infinite samples.
        """
        return self._front_end(samples)

    @cached_property
    def _front_end(self) -> FrontEnd:
        """Made when it is first needed: its tables take longer than opening the file."""
        return front_end(self.config, self.file.tensors, self.backend)

    @cached_property
    def front_of_padded(self) -> FrontEnd:
        """The front end for samples that have the zeros before and after them already."""
        return front_end(replace(self.config, pad=0), self.file.tensors, self.backend)

    def exits(self, features: np.ndarray) -> Generator[encoder.ExitOutput, None, None]:
        """Run the encoder from exit to exit.

        features: (frames, mels) float32, of a whole utterance. Yields an `ExitOutput` for exit 1,
        2, ... with log_probs (encoder frames, vocab) float32. The layers after an exit run when the
        next one is asked for; leaving the loop stops the work. Raises TooLongError when there are
        more encoder frames than the model admits.
        """
        return self._encoder.exits(features)

    def transcribe(
        self,
        audio: Audio,
        exit: int | None = None,
        policy: AnyPolicy | str | None = None,
        decoder: AnyDecoder | None = None,
        phrases: AnyPhrases | None = None,
        heard: Following = lambda events, seconds, of: None,
    ) -> Result:
        """Words of a recording, at the exit chosen.

        audio: a path, a binary file object, (samples, rate), samples at `config.sample_rate`, or an
        `audio.Recording`, whose pieces may still be coming.
        exit: stop at this exit, 1-based. policy: stop where it says; a name is one of `policies`.
        Neither: the policy `balanced` where the model has it, else the last exit; with phrases the
        policy `phrases` goes before `balanced`.
        decoder: log_probs -> Hypothesis, or a list of them, best first; or what `attention_decoder`
        gives. By default greedy: by the attention decoder of the exit where the model has some,
        else by its CTC head.
        phrases: all that may be said, in place of a decoder; as `phrase_decoder` takes or gives it.

        A recording of more than WHOLE_SECONDS, or than the model admits, is heard as a stream
        (docs/streaming.md): the policy chooses for each block, the decoder or the phrases are for
        each utterance, and without either the CTC heads are decoded. Of its result, `exit` is the
        deepest one, `score` and `margin` are NaN and None, `n_best` has the joined words, `intent`
        and `slots` are those of the surest phrase.
        heard: called with the events of such a recording, the seconds heard so far, and those of
        the recording, None where they are not known.

        Raises AudioError, AudioFileError, ArgumentError, or as `phrase_decoder` does; TooLongError
        for such a recording and a model of a family without streams.
        """
        policy, listener = self._asked(exit, policy, decoder, phrases)
        clock = StageClock()

        longest = min(WHOLE_SECONDS, self.config.max_seconds)
        with audio_stage.opened(audio, self.config.sample_rate) as recording:
            pieces, whole = recording.upto(longest)
            if not whole and not self.config.has_streams:
                raise TooLongError(
                    f"{recording.name}: expected at most {shown_limit(longest)} s of audio for "
                    f"{self.config.architecture}, which streams cannot have yet, found more")
            if not whole:
                if attends(decoder):
                    raise TooLongError(
                        f"{recording.name}: expected at most {shown_limit(longest)} s of audio for "
                        "an attention decoder, which streams do not have, found more")
                return self._long(recording, pieces, policy, decoder, listener, heard, clock)
            samples = recording.resampled(pieces, self.config.sample_rate)
        clock.lap("audio")

        mel = self.features(samples)
        clock.lap("features")

        run = self.run(mel, policy, phrases=listener, clock=clock, started=clock.started)

        found = None if listener is None else run.heard or listener(run.out.log_probs)
        hypotheses = self._hypotheses(run, decoder, listener, found)
        best = hypotheses[0] if found is None or found.accepted else Hypothesis((), 0.0, ())
        confidences = token_confidences(run.out.log_probs, best)
        clock.lap("decode")

        duration = len(samples) / self.config.sample_rate
        words = self._words(best, confidences, duration)
        confidence = min((word.confidence for word in words), default=1.0)
        intent: str | None = None
        slots: dict[str, str | int] = {}
        if listener is not None and found is not None:
            confidence = found.scores.confidence
            intent, slots = listener.meaning(found)
        clock.lap("words")

        return Result(
            text=" ".join([word.word for word in words]),
            exit=run.out.exit,
            score=run.decision.score,
            margin=run.decision.margin if math.isfinite(run.decision.margin) else None,
            confidence=confidence,
            words=words,
            n_best=[Alternative(self.tokens.text(h.tokens), h.score, h.tokens,
                                h.parts if isinstance(h, WordHypothesis) else None)
                    for h in hypotheses],
            timing=clock.timing(),
            duration=duration,
            intent=intent,
            slots=slots,
        )

    def run(
        self,
        features: np.ndarray,
        policy: AnyPolicy | None = None,
        *,
        every: bool = False,
        phrases: PhraseDecoder | None = None,
        clock: StageClock | None = None,
        started: float | None = None,
    ) -> Run:
        """From exit to exit, until the policy says stop.

        features: see `exits`, whose errors are raised. The others: see `follow`.
        """
        return self.follow(self.exits(features), len(features), policy, every=every,
                           phrases=phrases, clock=clock, started=started)

    def follow(
        self,
        outputs: Iterable[encoder.ExitOutput],
        mel_frames: int,
        policy: AnyPolicy | None = None,
        *,
        every: bool = False,
        phrases: PhraseDecoder | None = None,
        clock: StageClock | None = None,
        started: float | None = None,
    ) -> Run:
        """The one loop over exits: ask for one after another, until the policy says stop.

        outputs: of an utterance, a window or a chunk, made of so many frames of features.
        policy: None goes to the last exit.
        every: keep the output of every exit visited, and measure its scores.
        phrases: what a policy that goes by phrases listens for.
        clock: counts the stages `encoder` and `policy`; a new one by default. started: see
        `utterance`.
        """
        if policy is None:
            policy = exits.Fixed(self.config.exits)
        if clock is None:
            clock = StageClock()
        utterance = self.utterance(mel_frames, started, phrases)
        course = Course(policy, utterance, measures=every)
        begun = clock.lap("policy")
        in_encoder, in_rule, kept = [], [], []
        measured: list[Any] = []
        every_attended: list[Any] = []
        for out in outputs:
            in_encoder.append(clock.lap("encoder"))
            decision = course(out)
            in_rule.append(begun + clock.lap("policy"))
            begun = 0.0
            if every:
                kept.append(out)
                measured.append(course.measured)
                every_attended.append(course.attended)
            if decision.stop:
                break
        greedy = course.measured and course.measured[1]
        heard: Any = course.heard  # by `phrases`
        attended: Any = course.attended  # by `attention`
        return Run(out, decision, mel_frames, greedy, heard, attended, tuple(in_encoder),
                   tuple(in_rule), tuple(kept), tuple(measured),
                   tuple(every_attended) if self.config.has_decoder else ())

    def stream(
        self,
        policy: AnyPolicy | str | None = None,
        phrases: AnyPhrases | None = None,
        *,
        exit: int | None = None,
        decoder: AnyDecoder | None = None,
        endpoint: Endpoint | None = None,
        view: Windows | Chunks | None = None,
        rate: int | None = None,
    ) -> Stream:
        """Audio that comes in pieces: `feed` samples, get events, `finish` (docs/streaming.md).

        policy, exit, phrases, decoder: as in `transcribe`, but that the policy `stream`, where the
        model has it, goes before `balanced`; the policy chooses for each block, the others are for
        each utterance. endpoint: when an utterance is over; None: `Endpoint()`.
        view: that of a model with chunks is its own; else windows, or chunks for weights that were
        trained for them too; None: `stream.PHRASES` with phrases, or what the file says, or
        `stream.LIVE`. rate: of the samples that will be fed, at least 8000 Hz; None: that of the
        model.
        Raises ArgumentError, AudioError for the rate, ModelFileError, or as `phrase_decoder`.
        """
        from .stream import LIVE, PHRASES, Endpoint

        if not isinstance(endpoint, Endpoint | None):
            raise ArgumentError(f"endpoint: expected an Endpoint, found {shown(endpoint)}")
        if attends(decoder):
            raise ArgumentError("decoder: expected one of log-probabilities, which streams have, "
                                "found an attention decoder")
        policy, listener = self._asked(exit, policy, decoder, phrases, stream=True)
        usual = LIVE if listener is None else PHRASES
        view = self.stream_view(view, usual)
        return self._stream(policy, listener, decoder, endpoint, view, rate)

    def _stream(
        self, policy: AnyPolicy, phrases: PhraseDecoder | None, decoder: Decoder | None,
        endpoint: Endpoint | None, view: Windows | Chunks, rate: int | None, shows: bool = True,
        clock: StageClock | None = None,
    ) -> Stream:
        from .stream import Endpoint, Stream
        from .stream.hearing import Hearing
        from .stream.speech import Speech

        decode: Callable[[np.ndarray], Spoken] | None = None
        if phrases is not None:
            decode = partial(self._phrase, phrases)
        elif decoder is not None:
            decode = partial(self._said, decoder)
        to_rate = self.config.sample_rate
        return Stream(
            Hearing(self, policy, view, phrases=phrases, clock=clock),
            Speech(self.config, self.tokens, endpoint or Endpoint(), decode,
                   shows and phrases is None),
            to_rate if rate is None else rate, to_rate)

    def stream_view(self, view: Windows | Chunks | None, usual: Windows) -> Windows | Chunks:
        """The view that a stream takes when `view` is asked for. usual: in place of None, unless
        the file names one for `LIVE`. Raises ArgumentError for a view that the model has not."""
        from .stream import LIVE, Chunks, Windows

        config = self.config
        if not config.has_streams:
            raise ArgumentError("a stream: expected a model of a family that has streams, found "
                                f"{config.architecture}, which hears whole recordings alone")
        if config.chunk:
            own = Chunks(config.chunk, config.left)
            if view not in (None, own):
                raise ArgumentError(f"view: expected that of the model, {own}, found {view}")
            return own
        if view is None and usual is LIVE:
            view = self._stored_view
        if view is None:
            return usual.within(config.max_frames)
        if not isinstance(view, Windows | Chunks):
            raise ArgumentError(f"view: expected Windows or Chunks, found {shown(view)}")
        if isinstance(view, Windows) and 0 < config.max_frames < view.rows:
            raise ArgumentError(f"view: expected windows of at most {config.max_frames} rows, "
                                f"found {view} of {view.rows}")
        return view

    @cached_property
    def _stored_view(self) -> Windows | Chunks | None:
        """That of the operating point `stream`, None without. Raises ModelFileError."""
        from .stream import Chunks, Windows

        view = model_file.operating_points(self.file).get(STREAM_POINT, {}).get("view")
        try:
            return None if view is None else (Chunks if "chunk" in view else Windows)(**view)
        except (ArgumentError, TypeError) as error:
            raise ModelFileError(f"{self.file.path}: operating point {STREAM_POINT}: view: "
                                 f"{shown(error, 300)}") from None

    def encoder_of(self, view: Windows | Chunks) -> encoder.Encoder:
        """The encoder with this view. Raises ArgumentError for chunks that its family has not."""
        from .stream import Chunks

        if isinstance(view, Chunks) and not self.config.chunk:
            return self._in_chunks(view)
        return self._encoder

    @cached_property
    def _in_chunks(self) -> Callable[[Chunks], encoder.Encoder]:
        def made(view: Chunks) -> encoder.Encoder:
            limited: Any = {"chunk": view.chunk, "left": view.left, "conv": "chunk"}
            config = replace(self.config, **limited).validate()
            return _encoder(config, self.file.tensors, self.backend, self.threads, self.packed)

        return lru_cache(maxsize=2)(made)

    def _said(self, decoder: Decoder, log_probs: np.ndarray) -> Spoken:
        from .stream.speech import Spoken

        best = self._decoded(log_probs, decoder)[0]
        return Spoken(best, token_confidences(log_probs, best))

    def _phrase(self, phrases: PhraseDecoder, log_probs: np.ndarray) -> Spoken:
        from .stream.speech import Spoken

        heard, best = phrases(log_probs), Hypothesis((), 0.0, ())
        if heard.accepted:
            best = phrases.align(log_probs, heard.found[0][1])
        return Spoken(best, token_confidences(log_probs, best), heard.scores.confidence,
                      *phrases.meaning(heard))

    def _asked(
        self, exit: int | None, policy: AnyPolicy | str | None, decoder: AnyDecoder | None,
        phrases: AnyPhrases | None, stream: bool = False,
    ) -> tuple[AnyPolicy, PhraseDecoder | None]:
        """The policy and the phrases that these arguments mean."""
        if decoder is not None and phrases is not None:
            raise ArgumentError("expected a decoder or phrases, found both")
        policy = self.policy(exit, policy, phrases is not None, stream)
        return policy, None if phrases is None else self._listener(phrases)

    def _long(
        self, recording: audio_stage.Recording, pieces: Sequence[np.ndarray], policy: AnyPolicy,
        decoder: Decoder | None, phrases: PhraseDecoder | None,
        heard: Following, clock: StageClock,
    ) -> Result:
        """Words of a long recording, of which some pieces were read."""
        from .stream import LONG

        stream = self._stream(policy, phrases, decoder, None, self.stream_view(None, LONG),
                              recording.rate, shows=False, clock=clock)
        transcript = Transcript(phrases is not None)

        def said(events: list[Event]) -> None:
            transcript.add(events)
            clock.lap("decode")
            heard(events, stream.seconds, recording.seconds)

        try:
            for piece in itertools.chain(pieces, recording.pieces()):
                clock.lap("audio")
                said(stream.feed(piece))
        finally:  # whatever ended it: words that were heard are said
            said(stream.finish())
        return transcript.result(stream.seconds, stream.score, clock.timing())

    def phrase_decoder(
        self, phrases: Phrases | str | os.PathLike[str], filler: float | None = None,
        n_best: int = 2,
    ) -> PhraseDecoder:
        """Phrases in the labels of this model, and what its file says of confidence.

        phrases: as `ee_ref.phrases.load` gives them, compiled once and remembered; or a path, which
        is loaded anew every time. filler: None where a recording holds a phrase and nothing else;
        a number >= 0 lets other speech come before and after it, for that much of the score each.
        n_best: how many phrases a result tells, 1..8.
        Raises PhraseError for phrases that the labels cannot spell, or as `phrases.load`.
        """
        from .phrase_decoder import PhraseDecoder
        from .phrases import Phrases, load

        if not isinstance(phrases, Phrases):
            phrases = load(phrases)
        return PhraseDecoder(phrases, self._graph(phrases), self._search, self.phrase_confidence,
                             filler, n_best)

    def _listener(
        self, phrases: PhraseDecoder | Phrases | str | os.PathLike[str]
    ) -> PhraseDecoder:
        from .phrase_decoder import PhraseDecoder

        return phrases if isinstance(phrases, PhraseDecoder) else self.phrase_decoder(phrases)

    @cached_property
    def _graph(self) -> Callable[[Phrases], PhraseGraph]:
        return lru_cache(maxsize=8)(lambda phrases: phrases.compile(self.tokens))

    @cached_property
    def phrase_confidence(self) -> Confidence:
        """That of `ee-ref calibrate --phrases` if the file has one, else `exits.CONFIDENCE`.

        Raises ModelFileError when it cannot be understood.
        """
        point = model_file.operating_points(self.file).get(PHRASES_POLICY, {})
        if "confidence" not in point:
            return exits.CONFIDENCE
        try:
            return exits.Confidence(**point["confidence"])
        except (ArgumentError, TypeError) as error:
            raise ModelFileError(f"{self.file.path}: operating point {PHRASES_POLICY}: confidence: "
                                 f"{shown(error, 300)}") from None

    def _hypotheses(
        self, run: Run, decoder: AnyDecoder | None, phrases: PhraseDecoder | None,
        heard: Heard | None,
    ) -> Sequence[Hypothesis]:
        """What the decoder or the phrases give, best first; without either, what the attention
        decoder of the run says, or the greedy path that the run walked."""
        if phrases is not None and heard is not None:
            return [phrases.align(run.out.log_probs, number) for _, number in heard.found]
        if attends(decoder):
            return decoder(run.out, run.inputs)
        if decoder is None and run.attended is not None:
            return run.attended.hypotheses
        if decoder is None and run.greedy:
            return [run.greedy.best]
        return self._decoded(run.out.log_probs, decoder)

    def attention_decoder(
        self, beam_width: int = 1, n_best: int = 1, *, rule: str = "end",
        length_penalty: float | None = None, ctc_weight: float = 0.0,
    ) -> AttentionDecoder:
        """A decoder for `transcribe`: the attention decoders of the exits, searched in another way
        than greedily. The arguments are those of `decode.attention.AttentionSearch`.

        Raises ArgumentError for a model without attention decoders.
        """
        from .attention_decoder import AttentionDecoder
        from .decode.attention import AttentionSearch

        how = AttentionSearch(beam_width, n_best, rule, length_penalty, ctc_weight)
        return AttentionDecoder(self._encoder, self.tokens.special, how, self)

    @cached_property
    def _attention(self) -> AttentionDecoder | None:
        """The greedy one, None where the model has none."""
        return self.attention_decoder() if self.config.has_decoder else None

    def decode(self, log_probs: np.ndarray) -> Hypothesis:
        """The greedy hypothesis of an exit. log_probs: (frames, vocab)."""
        return align(log_probs, self.config.blank).best

    def text(self, log_probs: np.ndarray, decoder: Decoder | None = None) -> str:
        """The words of the best hypothesis of an exit, separated by spaces; decoder: see
        `transcribe`."""
        return self.tokens.text(self._decoded(log_probs, decoder)[0].tokens)

    def _decoded(self, log_probs: np.ndarray, decoder: Decoder | None) -> Sequence[Hypothesis]:
        found = self.decode(log_probs) if decoder is None else decoder(log_probs)
        return [found] if isinstance(found, Hypothesis) else found

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

    def policy(self, exit: int | None = None, policy: AnyPolicy | str | None = None,
               phrases: bool = False, stream: bool = False) -> AnyPolicy:
        """The policy that `transcribe` uses for these arguments, with phrases or without; or
        `stream`.

        Raises ArgumentError.
        """
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
            preferred = PHRASES_POLICY if phrases else STREAM_POINT if stream else DEFAULT_POLICY
            policy = self.policies.get(preferred, self.policies.get(DEFAULT_POLICY))
        if policy is None:
            policy = exits.Fixed(self.config.exits if exit is None else exit)
        if deepest := getattr(policy, "deepest", 0):
            check_count("exit", deepest, 1, self.config.exits)
        require_phrases(policy, phrases)
        return policy

    def utterance(self, mel_frames: int, started: float | None = None,
                  phrases: PhraseDecoder | None = None) -> Utterance:
        """What policies may ask about an utterance of so many mel frames, whose encoder begins now.

        started: when the caller asked for it, by `time.perf_counter`; None: now. phrases: what may
        be said, if it is known.
        """
        now = time.perf_counter()
        attend = None
        if self._attention is not None:
            attend = partial(self._attention.attend, inputs=mel_frames)
        return Utterance(
            exits=self.config.exits, blank=self.config.blank, costs=self._costs(mel_frames),
            started=now if started is None else started, encoder_started=now,
            measure=self._measure, hear=phrases, attend=attend)

    @cached_property
    def _costs(self) -> Callable[[int], tuple[int, ...]]:
        """`Config.costs`, remembered: computing them takes as long as a score."""
        return lru_cache(maxsize=1024)(self.config.costs)

    @cached_property
    def _measure(self) -> Callable[..., tuple[Scores, Alignment]]:
        if self.backend == "native":
            from .native._exits import measure

            return measure
        return exits.measure

    @cached_property
    def _search(self) -> Search:
        if self.backend == "native":
            from .native import _phrases

            return _phrases.search
        from .decode.graph import search

        return search

    def _words(
        self, best: Hypothesis, confidences: Sequence[float], duration: float
    ) -> list[Word]:
        config = self.config
        times = [config.frame_time(frame) for frame in best.frames]
        return self.tokens.words(
            best.tokens, times, confidences, config.frame_seconds / 2, duration)
