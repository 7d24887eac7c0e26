"""The vectors of the suite: what a port is given, and what has to come back.

Everything here is the same bytes on every machine. Inputs are integers of PCG64 scaled by single
float32 operations (`draw`), or the demo clip. What is expected of int8 mode comes from the NumPy
ops, whose every operation is written down (docs/numerics.md); of the front end, from
`frontend.exact`; of float32, from goldens that PyTorch computed in double precision and that lie in
the package, since float32 sums and exponentials of NumPy differ from machine to machine.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import tempfile
import wave
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from .. import families, flash_image, model_file, ops
from ..convert import convert_state_dict
from ..decode import greedy
from ..encoder import ReferenceEncoder
from ..exits import frame_entropy
from ..families import (
    SCALE_SUFFIX,
    Kind,
    conformer_lstm,
    splitformer,
    wav2vec2,
    wavlm,
    zipformer,
)
from ..frontend import exact
from ..ops._lines import lines
from ..ops._names import stem_and_mode
from ..quantize import quantize
from ..tokens import Tokens
from .cases import cases_of, op_names, outputs
from .draw import (
    SMALL,
    Stream,
    random_features,
    random_int8_model,
    random_model,
    random_state_dict,
    random_tensors,
)
from .judge import DB, EXACT, ULP, ULPS, Bound
from .phrase_search import phrase_vectors
from .refusals import faulty_config, refusal_vectors
from .vector import Vector

VERSION = 3
"""The version of the vectors; any change of a byte needs a new one (docs/conformance.md)."""

TIERS = ("integer", "int8", "f32", "frontend", "model", "decision", "status")
INTEGER_OPS = ("quantize_qs8", "quantize_digits_qs8", "linear_qs8")

GOLDEN = Path(__file__).parent / "golden"
MAX_INPUT_BYTES = 3_000_000
"""Larger cases of the ops are not vectors: their frames would be a burden, and each has a smaller
twin."""

BUNDLED_SECONDS = 10.0
"""The longest audio of the suite's image of the bundled model."""

INT8 = Bound(EXACT, 0.0, "int8 mode is bit-exact")
INTEGERS = Bound(EXACT, 0.0, "integers, exact in any order")
POWER = Bound(DB, 100.0, "mel power of one float32 FFT against another differs at 135 dB and more")
LOG_POWER = Bound(
    DB, 90.0, "as mel power, under a logarithm that lifts faint bands: 125 dB and more")
CLEAR = Bound(
    EXACT, 0.0, "the clip's labels and exit are clear by far more than the features' bound")
SCORE = Bound(DB, 40.0, "features within their bound move an int8 model's score by under a percent")
F32_MODEL = Bound(
    DB, 110.0, "some forty float32 products, one after another: 136 dB in portable C and AVX2")

# ---- Ops ----


def _arguments(op: str, given: Mapping[str, Any]) -> tuple[dict, dict]:
    """Tensors and parameters of a call: those of `weights` and `view` by their own names, of `past`
    as `past.kv` and `past.gated`."""
    bound = inspect.signature(getattr(ops, op)).bind(**given)
    bound.apply_defaults()
    tensors: dict[str, np.ndarray] = {}
    parameters: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if isinstance(value, Mapping):
            tensors.update(value)
        elif isinstance(value, ops.View):
            parameters.update(value._asdict())
        elif isinstance(value, ops.LayerPast):
            tensors.update((f"{name}.{field}", rows) for field, rows in value._asdict().items())
        elif isinstance(value, np.ndarray):
            tensors[name] = value
        elif value is not None:
            parameters[name] = int(value) if isinstance(value, int) else float(np.float32(value))
    return tensors, parameters


def tier_of(op: str) -> str:
    """The tier of an op's cases."""
    if op in INTEGER_OPS:
        return "integer"
    return "f32" if stem_and_mode(op)[1] == "f32" else "int8"


