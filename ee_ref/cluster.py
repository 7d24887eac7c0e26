"""One function over many items on the workers of a Dask cluster (docs/scale.md).

Items travel in shards of about equal length, the same ones for any number of workers. The function
travels once to each worker, and what it holds, such as a model, is loaded there once. A shard whose
worker dies is done by another one. Needs dask.distributed, the extra `cluster`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import os
import pickle
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from . import __version__
from .checks import check_count
from .errors import EeError, FileError, shown

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 15.0
"""Seconds for a scheduler to answer, and for workers to come."""

SHARDS = 2000
"""Shards are as short as so many of them allow, within the next limits: a short one is soon done
again, and few of them leave workers idle at the end, but each costs the scheduler a millisecond."""

SHORTEST, LONGEST = 30.0, 600.0
"""Seconds in a shard, but for the last one and for longer items."""

MAX_WORKERS = 1024
"""Of a local cluster."""

_POLL = 1.0  # seconds without a result after which the cluster is looked at
_AHEAD = 2  # shards that wait at the scheduler for each thread of a worker


class ClusterUnavailable(EeError, ImportError):
    """dask.distributed is not installed."""


class ClusterError(EeError, ConnectionError):
    """A cluster that does not answer, has no workers, or other ones than expected."""


def require() -> None:
    """Raise ClusterUnavailable without dask.distributed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ClusterUnavailable("expected the library dask.distributed, found none: "
                                 "pip install 'ee-ref[cluster]'") from None


@contextlib.contextmanager
def connected(address: str, patience: float = PATIENCE) -> Iterator[Cluster]:
    """The cluster of a scheduler. address: as of Dask, such as tcp://HOST:8786.

    Raises ClusterUnavailable; ClusterError when it does not answer or has no workers.
    """
    require()
    from distributed import Client

    expected = f"{shown(address)}: expected a Dask scheduler"
    # Before there is a client, whose own time-out does not hold for what accepts and is silent.
    if (wrong := asyncio.run(_asked_what_it_is(address, patience))) is not None:
        raise ClusterError(f"{expected}, found none that answers within {patience:g} s: {wrong}")
    client = Client(address, timeout=patience, set_as_default=False)
    with client:
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            raise ClusterError(f"{expected} with workers, found one without any within "
                               f"{patience:g} s") from None
        yield Cluster(client, patience)


async def _asked_what_it_is(address: str, patience: float) -> str | None:
    """What keeps an address from being a scheduler's, if anything does."""
    from distributed.core import rpc
    from distributed.security import Security

    async def identity() -> Any:
        async with rpc(address, timeout=patience,
                       connection_args=Security().get_connection_args("client")) as asked:
            return await asked.identity()

    try:
        found = await asyncio.wait_for(identity(), patience)
    except asyncio.TimeoutError:
        return "no answer"
    except (OSError, ValueError, TypeError) as error:
        return shown(error, 200)
    kind = found.get("type") if isinstance(found, dict) else found
    return None if kind == "Scheduler" else f"it says that it is {shown(kind)!r}"


@contextlib.contextmanager
def local(workers: int, threads: int = 1) -> Iterator[Cluster]:
    """A cluster of so many processes of this machine, with so many threads each.

    Raises ClusterUnavailable, ArgumentError for another number of workers.
    """
    require()
    check_count("workers", workers, 1, MAX_WORKERS)
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=threads,
                     dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL) as processes,
        Client(processes, set_as_default=False) as client,
    ):
        yield Cluster(client)


