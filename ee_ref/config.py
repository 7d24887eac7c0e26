"""The configuration of a model: every choice of architecture and front end, as plain numbers.

A `Config` is what a model file says about itself (weights_io/FORMAT.md) and all that the encoder,
the front end and the C runtime need to know besides the weights. Here is what every model has; each
family (`ee_ref.families`) adds its own fields and says what follows from them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from .errors import ArgumentError

FRONTENDS = {
    # name: (n_fft, win_length, hop_length) at 16 kHz
    "mel": (1024, 320, 160),
    "logmel": (512, 400, 160),
}
"""The kinds of front ends of mel features."""

WAVEFORMS = ("waveform", "samples")
"""Those of models that take samples: of zero mean and unit variance, or as they are."""

KINDS = (*FRONTENDS, *WAVEFORMS)
"""All kinds of front ends, in the order of their numbers in flash images and C."""

DTYPES = ("f32", "qs8")
"""Arithmetic of the encoder: float32, or int8 products (docs/numerics.md)."""

# Limits that keep a hostile model file from asking for absurd amounts of memory.
MAX_SIZE = 1 << 16
MAX_EXITS = 64
MAX_LAYERS_PER_EXIT = 64
MAX_FILTER_BANK = 1 << 22  # numbers: mels times FFT bins


Self = TypeVar("Self", bound="Config")


@dataclass(frozen=True, kw_only=True)
class Config(ABC):
    """Sizes and choices of an early-exit model of any family.

    exits: number of exits; layers_per_exit: layers before each exit, one entry an exit.
    dim, heads, ff, kernel: width of a layer, attention heads, feed-forward width, taps of its
    convolution.
    vocab: CTC labels including blank; blank: its index.
    mels, sample_rate (Hz), frontend, n_fft, win_length, hop_length, pad (samples): the front end;
    pad zero samples are put before and after the audio; log_floor is added to the energies, where
    `has_floor`.
    max_frames: the most encoder frames of an utterance; 0 for no limit.
    chunk, left: a limited view, in encoder frames: a frame sees those of its chunk of `chunk`
    frames and the `left` ones before that. chunk 0 is the full view.
    dtype: "f32" | "qs8", how the weights are stored and the encoder computes.

    A field that is a tuple has one entry an exit. A field with "since" in its metadata is in model
    files of that format version and later ones; before, all models had its default.
    """

    architecture: ClassVar[str]
    """The name of the family in model files."""
    number: ClassVar[int]
    """The same in flash images and in C; 0 where these do not have the family."""
    since: ClassVar[int] = 3
    """The first format version of model files that has the family."""

    frontends: ClassVar[tuple[str, ...]] = tuple(FRONTENDS)
    """The kinds of front ends that its models may have."""
    own: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What only this family has of `ee_config`, in its order there and in flash images: names of
    attributes, and their formats in `struct`."""
    has_decoder: ClassVar[bool] = False
    """Whether its exits have attention decoders besides CTC heads."""
    has_streams: ClassVar[bool] = True
    """Whether its models hear audio that comes in pieces."""

    exits: int
    layers_per_exit: tuple[int, ...]
    dim: int
    heads: int
    ff: int
    kernel: int
    vocab: int
    max_frames: int
    mels: int = 80
    sample_rate: int = 16000
    frontend: str = "mel"
    n_fft: int = 1024
    win_length: int = 320
    hop_length: int = 160
    pad: int = 0
    log_floor: float = 1e-6
    blank: int = 0
    dtype: str = field(default="f32", metadata={"since": 2})
    chunk: int = field(default=0, metadata={"since": 3})
    left: int = field(default=0, metadata={"since": 3})

    @classmethod
    def of_own(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The fields of a configuration that the attributes `own` are made of, from those."""
        return values

    def first_exits(self: Self, exits: int) -> Self:
        """The configuration of the model that is left when nothing after this exit is."""
        cut: dict[str, Any] = {
            own.name: getattr(self, own.name)[:exits] for own in fields(self)
            if str(own.type).startswith("tuple")}
        return replace(self, exits=exits, **cut)

    @property
    def has_floor(self) -> bool:
        """Whether the front end adds `log_floor` and normalises: each mel kind but that of bare
        energies."""
        return self.frontend != "mel" and not self.takes_samples

    @property
    def takes_samples(self) -> bool:
        """Whether a feature is a sample, and not a frame of mels."""
        return self.frontend in WAVEFORMS

    def feature_frames(self, samples: int) -> int:
        """Frames of features of so many samples."""
        return 1 + (samples + 2 * self.pad) // self.hop_length

    @abstractmethod
    def encoder_frames(self, inputs: int) -> int:
        """Encoder frames of so many frames of features."""

    @property
    @abstractmethod
    def window(self) -> int:
        """Frames of features that an encoder frame is made of; the next one is `stride` later."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Frames of features from one encoder frame to the next."""

    @property
    @abstractmethod
    def frame_seconds(self) -> float:
        """Seconds between two encoder frames."""

    @property
    @abstractmethod
    def max_seconds(self) -> float:
        """Longest audio, in seconds, that `max_frames` admits; infinite without a limit."""

    @abstractmethod
    def frame_time(self, frame: int) -> float:
        """Centre of encoder frame `frame` in seconds of the audio given (before padding)."""

    @abstractmethod
    def stem_cost(self, inputs: int) -> int:
        """Multiply-accumulates before the first layer, which are part of every exit's `costs`."""

    @abstractmethod
    def costs(self, inputs: int) -> tuple[int, ...]:
        """Multiply-accumulates up to and including each exit for so many frames of features."""

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        for name in ("dim", "heads", "ff", "kernel", "vocab", "mels", "n_fft", "win_length",
                     "hop_length"):
            self._require_count(name, 1)
        for name in ("max_frames", "chunk", "left", "pad"):
            self._require_count(name, 0)
        require = self._require
        require(is_count(self.sample_rate, 1000, 1_000_000), "sample_rate", "in 1000..1000000 Hz")
        require(is_count(self.exits, 1, MAX_EXITS), "exits", f"in 1..{MAX_EXITS}")
        self._require_per_exit("layers_per_exit", 1, MAX_LAYERS_PER_EXIT)
        require(self.dim % self.heads == 0, "heads", f"a divisor of dim {self.dim}")
        require(self.vocab >= 2, "vocab", "at least 2")
        require(is_count(self.blank, 0, self.vocab - 1), "blank", f"in 0..{self.vocab - 1}")
        require(self.frontend in self.frontends, "frontend", f"one of {sorted(self.frontends)}")
        if not self.takes_samples:
            self._validate_mel()
        else:
            for name in ("mels", "n_fft", "win_length", "hop_length"):
                require(getattr(self, name) == 1, name, f"1 with the front end {self.frontend}")
            require(self.pad == 0, "pad", f"0 with the front end {self.frontend}")
        require(self.left == 0 or self.chunk > 0, "left", "0 without a chunk")
        require(self.dtype in DTYPES, "dtype", f"one of {list(DTYPES)}")
        self._require_positive("log_floor")
        return self

    def _validate_mel(self) -> None:
        require = self._require
        require(self.win_length <= self.n_fft, "win_length", f"at most n_fft {self.n_fft}")
        require(self.n_fft % 2 == 0, "n_fft", "even")
        require(self.mels <= self.n_fft // 2 + 1, "mels", f"at most {self.n_fft // 2 + 1}")
        require(self.mels * (self.n_fft // 2 + 1) <= MAX_FILTER_BANK, "mels",
                f"with n_fft {self.n_fft} at most {MAX_FILTER_BANK} numbers of mel filters")

    def _require(self, ok: bool, name: str, expected: str) -> None:
        if not ok:
            raise ArgumentError(f"model configuration: {name}: expected {expected}, "
                                f"found {getattr(self, name)!r:.80}")

    def _require_count(self, name: str, low: int) -> None:
        self._require(is_count(getattr(self, name), low), name,
                      f"an integer in {low}..{MAX_SIZE}")

    def _require_per_exit(self, name: str, low: int, high: int) -> None:
        found = getattr(self, name)
        self._require(isinstance(found, tuple) and len(found) == self.exits
                      and all(is_count(count, low, high) for count in found),
                      name, f"{self.exits} counts in {low}..{high}")

    def _require_positive(self, name: str) -> None:
        value = getattr(self, name)
        self._require(isinstance(value, float) and math.isfinite(value) and value > 0,
                      name, "a positive number")


def is_count(value: object, low: int, high: int = MAX_SIZE) -> bool:
    """Whether it is an integer in low..high, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