def op_vectors() -> Iterator[Vector]:
    """Every case of every op, but for those too large to send."""
    with np.load(GOLDEN / "ops.npz") as golden:
        for op in (*op_names("qs8"), *op_names()):
            tier = tier_of(op)
            for case in cases_of(op):
                given = case.arguments()
                tensors, parameters = _arguments(op, given)
                if sum(tensor.nbytes for tensor in tensors.values()) > MAX_INPUT_BYTES:
                    continue
                names = [argument.name for argument in lines()[op].outputs]
                if tier == "f32":
                    found = tuple(golden[f"{op}/{case.name}/{n}"] for n in range(len(names)))
                    bounds = [Bound(ULP, _tenths(case.tolerance * ULPS), case.reason)] * len(names)
                else:
                    with np.errstate(under="ignore"):
                        found = outputs(op, getattr(ops, op)(**given))
                    bounds = [INTEGERS if o.dtype == np.int8 else INT8 for o in found]
                yield Vector(
                    f"{tier}/{op}/{case.name}", tier, op, tensors, dict(zip(names, found)),
                    dict(zip(names, bounds)), parameters)


def _tenths(value: float) -> float:
    return int(value * 10 + 1) / 10


# ---- Models ----

INT8_CONFIG = dataclasses.replace(
    SMALL, frontend="logmel", n_fft=512, win_length=400, pad=1600, mels=37, max_frames=80)
SPLITFORMER_CONFIG = splitformer.Config(**dataclasses.asdict(INT8_CONFIG), parallel=(1, 0, 1))
ZIPFORMER_CONFIG = zipformer.Config(**{
    **dataclasses.asdict(INT8_CONFIG), "exits": 10, "layers_per_exit": zipformer.EXITS[10]})
LSTM_CONFIG = conformer_lstm.Config(
    **dataclasses.asdict(INT8_CONFIG), lstm_layers=2, lstm_width=9)
WAV2VEC2_CONFIG = wav2vec2.Config(
    exits=2, layers_per_exit=(2, 1), dim=32, heads=4, ff=37, kernel=8, vocab=11, channels=20,
    convs="10/5 3/2 3/2 2/2", groups=2, head_norm=(0, 0), frontend="samples")
"""Group norm and post-norm; the channels of a group fill a vector of int8."""
WAVLM_CONFIG = wavlm.Config(
    **{**dataclasses.asdict(WAV2VEC2_CONFIG), "dim": 20, "groups": 4, "kernel": 7,
       "conv_norm": "layer", "conv_bias": 1, "norm": "pre", "head_norm": (1, 1),
       "frontend": "waveform"}, buckets=16, max_distance=30)
"""Layer norms and pre-norm; the channels of a group fill no vector."""
F32_CONFIG = dataclasses.replace(SMALL, mels=29)
"""A float32 model of the published front end; 40 encoder frames."""
CHUNKS_CONFIG, CHUNKS_F32_CONFIG = (
    dataclasses.replace(
        config, chunk=4, left=6, conv="chunk", positions="none", max_frames=0)
    for config in (INT8_CONFIG, F32_CONFIG))
"""A limited view: each layer reaches one chunk back by its convolution, and two by attention."""
CHUNKS_SEED = 13
FEEDS = {
    # name: (frames of each feed, exits asked for after it), and what the session has room for
    "whole": (((400, 3),), 400),
    "one_frame_each": (((1, 3),) * 120, 60),
    "first_exit_then_all": ((*((23, 1),) * 16, (23, 3), (9, 3)), 60),
    "seldom_deeper": (tuple((17, (1, 1, 2, 1, 1, 1, 3, 1)[i % 8]) for i in range(40)), 60),
    "joined": (((30, 0), (9, 0), (40, 2), (3, 1), (50, 3)), 100),
    "nothing_after_the_last": (((35, 3), (0, 2)), 40),
    "shorter_than_a_chunk": (((9, 0), (2, 3)), 40),
}
F32_FRAMES = {"one_frame": 7, "one_frame_still": 8, "frames_16": 70, "longest": 163}
"""Mel frames by name."""
FRONT_ENDS = ("small-int8", "small-f32", "commands")
"""The models whose front ends are asked."""
DECIDED = {
    "small-int8": ("one_frame", "frames_16", "longest", "zeros", "no_frames"),
    "ties-int8": ("constant", "longest"),
    "commands": ("demo", "silence", "noise", "one_frame"),
}
"""The utterances whose exit a policy chooses."""
INT8_FRAMES = {"no_features": 0, "no_frames": 6, "one_frame": 7, "one_frame_still": 10,
               "two_frames": 11, "frames_15": 63, "frames_16": 67, "longest": 323,
               "longest_still": 326}
