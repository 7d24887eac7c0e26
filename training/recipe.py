"""Every number of the recipe.

Times are seconds, frames are mel frames of 10 ms, levels are decibels.
"""

from dataclasses import dataclass, field

from ee_ref.families.conformer import Config

TOKENS = ("<blank>", "▁", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'")

MODEL = Config(  # 1.58 M parameters
    exits=6,
    # Two layers before the first exit halve its errors; elsewhere one is enough.
    layers_per_exit=(2, 1, 1, 1, 1, 1),
    dim=96,
    heads=4,
    ff=384,
    kernel=15,
    vocab=len(TOKENS),
    max_frames=1000,
    frontend="logmel",
    n_fft=512,
    win_length=400,
    # Words are often cut tightly: a tenth of a second of silence lets the last letters come out.
    pad=1600,
).validate()

PAD_FRAMES = MODEL.pad // MODEL.hop_length
FRAMES_PER_SECOND = MODEL.sample_rate // MODEL.hop_length


def encode(text: str) -> list[int]:
    """Upper-case text -> token numbers; a space becomes the word-boundary token."""
    return [TOKENS.index("▁" if letter == " " else letter) for letter in text]


@dataclass(frozen=True)
class Mix:
    """What a training sample is made of."""
    read: float = 0.15          # share of samples that are one read sentence
    read_after: float = 0.12    # of the training time; until then words only
    read_longest: float = 9.0
    digit_strings: float = 0.06  # share of samples that are one synthetic digit string
    silence: float = 0.015      # share of samples with no speech and an empty text
    # Of the rest: one clip, strings of two, three, ... six.
    clips: tuple[float, ...] = (0.40, 0.14, 0.20, 0.12, 0.08, 0.06)
    one_speaker: float = 0.5    # share of strings whose clips are one speaker's
    raw: float = 0.35           # share of samples joined from whole recordings, without gaps
    gap: float = 0.5            # longest gap between cut clips
    margin: float = 0.3         # longest stretch kept beside the word in a cut clip
    pools: dict[str, float] = field(default_factory=lambda: {
        "core": 38, "other": 14, "digits": 11, "synth-digits": 14, "wake": 12, "synth": 12})


@dataclass(frozen=True)
class Augment:
    """How a training sample is changed; all of it works on mel energies."""
    # Resampled copies of every real clip of a word.
    speeds: tuple[float, ...] = (0.86, 0.93, 1.0, 1.08, 1.16)
    time_warp: tuple[float, ...] = (0.82, 1.22)
    frequency_warp: tuple[float, ...] = (0.88, 1.14)
    gain: tuple[float, ...] = (-20.0, 10.0)
    reverb: float = 0.3                 # probability
    reverb_time: tuple[float, ...] = (0.1, 0.6)     # until the energy has fallen by 60 dB
    reverb_level: tuple[float, ...] = (-15.0, -2.0)
    tilt: float = 6.0                   # most, between the lowest and the highest mel
    ripple: float = 3.0
    low_pass: float = 0.15              # probability
    low_pass_edge: tuple[float, ...] = (0.72, 1.0)  # of the mel axis: 3.7 to 8 kHz
    noise: float = 0.65                 # probability
    noise_level: tuple[float, ...] = (-45.0, -11.0)  # against the loudest frame
    babble_level: tuple[float, ...] = (-45.0, -18.0)
    frequency_masks: int = 2
    frequency_mask: int = 10            # mels, at most
    time_mask: int = 9                  # frames, at most
    time_mask_every: int = 130          # frames of input for each time mask


@dataclass(frozen=True)
class Optimisation:
    """How the network is fitted.

    The clock is training time, so progress is a share of the minutes asked for.
    """
    batch_frames: int = 16000   # mel frames a step, over all processes
    pool_batches: int = 8       # batches whose samples are sorted by length together
    dropout: float = 0.05
    rate: float = 2e-3
    warmup_steps: int = 300
    flat: float = 0.45          # of the time; a cosine down to rate_end follows
    rate_end: float = 1e-5
    betas: tuple[float, ...] = (0.9, 0.98)
    weight_decay: float = 0.01  # on matrices only
    clip: float = 2.0
    average_after: float = 0.9  # of the time; from there on the weights are averaged,
    average_every: int = 10     # those of one step in so many
    norm_momentum: float = 0.02
    norm_batches: int = 96      # batches that the batch-norm statistics are measured on at the end
    seed: int = 1


ON_CPU = Optimisation()
# Many times the steps: what limits the result is no longer time but the number of speakers.
ON_GPU = Optimisation(batch_frames=40000, dropout=0.1)
