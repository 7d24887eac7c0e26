"""The configuration of a model: every choice of architecture and front end, as plain numbers.

A `Config` is what a model file says about itself (weights_io/FORMAT.md) and all that the encoder,
the front end and the C runtime need to know besides the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import ArgumentError

FRONTENDS = {
    # name: (n_fft, win_length, hop_length) at 16 kHz
    "mel": (1024, 320, 160),
    "logmel": (512, 400, 160),
}

DTYPES = ("f32", "qs8")
"""Arithmetic of the encoder: float32, or int8 products (docs/numerics.md)."""

# Limits that keep a hostile model file from asking for absurd amounts of memory.
MAX_SIZE = 1 << 16
MAX_EXITS = 64
MAX_LAYERS_PER_EXIT = 64
MIN_NORM_EPS = 2.0**-40  # int8 mode takes differences below 2**-50 for zero (docs/numerics.md)
MAX_FILTER_BANK = 1 << 22  # numbers: mels times FFT bins


@dataclass(frozen=True)
class Config:
    """Sizes and choices of an early-exit Conformer-CTC model (paper, section 2).

    exits: number of exits; layers_per_exit: Conformer layers before each exit, one entry an exit.
    dim, heads, ff, kernel: width, attention heads, feed-forward width, depthwise kernel (odd).
    vocab: CTC labels including blank; blank: its index.
    mels, sample_rate (Hz), frontend, n_fft, win_length, hop_length, pad (samples): the front end;
    pad zero samples are put before and after the audio; log_floor is added before the logarithm.
    max_frames: rows of the position table, in encoder frames (one each 4 hop_length samples).
    dtype: "f32" | "qs8", how the weights are stored and the encoder computes.
    """

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
    norm_eps: float = 1e-5
    stem_kernel: int = 3
    stem_stride: int = 2
    dtype: str = "f32"

    def encoder_frames(self, mel_frames: int) -> int:
        """Frames after the two stem convolutions for `mel_frames` frames of features."""
        frames = mel_frames
        for _ in range(2):
            frames = max(0, (frames - self.stem_kernel) // self.stem_stride + 1)
        return frames

    @property
    def frame_seconds(self) -> float:
        """Seconds between two encoder frames."""
        return self.stem_stride**2 * self.hop_length / self.sample_rate

    @property
    def max_seconds(self) -> float:
        """Longest audio, in seconds, that the position table covers."""
        mel_frames = self.max_frames
        for _ in range(2):
            mel_frames = (mel_frames - 1) * self.stem_stride + self.stem_kernel
        # One more mel frame than the last usable stride still gives max_frames encoder frames.
        mel_frames += self.stem_stride**2 - 1
        return (mel_frames * self.hop_length - 1 - 2 * self.pad) / self.sample_rate

    def frame_time(self, frame: int) -> float:
        """Centre of encoder frame `frame` in seconds of the audio given (before padding)."""
        reach = (self.stem_kernel - 1) // 2
        mel_frame = self.stem_stride * (self.stem_stride * frame + reach) + reach
        return (mel_frame * self.hop_length - self.pad) / self.sample_rate

    def validate(self) -> "Config":
        """Return self, or raise ArgumentError naming the first field out of its range."""

        def require(ok: bool, field: str, expected: str) -> None:
            if not ok:
                raise ArgumentError(
                    f"model configuration: {field}: expected {expected}, "
                    f"found {getattr(self, field)!r:.80}"
                )

        def is_count(value: object, low: int, high: int = MAX_SIZE) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

        for field in ("dim", "heads", "ff", "kernel", "vocab", "max_frames", "mels", "n_fft",
                      "win_length", "hop_length", "stem_kernel", "stem_stride"):
            require(is_count(getattr(self, field), 1), field, f"an integer in 1..{MAX_SIZE}")
        require(is_count(self.sample_rate, 1000, 1_000_000), "sample_rate", "in 1000..1000000 Hz")
        require(is_count(self.exits, 1, MAX_EXITS), "exits", f"in 1..{MAX_EXITS}")
        require(
            isinstance(self.layers_per_exit, tuple)
            and len(self.layers_per_exit) == self.exits
            and all(is_count(n, 1, MAX_LAYERS_PER_EXIT) for n in self.layers_per_exit),
            "layers_per_exit", f"{self.exits} counts in 1..{MAX_LAYERS_PER_EXIT}",
        )
        require(self.dim % self.heads == 0, "heads", f"a divisor of dim {self.dim}")
        require(self.kernel % 2 == 1, "kernel", "odd")
        require(self.vocab >= 2, "vocab", "at least 2")
        require(is_count(self.blank, 0, self.vocab - 1), "blank", f"in 0..{self.vocab - 1}")
        require(self.frontend in FRONTENDS, "frontend", f"one of {sorted(FRONTENDS)}")
        require(self.win_length <= self.n_fft, "win_length", f"at most n_fft {self.n_fft}")
        require(self.n_fft % 2 == 0, "n_fft", "even")
        require(self.mels <= self.n_fft // 2 + 1, "mels", f"at most {self.n_fft // 2 + 1}")
        require(self.mels * (self.n_fft // 2 + 1) <= MAX_FILTER_BANK, "mels",
                f"with n_fft {self.n_fft} at most {MAX_FILTER_BANK} numbers of mel filters")
        require(is_count(self.pad, 0), "pad", f"in 0..{MAX_SIZE} samples")
        require(self.stem_kernel == 3, "stem_kernel", "3")
        require(self.stem_stride == 2, "stem_stride", "2")
        require(self.dtype in DTYPES, "dtype", f"one of {list(DTYPES)}")
        def is_number(value: object) -> bool:
            return isinstance(value, float) and math.isfinite(value)

        require(is_number(self.log_floor) and self.log_floor > 0, "log_floor", "a positive number")
        require(is_number(self.norm_eps) and self.norm_eps >= MIN_NORM_EPS, "norm_eps",
                "a number of at least 2**-40")
        return self


CONFIG_FIELDS = tuple(field.name for field in fields(Config))