"""Mel frames by name, of models whose first encoder frame has 7; of others these are as many more
or fewer."""

ENCODER_FRAMES = {"one_frame": 1, "two_frames": 2, "frames_15": 15, "frames_16": 16,
                  "frames_80": 80}
"""Of int8 models that take samples."""


def f32_state_dict() -> dict[str, np.ndarray]:
    """The float32 model as a checkpoint. Its positions are random numbers: the last bit of a
    sinusoid is the C library's choice."""
    state = random_state_dict(F32_CONFIG, 9546)
    state["positional_encoder.pe"] = Stream(9546)(F32_CONFIG.max_frames, 1, F32_CONFIG.dim)
    return state


def f32_features(frames: int) -> np.ndarray:
    """(frames, mels) of the float32 model."""
    return random_features(frames, 9546, F32_CONFIG.mels)


TIES_SEED = 3
TIES_TOKENS = ("<blank>", "\u2581", "\u2581A", "B\u2581", "\u00c9", "<s>", "F", "G", "H", "I", "J")
TIES_SPECIAL = frozenset({TIES_TOKENS.index("<s>")})


def ties_model() -> model_file.ModelFile:
    """A model whose choices are between equals: labels 6 to 9 have the weights of 1 to 4, and the
    last one those of the blank; all frames have one position, so that those of a constant
    utterance, but for its ends, are the same. Its labels begin and end with spaces."""
    config, tensors = random_int8_model(INT8_CONFIG, TIES_SEED)
    for spec in families.tensors(config):
        if spec.kind is Kind.TABLE:
            for array in (tensors[spec.name], tensors[spec.name + SCALE_SUFFIX]):
                array[:] = array[0]
        elif spec.name.startswith("head."):
            array = tensors[spec.name]
            array[6:10], array[10] = array[1:5], array[0]
    return written(config, tensors, TIES_TOKENS, TIES_SPECIAL)


def _letters(vocab: int) -> tuple[str, ...]:
    return ("<blank>", "\u2581", *(chr(ord("A") + i) for i in range(vocab - 2)))


def written(
    config, tensors, tokens: Sequence[str], special: frozenset[int] = frozenset()
) -> model_file.ModelFile:
    """A model file of tensors, written and read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        model_file.write(path, config, tokens, special, tensors)
        found = model_file.read(path)
        # The file is mapped and goes away with the folder.
        return dataclasses.replace(
            found, tensors={name: array.copy() for name, array in found.tensors.items()})


class Reference:
    """A model of the suite: its flash image, and what NumPy says of it."""

    def __init__(self, name: str, file: model_file.ModelFile, seconds: float | None = None):
        self.name = name
        self.config = flash_image.limited(file.config, seconds)
        self.image = flash_image.build(file, seconds=seconds)
        self.tensors = {spec.name: file.tensors[spec.name][tuple(map(slice, spec.shape))]
                        for spec in families.tensors(self.config)}
        self.encoder = ReferenceEncoder(self.config, self.tensors)
        self.tokens = Tokens(file.tokens, file.special, file.config.blank)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(T, mels) of samples, exact."""
        mean, scale = (self.tensors.get(f"frontend.{part}") for part in ("mean", "scale"))
        return exact.extract(samples, self.config, mean, scale)

    def log_probs(self, features: np.ndarray) -> list[np.ndarray]:
        """The log-probabilities of every exit, each (encoder frames, vocab)."""
        with np.errstate(under="ignore"):
            return [out.log_probs for out in self.encoder.exits(features)]

    def decide(self, log_probs: Sequence[np.ndarray], exit: int = 0, threshold: float = 0.0
               ) -> dict[str, np.ndarray]:
        """Exit, score, margin, tokens, frames and text of a policy: an exit, or, when it is 0, a
        frame entropy of at most `threshold`."""
        limit = np.float32(threshold)
        for number, found in enumerate(log_probs, start=1):
            score = np.float32(number if exit else frame_entropy(found))
            margin = score - np.float32(exit) if exit else limit - score
            if margin >= 0:
                break
        best = greedy(found, self.config.blank)
        text = self.tokens.text(best.tokens).encode()
        return {
            "exit": np.array([number], np.int32), "score": np.array([score]),
            "margin": np.array([margin], np.float32),
            "tokens": np.array(best.tokens, np.int32), "frames": np.array(best.frames, np.int32),
            "text": np.frombuffer(text, np.int8),
        }


