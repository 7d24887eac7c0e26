"""Rows of a batch on the device: joined from clips, changed, and turned into mel energies.

All samples of the corpus lie on the device as int16. A batch is drawn elsewhere as a table of
pieces (plans.py); nothing here waits for the host, so that a step can be captured as a graph.
Shapes: R rows, N samples of a row, T mel frames, M mels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ee_ref.families.conformer import Config
from recipe_english import Augment

_NOISE_SECONDS = 300


class Store:
    """All samples of a corpus, int16, on a device."""

    def __init__(self, hours: float, rate: int, device: torch.device) -> None:
        self.samples = torch.zeros(int(hours * 3600 * rate), dtype=torch.int16, device=device)
        self.used = 64  # cubic interpolation looks one sample back

    def add(self, samples: np.ndarray) -> int | None:
        """Where samples (N,) int16 begin now; None where there is no room."""
        if self.used + len(samples) + 64 > len(self.samples):
            return None
        start = self.used
        target = self.samples[start:start + len(samples)]
        target.copy_(torch.from_numpy(np.array(samples)))
        if self.samples.is_cuda:  # on a stream of its own, perhaps
            torch.cuda.current_stream().synchronize()
        self.used += len(samples) + 64
        return start


def joined(store: Tensor, table: Tensor, samples: int) -> Tensor:
    """Rows (R, N) float32 of the pieces in a table (R, K, 5) (`plans.PIECE`), by cubics."""
    j = torch.arange(samples, device=store.device, dtype=torch.float64)[None]
    piece = torch.zeros(1, 1, device=store.device, dtype=torch.int64)
    for k in range(1, table.shape[1]):
        piece = piece + (j >= table[:, k, 2:3])
    start, length, at, rate, gain = (table[:, :, column].gather(1, piece) for column in range(5))
    place = (j - at) * rate
    inside = (place >= 1) & (place < length - 3)
    low = place.floor()
    x = (place - low).float()
    index = torch.where(inside, start + low, 1.0).long()
    y0, y1, y2, y3 = (store[index + shift].float() for shift in (-1, 0, 1, 2))
    y = y1 + 0.5 * x * (y2 - y0 + x * (2 * y0 - 5 * y1 + 4 * y2 - y3
                                       + x * (3 * (y1 - y2) + y3 - y0)))
    return torch.where(inside, y * (gain.float() / 32768), 0.0)


class Waves:
    """Augmented features of rows, for one configuration of the front end.

    Features are log-mel energies, or mel energies for the kind "mel", before a model's own mean and
    scale.
    """

    def __init__(self, config: Config, changes: Augment, device: torch.device) -> None:
        self.config, self.changes, self.device = config, changes, device
        self.window = torch.hann_window(config.win_length, periodic=True, device=device)
        self.axis = torch.linspace(0, 1, config.mels, device=device)
        warps = np.linspace(*changes.frequency_warp, 29)
        self.banks = torch.tensor(np.stack([self._bank(warp) for warp in warps]), device=device)
        self.bank = torch.tensor(self._bank(1.0), device=device)
        white = torch.randn(1, _NOISE_SECONDS * config.sample_rate, device=device)
        self.noises = self._scaled(white).repeat(2, 1, 1)

    def _bank(self, warp: float) -> np.ndarray:
        """Triangles (bins, M) on the HTK scale, all frequencies times `warp`."""
        half = self.config.sample_rate / 2
        bins = np.linspace(0, half, self.config.n_fft // 2 + 1)
        top = 2595 * np.log10(1 + half / 700)
        edges = warp * 700 * (10 ** (np.linspace(0, top, self.config.mels + 2) / 2595) - 1)
        below, width = bins[:, None] - edges, np.diff(edges)
        triangle = np.minimum(below[:, :-2] / width[:-1], -below[:, 2:] / width[1:])
        return np.maximum(0, triangle).astype(np.float32)

    def _scaled(self, samples: Tensor) -> Tensor:
        energies = self.power(samples)[0] @ self.bank
        return energies / energies.mean()

    def use_background(self, samples: np.ndarray) -> None:
        """Half of the noises are pieces of this recording (N,) int16 from now on."""
        wanted = _NOISE_SECONDS * self.config.sample_rate
        whole = np.resize(samples, wanted).astype(np.float32) / 32768
        self.noises[1] = self._scaled(torch.from_numpy(whole).to(self.device)[None])

    def power(self, samples: Tensor) -> Tensor:
        """Power spectra (R, T, bins) of samples (R, N)."""
        config = self.config
        spectra = torch.stft(samples, config.n_fft, config.hop_length, config.win_length,
                             self.window, center=True, pad_mode="reflect", return_complex=True)
        return spectra.abs().square().transpose(1, 2)

    def features(self, samples: Tensor) -> Tensor:
        """Features (R, T, M) of whole recordings (R, N)."""
        pad = self.config.pad
        return self._features(self.power(F.pad(samples, (pad, pad))) @ self.bank)

    def _features(self, energies: Tensor) -> Tensor:
        if self.config.frontend == "mel":
            return energies
        return torch.log(energies + self.config.log_floor)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self.device) * (high - low) + low

    def _decibels(self, low: float, high: float, *shape: int) -> Tensor:
        return 10 ** (self._uniform(low, high, *shape) / 10)

    def _chosen(self, share: float | Tensor, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self.device) < share

    def _colour(self, rows: int, tilt: float, ripple: float) -> Tensor:
        """A smooth random gain of each mel (R, M), as a power ratio."""
        curve = tilt * self._uniform(-1, 1, rows, 1) * (self.axis - 0.5)
        for cycles in (1, 2, 3):
            height = ripple / cycles * self._uniform(-1, 1, rows, 1)
            phase = self._uniform(0, math.pi, rows, 1)
            curve = curve + height * torch.cos(math.pi * cycles * self.axis + phase)
        return 10 ** (curve / 10)

    def _room(self, samples: Tensor, ease: Tensor) -> Tensor:
        """Samples (R, N) with the tail of a random room in some rows."""
        changes, rate = self.changes, self.config.sample_rate
        rows, length = samples.shape
        taps = round(changes.reverb_longest * rate)
        seconds = torch.arange(taps, device=self.device) / rate
        decay = 6.9 / self._uniform(*changes.reverb_time, rows, 1)
        tail = torch.randn(rows, taps, device=self.device) * torch.exp(-decay * seconds)
        tail[:, :32] = 0
        level = self._decibels(*changes.reverb_level, rows, 1).sqrt()
        on = self._chosen(changes.reverb * ease, rows, 1)
        tail = tail / tail.square().sum(1, keepdim=True).sqrt() * level * on
        tail[:, 0] = 1
        size = -(-(length + taps) // 1024) * 1024
        product = torch.fft.rfft(samples, size) * torch.fft.rfft(tail, size)
        return torch.fft.irfft(product, size)[:, :length]

    def _noise(self, energies: Tensor, ease: Tensor) -> Tensor:
        """Energies (R, T, M) with noise, recorded background or other rows laid under some."""
        changes = self.changes
        rows, frames, mels = energies.shape
        loudest = energies.sum(2).amax(1).clamp_min(1e-4)
        level = self._decibels(*changes.noise_level, rows)
        level = level * self._chosen(changes.noise * ease, rows)
        kind = torch.randint(2, (rows, 1), device=self.device)
        start = torch.randint(self.noises.shape[1] - frames, (rows, 1), device=self.device)
        noise = self.noises[kind, start + torch.arange(frames, device=self.device)]
        noise = noise * self._colour(rows, 30, 6)[:, None]
        noise = noise / noise.sum(2).mean(1).clamp_min(1e-9)[:, None, None]
        babble = energies.roll(1, 0) * self._colour(rows, 6, 3)[:, None]
        babble = babble / babble.sum(2).amax(1).clamp_min(1e-9)[:, None, None]
        babble = babble * 10 ** (changes.babble_level / 10)
        noise = torch.where(self._chosen(changes.babble, rows, 1, 1), babble, noise)
        pad = self.config.pad // self.config.hop_length
        inside = torch.arange(frames, device=self.device)
        inside = (inside >= pad) & (inside < frames - pad)
        return energies + noise * (level * loudest)[:, None, None] * inside[:, None]

    def _hidden(self, rows: int, length: int, count: int, widest: Tensor) -> Tensor:
        """(R, length): whether one of `count` stretches of at most `widest` covers a place."""
        width = self._uniform(0, 1, rows, count, 1) * widest
        start = self._uniform(0, 1, rows, count, 1) * (length - width)
        place = torch.arange(length, device=self.device)
        return ((place >= start) & (place < start + width)).any(1)

    @torch.no_grad()
    def augmented(self, samples: Tensor, ease: Tensor) -> Tensor:
        """Features (R, T, M) of rows (R, N); ease in 0..1 scales how often and how much."""
        config, changes = self.config, self.changes
        rows = len(samples)
        samples = F.pad(self._room(samples, ease), (config.pad, config.pad))
        warp = torch.randint(len(self.banks), (rows,), device=self.device)
        energies = self._noise(torch.bmm(self.power(samples), self.banks[warp]), ease)
        gain = self._decibels(*changes.gain, rows, 1) * self._colour(
            rows, changes.tilt, changes.ripple)
        edge = self._uniform(*changes.low_pass_edge, rows, 1)
        fall = ((self.axis - edge) * 60).clamp(0, 5) * self._chosen(changes.low_pass, rows, 1)
        x = self._features(energies * (gain * 10 ** -fall)[:, None])
        frames = x.shape[1]
        mean = x.mean(1, keepdim=True)
        masks = max(1, frames // changes.time_mask_every)
        widest = min(changes.time_mask, changes.time_mask_share * frames)
        in_time = self._hidden(rows, frames, masks, widest * ease)
        in_mels = self._hidden(
            rows, config.mels, changes.frequency_masks, changes.frequency_mask * ease)
        return torch.where(in_time[:, :, None] | in_mels[:, None], mean, x)
