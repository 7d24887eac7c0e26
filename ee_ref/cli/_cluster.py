"""The options that spread work over processes and machines, and resume it."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..evaluation.manifest import Recording
    from ..evaluation.run import Spread
    from ..exits import AnyPolicy
    from ..model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--dask and --workers."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dask", metavar="ADDRESS",
                       help="run on the workers of this Dask scheduler, such as tcp://HOST:8786, "
                       "which find model and audio at the same paths (docs/scale.md)")
    where.add_argument("--workers", type=int, metavar="N",
                       help="run in N processes of this machine, with --threads each")


def add_journal(parser: argparse.ArgumentParser) -> None:
    """--journal, of the commands that measure recordings."""
    parser.add_argument("--journal", type=Path, metavar="F",
                        help="write to F what was measured of each recording, as it comes; a run "
                        "that finds F measures what is not in it")


def manifest_of(args: argparse.Namespace) -> list[Recording]:
    """The recordings of --manifest; on a cluster their paths hold for every working directory."""
    from ..evaluation import manifest

    here = args.dask is None and args.workers is None
    return manifest.read(args.manifest if here else args.manifest.absolute())


@contextlib.contextmanager
def spread_of(args: argparse.Namespace, threads: int, recordings: Sequence[Recording],
              model: Model, policy: AnyPolicy | None = None, **what: Any
              ) -> Iterator[tuple[Spread, int]]:
    """What runs `evaluation.run.each` as the options ask, and how many threads that is.

    model, policy, what (format, posteriors): as `evaluation.journal.question` takes them, for
    --journal. Raises as that and `cluster_of` do.
    """
    from ..evaluation import journal
    from ..evaluation.run import here

    with cluster_of(args, threads) as cluster:
        spread = here(threads)
        if cluster is not None:
            there = first_readable(each.path for each in recordings)
            spread, threads = partial(cluster.map, files=there), cluster.threads
        if args.journal is not None:
            options = {name: str(value) for name in (*_FILES, *_OTHERS)
                       if (value := getattr(args, name, None)) is not None}
            asked = journal.question(
                model, policy, options=options,
                sources=[options[name] for name in _FILES if name in options], **what)
            spread = journal.resumed(args.journal, asked, spread)
        yield spread, threads


_FILES = ("phrases", "lm", "lexicon", "hotwords")
_OTHERS = ("filler", "decoder", "beam", "lm_weight", "word_score", "ctc_weight", "length_rule")
"""Options on which it depends what is measured, and that are not in the policy or the model:
those that may name files, and the others."""


def first_readable(paths: Iterable[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
    """The first path that can be read here, if there is one: workers have to be able to, too."""
    return [path for path in paths if os.access(path, os.R_OK)][:1]


@contextlib.contextmanager
def cluster_of(args: argparse.Namespace, threads: int) -> Iterator[Cluster | None]:
    """The cluster that the options ask for, None for this process.

    threads: of each local worker. Raises as `cluster.connected` and `cluster.local` do.
    """
    if args.dask is None and args.workers is None:
        yield None
        return
    from .. import cluster

    if args.dask is not None:
        if args.threads is not None:
            raise ArgumentError("expected --threads or --dask, found both: its workers have theirs")
        with cluster.connected(args.dask) as found:
            yield found
    else:
        with cluster.local(args.workers, threads) as found:
            yield found
