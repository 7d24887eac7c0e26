"""Front ends of many sizes, for the tests of each that computes them."""

from dataclasses import replace

import numpy as np

from ee_ref.config import FRONTENDS
from ee_ref.families.conformer import Config

CONFIG = Config(
    exits=1, layers_per_exit=(1,), dim=8, heads=1, ff=8, kernel=3, vocab=4, max_frames=100
)
LOG_FLOOR = CONFIG.log_floor
LENGTHS = (1, 2, 159, 160, 161, 256, 257, 512, 513, 514, 1600, 6000)


def frontend(name, **changes) -> Config:
    """A configuration with the sizes of that front end."""
    n_fft, win_length, hop_length = FRONTENDS[name]
    return replace(
        CONFIG, frontend=name, n_fft=n_fft, win_length=win_length, hop_length=hop_length, **changes
    ).validate()


def energies(found, config):
    """The mel energies of features without normalisation."""
    found = found.astype(np.float64)
    return found if config.frontend == "mel" else np.exp(found) - config.log_floor


MEL, LOGMEL = frontend("mel"), frontend("logmel")
CONFIGS = {
    "mel": MEL,
    "logmel": LOGMEL,
    "logmel padded": frontend("logmel", pad=1600),
    "least": replace(CONFIG, n_fft=4, win_length=3, hop_length=2, mels=2),
    "window of n_fft": replace(CONFIG, n_fft=64, win_length=64, hop_length=50, mels=20, pad=7),
    "gaps": replace(CONFIG, n_fft=128, win_length=33, hop_length=200, mels=20, sample_rate=8000),
    "one sample": replace(CONFIG, n_fft=8, win_length=1, hop_length=1, mels=1),
    "largest": replace(CONFIG, n_fft=4096, win_length=4095, mels=128, sample_rate=48000),
}

DIGESTS = {
    # CRC-32 of the features of the golden clip, one of LENGTHS after another. Every compiler,
    # option and CPU gives these; a change of the front end's operations or tables changes them.
    "mel": 0x69759496,
    "logmel": 0x288ac207,
    "logmel padded": 0x3555d55d,
    "gaps": 0x1b01d5b0,
}