def demo() -> np.ndarray:
    """(N,) int16 samples of the demo clip at 16 kHz."""
    clip = resources.files("ee_ref") / "assets" / "demo.wav"
    with clip.open("rb") as file, wave.open(file) as audio:
        return np.frombuffer(audio.readframes(audio.getnframes()), "<i2").astype(np.int16)


class Suite:
    """All vectors and models, computed when asked for."""

    @cached_property
    def models(self) -> dict[str, Reference]:
        """Name -> model."""
        letters = _letters(INT8_CONFIG.vocab)
        int8 = written(*random_int8_model(INT8_CONFIG, 11), letters)
        kin = [Reference(name, written(*random_int8_model(config, 13), letters))
               for name, config in (("splitformer-int8", SPLITFORMER_CONFIG),
                                    ("zipformer-int8", ZIPFORMER_CONFIG),
                                    ("lstm-int8", LSTM_CONFIG))]
        f32 = written(*convert_state_dict(f32_state_dict(), heads=F32_CONFIG.heads), letters)
        with resources.as_file(resources.files("ee_ref") / "assets" / "commands.gguf") as path:
            bundled = Reference("commands", model_file.read(path), BUNDLED_SECONDS)
        return {model.name: model for model in (
            Reference("small-int8", int8), Reference("small-f32", f32),
            *kin,
            *(Reference(name, written(*quantize(config, random_tensors(config, 14)), letters))
              for name, config in (("wav2vec2-int8", WAV2VEC2_CONFIG),
                                   ("wavlm-int8", WAVLM_CONFIG))),
            Reference("ties-int8", ties_model()),
            Reference("chunks-int8",
                      written(*random_int8_model(CHUNKS_CONFIG, CHUNKS_SEED), letters)),
            Reference("chunks-f32",
                      written(*random_model(CHUNKS_F32_CONFIG, CHUNKS_SEED), letters)),
            bundled)}

    @cached_property
    def faulty_image(self) -> bytes:
        """The image that the tier "status" makes faulty."""
        config, tensors = random_int8_model(faulty_config(INT8_CONFIG), 12)
        return flash_image.build(written(config, tensors, _letters(config.vocab)))

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """Every vector, in the order of the tiers; those of a model one after another."""
        made = [*op_vectors()]
        for model in self.models.values():
            if model.name.startswith("chunks-"):
                made += feed_vectors(model)
                continue
            if model.name in FRONT_ENDS:
                made += frontend_vectors(model)
            if model.name != "ties-int8":
                made += model_vectors(model)
            made += decision_vectors(model)
        made += phrase_vectors()
        made += refusal_vectors(self.faulty_image, self.models["small-int8"])
        return tuple(sorted(made, key=lambda v: (TIERS.index(v.tier), v.model)))


