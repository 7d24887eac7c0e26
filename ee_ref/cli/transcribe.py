"""`ee-ref transcribe`: words of audio files, at the exit chosen."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from weights_io import files

from ..errors import ArgumentError, AudioFileError, EeError
from . import _console, _decoder, _phrases, _policy, _progress
from ._model import add_model

if TYPE_CHECKING:
    from pathlib import Path

    from .. import exits
    from ..model import Result
    from ..stream import Event


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
                        "interrupt or an error leaves of a long one, D/NAME.partial.FORMAT")
    parser.add_argument("--force", action="store_true", help="replace outputs that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    """Transcribe each file; a bad one is reported and the batch goes on. Returns the exit code."""
    from .. import formats
    from ..loading import load, thread_count

    fmt = formats.FORMATS[args.format]
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
        return 1
    threads = thread_count(args.threads)
    at_once = min(threads, len(names))
    model = load(args.model, backend=args.backend, threads=1 if at_once > 1 else threads)
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

    with closing(_results(transcribe, names, policy, at_once)) as results:
        for number, (name, result_of) in enumerate(zip(names, results), 1):
            if progress:
                _console.say(f"[{number}/{len(names)}] {name}")
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
) -> Generator[Callable[[], Result], None, None]:
    """For each name, in order, a function that gives its result or raises its error.

    With several at once their work goes on while one is waited for. Leaving early, as by
    KeyboardInterrupt, stops those under way at their next exit and begins no other; they are not
    waited for, as one may wait for a pipe that nobody writes to.
    """
    if at_once == 1:
        for name in names:
            yield partial(transcribe, name, policy)
        return
    from concurrent.futures import ThreadPoolExecutor

    stopped = threading.Event()
    executor = ThreadPoolExecutor(at_once)
    try:
        stoppable = _Stoppable(policy, stopped)
        for future in [executor.submit(transcribe, name, stoppable) for name in names]:
            yield future.result
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
    exists."""
    from .. import formats

    if args.output_dir is None:
        return args.files, 0
    formats.make_folder(args.output_dir)
    names = []
    for name in args.files:
        try:
            files.refuse_existing(
                formats.output_path(args.output_dir, args.format, name), args.force)
            names.append(name)
        except EeError as error:
            _console.say(error)
    return names, len(args.files) - len(names)
