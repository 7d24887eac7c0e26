"""Processes that draw batches for one training process on a GPU.

They are forked before CUDA is touched and use NumPy alone. Batches travel through anonymous shared
memory, which needs no /dev/shm; only their slot numbers, shapes and targets go through queues.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import multiprocessing
import queue
from collections.abc import Callable

import numpy as np

from data import Sampler

TIMEOUT = 120.0  # seconds without a batch after which the producers count as lost


class Producers:
    """`count` daemon processes that run `make_sampler(rank).stream(...)`.

    progress: what they see of the training's, 0..1. Log-mel energies travel as float16: near the
    largest ones its steps are 0.008, far below the noise laid on them.
    """

    def __init__(
        self, make_sampler: Callable[[int], Sampler], count: int, values: int, slots: int
    ) -> None:
        """values: the most that a batch holds (rows x frames x mels); slots: batches that wait."""
        context = multiprocessing.get_context("fork")
        self._values = values
        self._memory = mmap.mmap(-1, slots * values * 2)
        self._progress = ctypes.c_double.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        self._ready, self._free = context.Queue(), context.SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)
        self._processes = [
            context.Process(target=self._produce, args=(make_sampler, rank), daemon=True)
            for rank in range(count)]
        for process in self._processes:
            process.start()

    @property
    def progress(self) -> float:
        return self._progress.value

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress.value = value

    def _slot(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        start = number * self._values * 2
        return np.frombuffer(self._memory, np.float16, math.prod(shape), start).reshape(shape)

    def _produce(self, make_sampler: Callable[[int], Sampler], rank: int) -> None:
        for energies, targets in make_sampler(rank).stream(lambda: self.progress):
            number = self._free.get()
            self._slot(number, energies.shape)[:] = energies
            self._ready.put((number, energies.shape, targets))

    def take(self) -> tuple[np.ndarray, list[list[int]], Callable[[], None]]:
        """(log_mel (B, T, mels) float16, list of token lists, release).

        Call release() once log_mel is copied.
        Raises RuntimeError when no batch comes any more.
        """
        try:
            number, shape, targets = self._ready.get(timeout=TIMEOUT)
        except queue.Empty:
            alive = sum(process.is_alive() for process in self._processes)
            raise RuntimeError(
                f"no batch in {TIMEOUT:.0f} s: expected {len(self._processes)} producers at work, "
                f"found {alive}") from None
        return self._slot(number, shape), targets, lambda: self._free.put(number)

    def stop(self) -> None:
        """Ends the processes."""
        # SIGTERM would not do: they have inherited what the training process makes of it.
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