def frontend_vectors(model: Reference) -> Iterator[Vector]:
    """Samples to features; of the bundled model also to text."""
    clip = demo()
    loud = np.sign(Stream(6)(4000)).astype(np.int16) * np.int16(32767)
    samples = {
        "demo": clip[8000:24000],
        "silence": np.zeros(1000, np.int16),
        "one_sample": np.array([1000], np.int16),
        "no_samples": np.zeros(0, np.int16),
        "shorter_than_a_window": clip[9000:9100],
        "one_hop_less_a_sample": clip[9000 : 9000 + model.config.hop_length - 1],
        "one_hop": clip[9000 : 9000 + model.config.hop_length],
        "faint": (Stream(5)(3000) * np.float32(3)).astype(np.int16),
        "full_scale": loud,
        "most_negative": np.full(2000, -32768, np.int16),
        "float": Stream(8)(3000) * np.float32(0.3),
        "float_subnormal": Stream(8)(1000) * np.float32(1e-40),
    }
    bound = POWER if model.config.frontend == "mel" else LOG_POWER
    for name, values in samples.items():
        yield Vector(
            f"frontend/features/{model.name}_{name}", "frontend", "features", {"samples": values},
            {"features": model.features(values)}, {"features": bound}, model=model.name)
    if model.name != "commands":
        return
    log_probs = model.log_probs(model.features(clip))
    for name, policy in (("first_exit", {"exit": 1}), ("last_exit", {"exit": model.config.exits}),
                         ("entropy", {"threshold": _between_scores(log_probs)})):
        expected = model.decide(log_probs, **policy)
        del expected["margin"], expected["frames"]
        bounds = {key: SCORE if key == "score" else CLEAR for key in expected}
        yield Vector(
            f"frontend/transcribe/{model.name}_{name}", "frontend", "transcribe",
            {"samples": clip}, expected, bounds, policy, model.name)


def _between_scores(log_probs: Sequence[np.ndarray]) -> float:
    """A threshold that the second exit passes and the first does not, far from both if they are."""
    first, second = (np.float32(frame_entropy(found)) for found in log_probs[:2])
    return float((first + second) * np.float32(0.5))


def model_vectors(model: Reference) -> Iterator[Vector]:
    """Features to the log-probabilities of every exit."""
    if model.config.dtype == "f32":
        yield from _f32_model_vectors(model)
        return
    for name, features in _utterances(model).items():
        log_probs = model.log_probs(features)
        yield _exits(model, name, features, log_probs, INT8)
    yield _exits(model, "first_exit_alone", features, log_probs[:1], INT8)


def _f32_model_vectors(model: Reference) -> Iterator[Vector]:
    with np.load(GOLDEN / "suite.npz") as golden:
        for name, frames in F32_FRAMES.items():
            log_probs = [golden[f"{frames}/{number + 1}"] for number in range(model.config.exits)]
            yield _exits(model, name, f32_features(frames), log_probs, F32_MODEL)


def feed_features(frames: int, mels: int) -> np.ndarray:
    """(frames, mels) of the models with a limited view."""
    return Stream(80)(frames, mels, low=-2.0, high=2.0)


def feed_vectors(model: Reference) -> Iterator[Vector]:
    """Features in slices, and of each block so many exits; of each exit all rows that it gave."""
    is_f32 = model.config.dtype == "f32"
    with np.load(GOLDEN / "suite.npz") as archive:
        golden = dict(archive) if is_f32 else {}
    for name, (feeds, capacity) in FEEDS.items():
        slices, exits = (np.array(numbers, np.int32) for numbers in zip(*feeds))
        features = feed_features(int(slices.sum()), model.config.mels)
        state = model.encoder.start(capacity)
        found: dict[str, list[np.ndarray]] = {
            f"log_probs_{exit_}": [] for exit_ in range(1, model.config.exits + 1)}
        ends = np.cumsum(slices)
        for number, (end, size, depth) in enumerate(zip(ends, slices, exits), start=1):
            state.feed(features[end - size : end], last=number == len(feeds))
            for out in itertools.islice(state.exits(), int(depth)):
                whole = golden.get(f"feeds/{name}/{out.exit}")
                rows = slice(out.first, out.first + len(out.log_probs))
                found[f"log_probs_{out.exit}"].append(out.log_probs if whole is None
                                                      else whole[rows])
        expected = {name: np.concatenate([np.zeros((0, model.config.vocab), np.float32), *rows])
                    for name, rows in found.items()}
        yield Vector(
            f"model/feeds/{model.name}_{name}", "model", "feeds",
            {"features": features, "slices": slices, "exits": exits}, expected,
            dict.fromkeys(expected, F32_MODEL if is_f32 else INT8), {"capacity": capacity},
            model.name)


