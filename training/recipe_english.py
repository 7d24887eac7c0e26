"""Every number of the recipes that spell any word: the bundled English model's and the paper's.

Times are seconds, levels are decibels; frames are encoder frames of 40 ms where a view is meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ee_ref.families.conformer import Config

LABELS = 256

ROW_BLOCKS = (5, 7, 9, 12, 15, 19, 24, 30, 38, 48, 60, 76, 96)
"""Lengths of rows in steps of 8 encoder frames, 0.32 s: 1.4 to 30.5 s. Kernels and captured graphs
want few shapes, and attention wants multiples of 8."""

EASY_BLOCKS = 9  # the longest rows of the easy steps at first


def row_samples(blocks: int, config: Config) -> int:
    """Samples of a row that becomes 8 `blocks` encoder frames."""
    inputs = config.window + config.stride * (8 * blocks - 1)
    return (inputs - 1) * config.hop_length - 2 * config.pad


@dataclass(frozen=True)
class Mix:
    """What a row is made of."""
    strings: float = 0.16       # share of rows that are recorded words joined at random
    silence: float = 0.01       # share of rows without speech and with an empty text
    real: float = 0.35          # share of recordings among the sentences; the others are synthetic
    single: float = 0.4         # share of strings that are one word
    most_words: int = 6
    raw: float = 0.35           # share of strings joined from whole recordings, without gaps
    gap: float = 0.5            # longest gap between cut words
    margin: float = 0.3         # longest stretch kept beside a cut word
    several: float = 0.2        # share of sentence rows that are two utterances or more
    most_sentences: int = 4
    longest: float = 29.0       # of an utterance
    rate: tuple[float, float] = (0.85, 1.18)        # speed and pitch of a recording
    synthetic_rate: tuple[float, float] = (0.9, 1.12)
    pools: dict[str, float] = field(default_factory=lambda: {
        "core": 36, "digits": 24, "other": 16, "wake": 16})
    # Hours of a source count so many times; one speaker's for less.
    sources: dict[str, float] = field(default_factory=lambda: {
        "kathleen": 0.5, "ljspeech": 0.6, "speechocean762": 0.7, "common-voice": 1.2})

    @property
    def most_pieces(self) -> int:
        return max(self.most_words, self.most_sentences)


@dataclass(frozen=True)
class Augment:
    """How a row is changed: rooms on samples, noise and filters on energies, where sounds add."""
    reverb: float = 0.35                # probability
    reverb_time: tuple[float, float] = (0.1, 0.7)   # until the energy has fallen by 60 dB
    reverb_level: tuple[float, float] = (-18.0, -1.0)
    reverb_longest: float = 0.35
    frequency_warp: tuple[float, float] = (0.87, 1.15)
    noise: float = 0.65                 # probability
    noise_level: tuple[float, float] = (-50.0, -13.0)   # against the loudest frame
    babble: float = 0.28                # share of noises that are other rows
    babble_level: float = -6.0          # against a noise
    gain: tuple[float, float] = (-25.0, 8.0)
    tilt: float = 6.0                   # most, between the lowest and the highest mel
    ripple: float = 3.0
    low_pass: float = 0.15              # probability
    low_pass_edge: tuple[float, float] = (0.66, 1.0)    # of the mel axis
    frequency_masks: int = 2
    frequency_mask: int = 17            # mels, at most
    time_mask: int = 24                 # mel frames, at most, and
    time_mask_share: float = 0.08       # of a row: a short word must not be hidden whole
    time_mask_every: int = 75           # mel frames of input for each time mask


@dataclass(frozen=True)
class Optimisation:
    """How the network is fitted. Progress is a share of the minutes or steps asked for."""
    batch_seconds: float = 1200.0       # of a step, over all processes
    dropout: float = 0.1
    schedule: str = "cosine"            # flat, then a cosine down to rate_end; or "noam"
    rate: float = 5e-4                  # at the peak
    warmup_steps: int = 500
    flat: float = 0.3
    rate_end: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    weight_decay: float = 0.03          # on matrices only
    clip: float = 2.0
    exit_weights: tuple[float, ...] = (0.7, 0.8, 0.9, 1.0, 1.3)
    average_after: float = 0.88         # from there on the weights are averaged,
    average_every: int = 8              # those of one step in so many
    norm_momentum: float = 0.02
    norm_batches: int = 40              # that batch-norm statistics are measured on at the end
    whole: float = 0.8                  # share of batches in full view; the others draw
    chunks: tuple[int, ...] = (16, 24, 32, 48)      # frames of a chunk and
    lefts: tuple[int, ...] = (32, 64, 128, 1000)    # frames seen before it
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    model: Config
    pad: int                            # zero samples at run time on either side of a recording
    mix: Mix
    changes: Augment
    opt: Optimisation


ENGLISH = Recipe(
    model=Config(  # 10.7 M parameters
        exits=5,
        # With two layers the first exit hears little that was not trained on.
        layers_per_exit=(4, 2, 2, 2, 2), dim=192, heads=4, ff=768, kernel=15, vocab=LABELS,
        max_frames=0, positions="none", frontend="logmel", n_fft=512, win_length=400, pad=1600,
    ).validate(),
    pad=3200,  # the shortest rows have more silence than a word cut tightly: best on dev
    mix=Mix(), changes=Augment(), opt=Optimisation())

PAPER = Recipe(  # arXiv:2309.09546 and the authors' code: whole recordings as they are
    model=Config(  # 31.5 M parameters
        exits=6, layers_per_exit=(2,) * 6, dim=256, heads=8, ff=2048, kernel=31, vocab=LABELS,
        max_frames=2000,
    ).validate(),
    pad=0,
    mix=Mix(strings=0.0, silence=0.0, real=1.0, several=0.0, rate=(1.0, 1.0)),
    changes=Augment(reverb=0.0, frequency_warp=(1.0, 1.0), noise=0.0, gain=(0.0, 0.0), tilt=0.0,
                    ripple=0.0, low_pass=0.0, frequency_mask=0, time_mask=0),
    opt=Optimisation(
        batch_seconds=200.0,  # 16 utterances of LibriSpeech
        schedule="noam", rate=256 ** -0.5 * 17300 ** -0.5, warmup_steps=17300,  # an epoch
        epsilon=1e-9, weight_decay=5e-4, clip=1.0, exit_weights=(1.0,) * 6, whole=1.0))

PRESETS = {"english": ENGLISH, "paper": PAPER}
