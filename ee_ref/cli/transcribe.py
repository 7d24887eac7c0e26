"""`ee-ref transcribe`: words of audio files, at the exit chosen."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from weights_io import files

from ..errors import ArgumentError, AudioFileError, EeError
from . import _cluster, _console, _decoder, _phrases, _policy, _progress
from ._model import add_model

if TYPE_CHECKING:
    from pathlib import Path

    from .. import exits
    from ..cluster import Cluster
    from ..model import Result
    from ..stream import Event

    Results = Generator[tuple[int, Callable[[], Result]], None, None]

HELP = "words of audio files"
DESCRIPTION = "Transcribe audio files (WAV, FLAC, OGG, Opus, MP3; - is stdin)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files, - for stdin")
    add_model(parser, "threads, which share a single file's work, or take one each of several")
    _policy.add_arguments(parser)
    _phrases.add_arguments(parser)
    _decoder.add_arguments(parser)
    parser.add_argument("--n-best", type=int, metavar="N",
                        help="hypotheses to report (json): of a beam, 1 by default, or of phrases, "
                        "2 by default")
    parser.add_argument("--format", choices=("txt", "json", "srt", "vtt", "ctm", "trn"),
                        default="txt")
    parser.add_argument("--output-dir", type=_console.path, metavar="D",
                        help="write D/NAME.FORMAT for each file instead of stdout; what an "
                        "interrupt or an error leaves of a long one, D/NAME.FORMAT.partial")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace outputs that exist")
    existing.add_argument("--resume", action="store_true",
                          help="leave out files whose output exists in --output-dir")
    _cluster.add_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    """Transcribe each file; a bad one is reported and the batch goes on. Returns the exit code."""
    from .. import formats
    from ..loading import load, thread_count

    fmt = formats.FORMATS[args.format]
    if args.resume and args.output_dir is None:
        raise ArgumentError("--resume needs --output-dir D")
    if args.output_dir is None and len(args.files) > 1 and not fmt.concatenates:
        raise ArgumentError(
            f"--format {args.format} holds one recording; expected --output-dir for "
            f"{len(args.files)} files"
        )
    if args.output_dir is None:
        formats.refuse_shared_ids(
            args.format, ((name, formats.utterance_id(name)) for name in args.files))
    else:
        _refuse_shared_outputs(args)
    names, failures = _without_outputs_that_exist(args)
    if not names:
        return 1 if failures else 0
    threads = thread_count(args.threads)
    at_once = min(threads, len(names))
    model = load(args.model, backend=args.backend, threads=1 if at_once > 1 else threads)
    if "-" in names and not (args.dask is None and args.workers is None):
        raise ArgumentError("expected files with --dask or --workers, found - (standard input)")
    policy = _policy.policy_of(args, model)
    decoder = _decoder.decoder_of(args, model, args.n_best)
    phrases = _phrases.decoder_of(args, model, args.n_best)
    progress = not args.quiet and len(names) > 1 and sys.stderr.isatty()

    def transcribe(name: str, policy: exits.AnyPolicy) -> Result:
        audio = _stdin() if name == "-" else name
        show = not args.quiet and at_once == 1 and sys.stderr.isatty()
        with _Long(args, name, phrases is not None, show) as long:
            return model.transcribe(audio, policy=policy, decoder=decoder, phrases=phrases,
                                    heard=long)

    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_cluster.cluster_of(args, threads))
        if cluster is not None:
            heard = partial(model.transcribe, policy=policy, decoder=decoder, phrases=phrases)
            results = _from_cluster(cluster, heard, names, args.output_dir is None)
        else:
            results = _results(transcribe, names, policy, at_once)
        stack.enter_context(contextlib.closing(results))
        for count, (number, result_of) in enumerate(results, 1):
            name = names[number]
            if progress:
                _console.say(f"[{count}/{len(names)}] {name}")
            try:
                text = formats.render(args.format, name, result_of())
                if args.output_dir is None:
                    sys.stdout.write(text)
                    sys.stdout.flush()
                else:
                    formats.write(args.output_dir, args.format, name, text, overwrite=args.force)
            except EeError as error:
                failures += 1
                _console.say_of(name, error)
    return 1 if failures else 0


def _from_cluster(
    cluster: Cluster, heard: Callable[[str], Result], names: list[str], in_order: bool
) -> Results:
    """Results of a cluster, in the order of the names or as they come."""
    from ..audio import rough_seconds
    from ..evaluation.run import Tried

    paths = [os.path.abspath(name) for name in names]
    outcomes = cluster.map(Tried(heard), paths, list(map(rough_seconds, paths)),
                           _cluster.first_readable(paths))
    waiting: dict[int, Callable[[], Result]] = {}
    following = 0
    for number, outcome in outcomes:
        waiting[number] = partial(_raised_or_given, outcome)
        if not in_order:
            following = number
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


def _raised_or_given(outcome: Result | EeError) -> Result:
    if isinstance(outcome, EeError):
        raise outcome
    return outcome


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise AudioFileError("standard input is closed")
    return sys.stdin.buffer


class _Long:
    """Follows a long recording: how far it is, and what was said when it breaks off."""

    def __init__(self, args: argparse.Namespace, name: str, of_phrases: bool, show: bool) -> None:
        from ..model import Transcript

        self._args, self._name, self._show = args, name, show
        self._transcript = Transcript(of_phrases)
        self._seconds = 0.0

    def __call__(self, events: Sequence[Event], seconds: float, of: float | None) -> None:
        self._seconds = seconds
        if self._args.output_dir is not None:
            self._transcript.add(events)
        if self._show:
            _progress.show(seconds, of)

    def __enter__(self) -> _Long:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not self._seconds:
            return
        if self._show:
            _progress.break_line()
        args = self._args
        if error is not None and args.output_dir is not None:
            from .. import formats

            text = formats.render(args.format, self._name, self._transcript.result(self._seconds))
            path = formats.write(args.output_dir, args.format, self._name, text, overwrite=True,
                                 partial=True)
            _console.say(f"{path}: the first {self._seconds:.0f} s")


class _Stoppable:
    """A policy that raises KeyboardInterrupt once `stopped` is set."""

    def __init__(self, policy: exits.AnyPolicy, stopped: threading.Event):
        from ..exits.policy import as_policy, needs_phrases, needs_scores

        self._policy, self._stopped = as_policy(policy), stopped
        self.needs_scores, self.needs_phrases = needs_scores(policy), needs_phrases(policy)

    def decide(self, at: exits.Observation, state: Any) -> tuple[exits.Decision, Any]:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        return self._policy.decide(at, state)


def _results(
    transcribe: Callable[[str, exits.AnyPolicy], Result], names: list[str], policy: exits.AnyPolicy,
    at_once: int,
) -> Results:
    """For each name, in order, its number and a function that gives its result or raises its error.

    With several at once their work goes on while one is waited for. Leaving early, as by
    KeyboardInterrupt, stops those under way at their next exit and begins no other; they are not
    waited for, as one may wait for a pipe that nobody writes to.
    """
    if at_once == 1:
        for number, name in enumerate(names):
            yield number, partial(transcribe, name, policy)
        return
    from concurrent.futures import ThreadPoolExecutor

    stopped = threading.Event()
    executor = ThreadPoolExecutor(at_once)
    try:
        stoppable = _Stoppable(policy, stopped)
        futures = [executor.submit(transcribe, name, stoppable) for name in names]
        for number, future in enumerate(futures):
            yield number, future.result
    finally:
        stopped.set()
        executor.shutdown(wait=False, cancel_futures=True)


def _refuse_shared_outputs(args: argparse.Namespace) -> None:
    """Two recordings of one name would overwrite each other's output."""
    from .. import formats

    names: dict[Path, str] = {}
    for name in args.files:
        path = formats.output_path(args.output_dir, args.format, name)
        if path in names:
            raise ArgumentError(f"{names[path]} and {name} would both be written to {path}")
        names[path] = name


def _without_outputs_that_exist(args: argparse.Namespace) -> tuple[list[str], int]:
    """The files to transcribe, and how many are left out, with a message, because their output
    exists; with --resume that is no failure."""
    from .. import formats

    if args.output_dir is None:
        return args.files, 0
    formats.make_folder(args.output_dir)
    names, failures = [], 0
    for name in args.files:
        path = formats.output_path(args.output_dir, args.format, name)
        if args.resume and path.is_file():
            continue
        try:
            files.refuse_existing(path, args.force)
            names.append(name)
        except EeError as error:
            failures += 1
            _console.say(error)
    return names, failures