def _exits(model: Reference, name: str, features, log_probs, bound: Bound) -> Vector:
    expected = {f"log_probs_{number}": found for number, found in enumerate(log_probs, start=1)}
    return Vector(
        f"model/exits/{model.name}_{name}", "model", "exits", {"features": features}, expected,
        dict.fromkeys(expected, bound), {"exits": len(log_probs)}, model.name)


def _utterances(model: Reference) -> dict[str, np.ndarray]:
    """Features of an int8 model: random ones for the small model, of the demo for the bundled."""
    mels = model.config.mels
    if isinstance(model.config, wav2vec2.Config):
        window, stride = model.config.window, model.config.stride
        counts = {"no_features": 0, "no_frames": window - 1} | {
            name: window + (frames - 1) * stride + 1 for name, frames in ENCODER_FRAMES.items()}
        found = {name: Stream(count)(count, 1, low=-0.5, high=0.5)
                 for name, count in counts.items()}
        count = counts["frames_80"]
        return {**found, "zeros": np.zeros((count, 1), np.float32),
                "constant": np.ones((count, 1), np.float32),
                "huge": Stream(3)(count, 1, low=-1e6, high=1e6),
                "subnormal": Stream(4)(count, 1, low=-1e-39, high=1e-39)}
    if model.name != "commands":
        # Log-mel features are normalised: of unit size, and of either sign.
        first = next(n for n in itertools.count() if model.config.encoder_frames(n))
        less = INT8_FRAMES["one_frame"] - first
        found = {name: Stream(frames)(max(0, frames - less), mels, low=-2.0, high=2.0)
                 for name, frames in INT8_FRAMES.items()}
        return {**found, "zeros": np.zeros((40, mels), np.float32),
                "constant": np.ones_like(found["longest"]),
                "huge": Stream(3)(40, mels, low=-1e6, high=1e6),
                "subnormal": Stream(4)(40, mels, low=-1e-39, high=1e-39)}
    clip = demo()
    repeated = np.resize(clip, int(model.config.max_seconds * model.config.sample_rate))
    return {
        "demo": model.features(clip),
        "one_word": model.features(clip[8000:24000]),
        "silence": model.features(np.zeros(8000, np.int16)),
        "noise": model.features((Stream(5)(24000) * np.float32(3000)).astype(np.int16)),
        "one_frame": model.features(clip[:1])[:7],
        "longest": model.features(repeated),
    }


def decision_vectors(model: Reference) -> Iterator[Vector]:
    """Features to exit, score, margin, tokens and text, where all of it is exact."""
    if model.config.dtype == "f32":
        return
    utterances = _utterances(model)
    for name in DECIDED.get(model.name, ()):
        features = utterances[name]
        log_probs = model.log_probs(features)
        for policy_name, policy in _policies(log_probs).items():
            expected = model.decide(log_probs, **policy)
            yield Vector(
                f"decision/decide/{model.name}_{name}_{policy_name}", "decision", "decide",
                {"features": features}, expected, dict.fromkeys(expected, INT8), policy,
                model.name)


def _policies(log_probs: Sequence[np.ndarray]) -> dict[str, dict[str, Any]]:
    """Exits by number, and thresholds: at the least score before the last exit, where all stops
    anyway, and one bit below it."""
    least = np.float32(min(frame_entropy(found) for found in log_probs[:-1]))
    below = np.nextafter(least, np.float32(0))
    return {
        "exit_1": {"exit": 1},
        f"exit_{len(log_probs)}": {"exit": len(log_probs)},
        "entropy_never": {"threshold": 0.0},
        "entropy_at_once": {"threshold": 1.0},
        "entropy_equal": {"threshold": float(least)},
        "entropy_one_bit_less": {"threshold": float(below)},
    }


@lru_cache(maxsize=1)
def suite() -> Suite:
    """The one suite."""
    return Suite()
