"""Every reader of bytes from outside as a function that holds its promise, or raises Finding.

The promise: a typed error (EeError) whose message is one short line without control characters, or
success; in time and memory in proportion to the size of the file (docs/security.md).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import scipy.signal  # noqa: F401  (imported late by audio.py: not to be counted with a file)

import ee_ref
from ee_ref import audio, convert, flash_image, phrases, wyoming_server
from ee_ref.calibration import points_file
from ee_ref.conformance import manifest as vectors
from ee_ref.conformance import protocol, report, runner, waivers
from ee_ref.conformance.schema import SchemaError
from ee_ref.conformance.transport import PortDied
from ee_ref.decode import WordDecoder, language_model, read_hotwords, read_lexicon
from ee_ref.errors import (
    ArgumentError,
    AudioError,
    AudioFileError,
    CheckpointError,
    EeError,
    FileError,
    LanguageModelError,
    ModelFileError,
    PhraseError,
)
from ee_ref.evaluation import journal, score_table
from ee_ref.evaluation import manifest as recordings
from ee_ref.phrases import packed
from ee_ref.tokens import Tokens
from weights_io import from_torch, tokenizer

from . import corpus, repair
from .mutate import Fuzzed, of_brackets, of_json, of_json_lines, some_bytes

MAX_MESSAGE = 1200  # characters, the path not counted
MAX_LINES = 100_000  # of Python run, and
LINES_A_BYTE = 25
MAX_BYTES = 16 << 20  # of memory, and
BYTES_A_BYTE = 64
WORDS_BYTES = 16  # before a section of phrases: what the target in C does with it


class Finding(Exception):
    """A reader broke its promise."""


@dataclass(frozen=True)
class Reader:
    """A reader. read: a file in a folder of its own. errors: those that its documentation names.
    mutations: ways to change one of its files, by suffix; "" for any. lines,
    memory: of Python that run, and bytes, that any file may cost."""

    read: Callable[[Path], Any]
    errors: tuple[type[EeError], ...]
    mutations: Mapping[str, tuple[Fuzzed, ...]]
    lines: int = MAX_LINES
    memory: int = MAX_BYTES

    def mutate(self, rng: Random, name: str, data: bytes) -> bytes:
        """A changed file; name: that of the seed."""
        suffix = Path(name).suffix
        return rng.choice(self.mutations.get(suffix) or self.mutations[""])(rng, data)


# ---- Readers ----


def _model(path: Path) -> None:
    _ = ee_ref.load(path, backend="numpy").policies


def _image(path: Path) -> None:
    flash_image.read(path)


def _packed(path: Path) -> None:
    packed.parse(path.read_bytes()[WORDS_BYTES:])


def _checkpoint(path: Path) -> None:
    found = from_torch.read_checkpoint(path)
    _ = tokenizer.from_extras(found.extras)
    convert.convert_state_dict(found.state, extras=found.extras)


def _tokenizer(path: Path) -> None:
    (tokenizer.read_token_file if path.suffix == ".txt" else tokenizer.read_sentencepiece)(path)


def _manifest(path: Path) -> None:
    match path.suffix:
        case ".jsonl":
            recordings.read(path)
        case ".csv":
            score_table.read(path)
        case ".points":
            points_file.read(path)
        case ".waivers":
            known = waivers.read(path)
            waivers.problems(known, (), "a port", _CASES, _CASES)
        case ".json":
            _rename(path, vectors.MANIFEST)
            for name, content in _conformance_files().items():
                if name != vectors.MANIFEST and not (path.parent / name).exists():
                    (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
                    (path.parent / name).write_bytes(content)
            for case in vectors.read(path.parent).cases:
                protocol.Body(case.op, case.parameters, case.inputs).encode()
        case ".journal":
            with open(path, "rb") as file:
                journal.read(file, path, corpus.JOURNAL_ASKED)
        case ".kaldi":
            scp, _, text = path.read_bytes().partition(b"%%\n")
            (path.parent / "wav.scp").write_bytes(scp)
            (path.parent / "text").write_bytes(text)
            recordings.read(path.parent)
        case _:
            (path.parent / "1-2-0003.flac").touch()
            (path.parent / "wav.scp").unlink(missing_ok=True)
            _rename(path, "a.trans.txt")
            recordings.read(path.parent)


def _rename(path: Path, name: str) -> None:
    if path.name != name:
        os.replace(path, path.with_name(name))


_CASES = ("f32/silu/rows_3", "int8/linear_qs8/tile", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")


@cache
def _conformance_files() -> dict[str, bytes]:
    return corpus.conformance_files()


class _Recorded:
    """A port that sends what is in a file, whatever it is asked."""

    can_restart = True

    def __init__(self, data: bytes, piece: int):
        self.data, self.piece = data, piece

    def restart(self) -> None:
        pass

    def send(self, data: bytes, deadline: float) -> None:
        pass

    def receive(self, deadline: float) -> bytes:
        if not self.data:
            raise PortDied("closed its end")
        found, self.data = self.data[: self.piece], self.data[self.piece :]
        return found

    def close(self) -> None:
        pass


@cache
def _vectors() -> vectors.Vectors:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    case = vectors.Vector("int8/silu_exact/a", "int8", "silu_exact", {"x": x}, {"y": x},
                          {"y": vectors.Bound("exact", 0, "integers")}, {}, "tiny")
    return vectors.Vectors(1, (case,), {"tiny": vectors.Model("tiny", bytes(64), "0" * 64, "qs8")})


def _frames(path: Path) -> None:
    data = path.read_bytes()
    for frame in protocol.Decoder().feed(data):
        try:
            protocol.Body.decode(frame.payload)
        except protocol.ProtocolError:
            pass
    suite = _vectors()
    done = runner.run(suite, _Recorded(data, 61), suite.cases, timeout=5.0)
    for kind in ("table", "json", "junit"):
        report.render(done, kind).encode()


def _audio(path: Path) -> None:
    audio.read(path, 16000, longest=60.0)


def _phrases(path: Path) -> None:
    found = phrases.load(path)
    graph = found.compile(_LETTERS)
    sentence = found.sentence(found.count - 1)
    found.meaning(sentence)
    assert found.number(sentence) == found.count - 1 <= 1 << 63 and graph.states > 1


def _words(path: Path) -> None:
    match path.suffix:
        case ".lexicon":
            WordDecoder(_LETTERS, lexicon=read_lexicon(path))
        case ".hotwords":
            WordDecoder(_LETTERS, hotwords=read_hotwords(path))
        case _:
            model = language_model.read(path)
            assert model.log_prob(["A", "B", "A"]) <= 0 or model.order > 1


class _Written:
    """The end of a connection that is written to, and the text of the error on it."""

    transport = property(lambda self: self)

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.data += b"".join(pieces)

    def get_extra_info(self, name: str) -> None:
        """Nobody knows who it is."""

    async def drain(self) -> None:
        """All is written."""

    wait_closed = drain

    def close(self) -> None:
        """Nothing is left open."""

    abort = close

    def error(self) -> str | None:
        for line in self.data.splitlines():
            if line.startswith(b'{"text": '):
                found = json.JSONDecoder().raw_decode(line.decode())[0]
                if "code" in found:
                    return found["text"]
        return None


class _Service(wyoming_server.Service):
    """One that takes all audio and hears nothing in it."""

    def hear(self, recording: audio.Recording, say: Callable[[str], None]) -> str:
        return f"{sum(map(len, recording.pieces()))} samples"


def _events(path: Path) -> None:
    async def answered() -> str | None:
        reader, writer = asyncio.StreamReader(limit=wyoming_server.MAX_LINE), _Written()
        reader.feed_data(path.read_bytes())
        reader.feed_eof()
        with ThreadPoolExecutor(1) as pool:
            client = wyoming_server._Client(_service(), reader, writer, pool, lambda line: None)
            await client.run(False)
        return writer.error()

    if (error := asyncio.run(answered())) is not None:
        raise wyoming_server.WyomingError(error)


@cache
def _service() -> wyoming_server.Service:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        path.write_bytes(corpus.smallest_model())
        model = ee_ref.load(path, backend="numpy")
    return _Service(model, model.policy())


_LETTERS = Tokens(["<blank>", "\u2581", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"], [], 0)
MAX_PHRASE_LINES = 12_000_000  # a short template may say much: the limits of docs/phrases.md

_MANIFEST_ERRORS = (ArgumentError, FileError, SchemaError, protocol.ProtocolError,
                    vectors.ManifestError, waivers.WaiverError)

READERS: dict[str, Reader] = {
    "gguf": Reader(_model, (ModelFileError,), {
        "": (some_bytes, repair.model_crc, repair.model_fields, repair.model_fields,
             repair.model_points)}),
    "image": Reader(_image, (ModelFileError,), {
        "": (some_bytes, repair.image_crcs, repair.image_fields)}),
    "packed": Reader(_packed, (ModelFileError,), {
        "": (some_bytes, repair.packed_numbers, repair.packed_numbers)}),
    "checkpoint": Reader(_checkpoint, (CheckpointError,), {
        "": (some_bytes, repair.zip_pickle, repair.zip_pickle, repair.zip_entries)}),
    "safetensors": Reader(_checkpoint, (CheckpointError,), {
        "": (some_bytes, repair.safetensors_header, repair.safetensors_header)}),
    "tokenizer": Reader(_tokenizer, (CheckpointError,), {"": (some_bytes,)}),
    "manifest": Reader(_manifest, _MANIFEST_ERRORS, {
        "": (some_bytes,), ".json": (some_bytes, of_json, of_json),
        ".waivers": (some_bytes, of_json, of_json),
        ".points": (some_bytes, of_json, of_json), ".jsonl": (some_bytes, of_json_lines),
        ".journal": (some_bytes, of_json_lines)}),
    "frames": Reader(_frames, (runner.PortError,), {
        "": (some_bytes, repair.frame_crcs, repair.frame_crcs)}),
    "phrases": Reader(_phrases, (PhraseError,), {
        "": (some_bytes, of_brackets, of_brackets)}, MAX_PHRASE_LINES, 64 << 20),
    "words": Reader(_words, (LanguageModelError, ArgumentError), {
        "": (some_bytes,), ".lm": (some_bytes, repair.last_crc, repair.last_crc)}),
    "audio": Reader(_audio, (AudioError, AudioFileError), {
        "": (some_bytes, some_bytes, repair.riff_sizes)}),
}


if find_spec("wyoming") is not None:  # the extra
    import wyoming.audio  # noqa: F401  (late there: not to be counted with a file)

    READERS["wyoming"] = Reader(_events, (wyoming_server.WyomingError,), {
        "": (some_bytes, of_json_lines)})


def seeds(reader: str) -> list[tuple[str, bytes]]:
    """(name, content) of each seed, in order: the files of its folder, else those made here."""
    folder = corpus.FOLDER / reader
    found = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    if reader in ("image", "frames"):
        found = {**corpus.in_memory(reader), **found}
    return sorted(found.items())


# ---- The promise ----

_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@contextmanager
def limited_lines(size: int, lines: int) -> Iterator[None]:
    """Finding when more Python runs than a file of `size` bytes may cost: time, without noise."""
    left, others = lines + LINES_A_BYTE * size, sys.gettrace()

    def count(_frame: object, _event: str, _argument: object) -> Callable[..., Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Finding(f"more lines run than {size} bytes may cost")
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(others)
    if left < 0:  # and the reader went on all the same
        raise Finding(f"more lines run than {size} bytes may cost")


def hold(reader: str, folder: Path, name: str, data: bytes, trace: bool = False) -> str:
    """Read `data` as file `name` in `folder`; "read" or the name of the error's class.

    trace: also measure memory, which is slow. Raises Finding when the promise is broken.
    """
    path = folder / f"seed{''.join(Path(name).suffixes)[-12:]}"
    path.write_bytes(data)
    stderr = io.StringIO()
    if trace:
        tracemalloc.start()
    hook = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # an error in what C calls: pytest hides it
    try:
        with redirect_stderr(stderr), warnings.catch_warnings():
            warnings.simplefilter("error")
            for said in ("ends after exit", "the channels cancel each other"):
                warnings.filterwarnings("ignore", f"(?s).*{said}", UserWarning)
            with limited_lines(len(data), READERS[reader].lines):
                READERS[reader].read(path)
        outcome = "read"
    except Finding:
        raise
    except READERS[reader].errors as error:
        _check_message(str(error).replace(str(folder), ""))
        outcome = type(error).__name__
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error!s:.300}") from error
    finally:
        sys.unraisablehook = hook
        peak = tracemalloc.get_traced_memory()[1] if trace else 0
        if trace:
            tracemalloc.stop()
    if peak > READERS[reader].memory + BYTES_A_BYTE * len(data):
        raise Finding(f"{peak} bytes of memory for {len(data)} bytes")
    if stderr.getvalue():
        raise Finding(f"said on stderr: {stderr.getvalue()[-300:]}")
    return outcome


def _check_message(message: str) -> None:
    if not message or len(message) > MAX_MESSAGE:
        raise Finding(f"a message of {len(message)} characters: {message[:100]!r}")
    found = _UNPRINTABLE.search(message)
    if found:
        raise Finding(f"a control character in a message: {message[:300]!r}")