class Cluster:
    """Workers. Made by `connected` and `local`."""

    def __init__(self, client: Client, patience: float = PATIENCE) -> None:
        self._client, self._patience = client, patience

    @property
    def threads(self) -> int:
        """Of all workers."""
        return sum(self._client.nthreads().values())

    def map(self, function: Callable[[T], R], items: Sequence[T], seconds: Sequence[float],
            files: Sequence[str | os.PathLike[str]] = ()) -> Iterator[tuple[int, R]]:
        """(number of the item, what the function gives for it), in the order in which they come.

        function, items: they can be pickled. seconds: about how long each item is, in any unit that
        fits SHORTEST. files: what every worker has to be able to read.
        Raises ClusterError when the cluster is lost or stays without workers, and before any item
        when a worker has no ee_ref, another version of it, or cannot load the function or read a
        file; besides, what the function raises.
        """
        payload = pickle.dumps(function)
        self._check(payload, [os.fspath(path) for path in files])
        key = hashlib.sha256(payload).hexdigest()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")
            # Not scattered: what is scattered is lost with its worker, a task is done again.
            function_there = self._client.submit(bytes, payload, key=f"ee_ref-{key}")
        shards = iter(sharded(seconds))
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running: dict[Any, list[int]] = {}
        most, looked = max(_AHEAD, _AHEAD * self.threads), time.monotonic()
        try:
            while True:
                while len(running) < most and (numbers := next(shards, None)) is not None:
                    future = self._client.submit(
                        _shard, function_there, __version__, [items[n] for n in numbers],
                        pure=False)
                    running[future] = numbers
                    future.add_done_callback(done.put)
                if not running:
                    return
                future = self._next(done)
                if time.monotonic() - looked > _POLL:
                    most, looked = max(_AHEAD, _AHEAD * self.threads), time.monotonic()
                yield from zip(running.pop(future), _result(future))
        finally:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self._client.cancel(list(running), force=True)

    def _next(self, done: queue.SimpleQueue[Any]) -> Any:
        """The next future that is done. Raises ClusterError when there are no workers for long."""
        alone = None
        while True:
            with contextlib.suppress(queue.Empty):
                return done.get(timeout=_POLL)
            now = time.monotonic()
            try:
                threads = self.threads
            except Exception as error:  # of any kind, by how the connection broke
                raise ClusterError(f"the connection to the cluster is lost: {shown(error, 200)}"
                                   ) from error
            alone = None if threads else alone or now
            if alone is not None and now - alone > self._patience:
                raise ClusterError("the cluster has no workers any more: expected one within "
                                   f"{self._patience:g} s")

    def _check(self, payload: bytes, files: list[str]) -> None:
        """Raise ClusterError for workers that cannot do the work, or where there are none."""
        try:
            self._client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError:
            raise ClusterError("the cluster has no workers: expected one within "
                               f"{self._patience:g} s") from None
        found = self._client.run(_ready, __version__, payload, files, on_error="return")
        wrong = [f"worker {shown(address)}: {shown(answer, 300)}"
                 for address, answer in found.items() if answer is not None]
        if wrong:
            raise ClusterError(wrong[0] + (f" (and {len(wrong) - 1} more workers)"
                                           if len(wrong) > 1 else ""))


def sharded(seconds: Sequence[float]) -> list[list[int]]:
    """Numbers of the items of each shard, the longest shard first."""
    length = min(max(sum(seconds) / SHARDS, SHORTEST), LONGEST)
    shards: list[list[int]] = []
    filled = math.inf
    for number, own in enumerate(seconds):
        if filled + own > length:
            shards.append([])
            filled = 0.0
        shards[-1].append(number)
        filled += own
    return sorted(shards, key=lambda shard: -sum(seconds[number] for number in shard))


def _result(future: Any) -> Any:
    """What a shard gave. Raises what it raised; ClusterError for what is Dask's."""
    from concurrent.futures import CancelledError as Cancelled

    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError("the same recordings ended one worker after another: "
                           f"{shown(error, 300)}") from error
    except (Cancelled, FutureCancelledError) as error:
        raise ClusterError("the connection to the cluster is lost") from error
    except (ImportError, AttributeError) as error:  # of a worker that came later
        if isinstance(error, EeError):
            raise
        raise ClusterError(f"a worker has no ee_ref {__version__}: {shown(error, 300)}") from error


# ---- On a worker ----

_loading = threading.Lock()


def _function(payload: bytes) -> Callable[[Any], Any]:
    with _loading:  # once, whatever the number of threads
        return _loaded(payload)


@lru_cache(maxsize=2)
def _loaded(payload: bytes) -> Callable[[Any], Any]:
    return pickle.loads(payload)


def _require_version(expected: str) -> None:
    if __version__ != expected:
        raise ClusterError(f"expected ee_ref {expected}, found {__version__}")


def _ready(version: str, payload: bytes, files: list[str]) -> None:
    """Raise what keeps this worker from the work."""
    _require_version(version)
    _function(payload)
    for path in files:
        if not os.access(path, os.R_OK):
            raise FileError(f"{path}: expected a file that this worker shares, found none")


def _shard(payload: bytes, version: str, items: list[Any]) -> list[Any]:
    _require_version(version)
    function = _function(payload)
    return [function(item) for item in items]
