"""Processes that draw batches for one training process on a GPU.

They are forked before CUDA is touched and use NumPy alone. Batches travel through anonymous shared memory, which
needs no /dev/shm; only their slot numbers, shapes and targets go through queues.
"""

import ctypes
import mmap
import multiprocessing
import queue

import numpy as np

TIMEOUT = 120.0    # seconds without a batch after which the producers count as lost


class Producers:
    """``count`` daemon processes that run ``make_sampler(rank).stream(...)``; ``progress`` is what they see of it.

    Log-mel energies travel as float16: near the largest ones its steps are 0.008, far below the noise laid on them.
    """

    def __init__(self, make_sampler, count, values, slots):
        """values: the most that a batch holds (rows x frames x mels); slots: batches that may wait."""
        context = multiprocessing.get_context("fork")
        self._values = values
        self._memory = mmap.mmap(-1, slots * values * 2)
        self._progress = ctypes.c_double.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        self._ready, self._free = context.Queue(), context.SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)
        self._processes = [context.Process(target=self._produce, args=(make_sampler, rank), daemon=True)
                           for rank in range(count)]
        for process in self._processes:
            process.start()

    @property
    def progress(self):
        return self._progress.value

    @progress.setter
    def progress(self, value):
        self._progress.value = value

    def _slot(self, number, shape):
        return np.frombuffer(self._memory, np.float16, int(np.prod(shape)), number * self._values * 2).reshape(shape)

    def _produce(self, make_sampler, rank):
        for energies, targets in make_sampler(rank).stream(lambda: self.progress):
            number = self._free.get()
            self._slot(number, energies.shape)[:] = energies
            self._ready.put((number, energies.shape, targets))

    def take(self):
        """(log_mel (B, T, mels) float16, list of token lists, release); call release() once log_mel is copied.

        Raises RuntimeError when no batch comes any more.
        """
        try:
            number, shape, targets = self._ready.get(timeout=TIMEOUT)
        except queue.Empty:
            alive = sum(process.is_alive() for process in self._processes)
            raise RuntimeError(f"no batch in {TIMEOUT:.0f} s: expected {len(self._processes)} producers at work, "
                               f"found {alive}") from None
        return self._slot(number, shape), targets, lambda: self._free.put(number)

    def waiting(self):
        """Batches ready now; near zero all the time means that the producers are the slower side."""
        return self._ready.qsize()

    def stop(self):
        # SIGTERM would not do: they have inherited what the training process makes of it.
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
