"""Every reader of bytes from outside keeps its promise (docs/security.md), or this fails."""

import json
import sys
import warnings
import zlib

import numpy as np
import pytest

from ee_ref.conformance import protocol, runner
from ee_ref.errors import CheckpointError, EeError
from weights_io import from_torch

from .hostile import audio_files, checkpoints, corpus, run, targets
from .hostile.model_files import rebuild, with_field
from .hostile.targets import READERS, Finding, Reader, hold, seeds

EXECUTIONS = 250  # a reader; `python -m tests.hostile.run` does more

MADE = corpus.made()
FILES = [(reader, name) for reader in READERS for name, _ in seeds(reader)]


@pytest.mark.parametrize("reader, name", FILES, ids=map("/".join, FILES))
def test_every_file_of_the_corpus(reader, name, tmp_path):
    hold(reader, tmp_path, name, dict(seeds(reader))[name], trace=True)


def many_keys(count):
    """A pickle of a dictionary whose integers all have one hash."""
    keys = b"".join(checkpoints.integer(n * ((1 << 61) - 1)) + b"N" for n in range(1, count))
    return checkpoints.zip_file(b"\x80\x02}(" + keys + b"u.")


def doubled(depth):
    """A pickle of a pair of pairs of pairs: exponentially larger than its opcodes."""
    pairs = b"".join(b"r" + number.to_bytes(4, "little") + b"j" + number.to_bytes(4, "little")
                     + b"\x86" for number in range(depth))
    return checkpoints.zip_file(b"\x80\x02}" + checkpoints.text("model") + b")" + pairs + b"s.")


def many_strings(count):
    """A model file with a long list of short tokens."""
    return rebuild(corpus.smallest_model(exits=1),
                   with_field("tokenizer.ggml.tokens", ["x"] * count))


def nested_frames(count):
    """Headers that are right, one after another, each of a payload that lasts to the end."""
    stream = bytes(20)
    for _ in range(count):
        head = protocol._HEADER.pack(protocol.MAGIC, 0x82, 0, 1, len(stream) - 4)
        stream = head + protocol._CRC.pack(zlib.crc32(head)) + stream
    return stream


LARGE = {
    # name: (reader, content), each of tens or hundreds of kilobytes
    "keys.pt": ("checkpoint", lambda: many_keys(10_000)),
    "pairs.pt": ("checkpoint", lambda: doubled(10_000)),
    "strings.gguf": ("gguf", lambda: many_strings(20_000)),
    "pieces.model": ("tokenizer", lambda: corpus.piece(b"") * 20_000),
    "lines.txt": ("tokenizer", lambda: b"\n" * 500_000),
    "tensors.safetensors": ("safetensors", lambda: corpus.safetensors_file(
        {str(n): np.zeros(1, np.float32) for n in range(2000)}, {})),
    "lines.jsonl": ("manifest", lambda: b'{"path": "a.wav", "text": "a"}\n' * 4_000),
    "stars.waivers": ("manifest", lambda: json.dumps({"version": 1, "waivers": [
        {"cases": "*a" * 20_000, "reason": "x"}]}).encode()),
    "nested.json": ("manifest", lambda: b"[" * 300_000),
    "frames.eecf": ("frames", lambda: nested_frames(4_000)),
    "chunks.wav": ("audio", lambda: audio_files.wav(
        *[audio_files.chunk(b"junk", b"")] * 20_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_files_cost_no_more_than_their_size(name, tmp_path):
    reader, content = LARGE[name]
    hold(reader, tmp_path, name, content(), trace=True)


def test_integers_of_one_hash_are_no_keys(tmp_path):
    """A dictionary of them takes the square of their number."""
    (tmp_path / "a.pt").write_bytes(many_keys(3))
    with pytest.raises(CheckpointError, match="integers of 31 bits"):
        from_torch.read_checkpoint(tmp_path / "a.pt")


def test_the_corpus_is_what_its_module_makes():
    own = {path.split("/")[0] for path in MADE}
    found = {path.relative_to(corpus.FOLDER).as_posix(): path.read_bytes()
             for folder in own for path in (corpus.FOLDER / folder).iterdir()}
    assert sorted(found) == sorted(MADE)
    assert [path for path in MADE if found[path] != MADE[path]] == []
    assert sum(map(len, MADE.values())) < 300_000


def test_what_is_valid_is_read(tmp_path):
    """Else nothing behind the first check would ever be tried."""
    for reader, name in (("gguf", "f32.gguf"), ("gguf", "qs8.gguf"), ("checkpoint", "state.pt"),
                         ("safetensors", "state.safetensors"), ("tokenizer", "pieces.model"),
                         ("tokenizer", "tokens.txt"), ("manifest", "recordings.jsonl"),
                         ("manifest", "recordings.kaldi"), ("manifest", "utterances.trans.txt"),
                         ("manifest", "known.waivers"), ("manifest", "measured.journal"),
                          ("manifest", "vectors.json"),
                         ("phrases", "templates.phrases"), ("phrases", "sentences.yaml"),
                         ("words", "model.arpa"), ("words", "model.gz"), ("words", "model.lm"),
                         ("words", "quantised.lm"), ("words", "pieces.lexicon"),
                         ("words", "names.hotwords"), ("image", "f32.eeim"),
                         ("frames", "port.eecf"), ("audio", "good.wav")):
        folder = tmp_path / name
        folder.mkdir()
        if name.endswith(".trans.txt"):
            (folder / "1-2-0004.flac").touch()
        assert hold(reader, folder, name, dict(seeds(reader))[name]) == "read", name


@pytest.mark.parametrize("reader", READERS)
def test_mutated_files(reader):
    outcomes, findings = run.fuzz(reader, seed=0, executions=EXECUTIONS)
    assert findings == []
    assert sum(outcomes.values()) == EXECUTIONS and len(outcomes) > 1


@pytest.mark.parametrize("reader, damage", [
    ("gguf", "header is damaged"), ("image", "is damaged"), ("checkpoint", "zip"),
])
def test_mutations_get_past_the_checksums(reader, damage, tmp_path):
    """At least every third file is refused for what it says, not for its checksum."""
    messages = []
    for number in range(150):
        name, data = run.fuzzed(reader, 1, number, seeds(reader))
        path = tmp_path / name
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                READERS[reader].read(path)
            messages.append("")
        except EeError as error:
            messages.append(str(error))
    assert sum(damage not in message for message in messages) > 50


def test_an_execution_can_be_repeated():
    for reader in READERS:
        files = seeds(reader)
        assert run.fuzzed(reader, 7, 11, files) == run.fuzzed(reader, 7, 11, files)
        assert len({run.fuzzed(reader, 7, number, files) for number in range(20)}) > 10


def raises(error):
    def read(_path):
        raise error
    return read


@pytest.mark.parametrize("read, finding", [
    (raises(TypeError("x")), "TypeError"),
    (raises(MemoryError()), "MemoryError"),
    (raises(RecursionError()), "RecursionError"),
    (raises(EeError("a\x1b[2Jb")), "control character"),
    (raises(EeError("a\nb")), "control character"),
    (raises(EeError("")), "a message of 0"),
    (raises(EeError("x" * 2000)), "a message of 2000"),
    (lambda _path: bytearray(40 << 20), "bytes of memory"),
    (lambda _path: warnings.warn("careless", RuntimeWarning, stacklevel=1), "RuntimeWarning"),
    (lambda _path: print("x", file=sys.stderr), "on stderr"),
])
def test_broken_promises_are_findings(read, finding, monkeypatch, tmp_path):
    monkeypatch.setitem(READERS, "bad", Reader(read, (EeError,), {}))
    with pytest.raises(Finding, match=finding):
        hold("bad", tmp_path, "a.bin", b"x", trace=True)


@pytest.mark.parametrize("swallows", [False, True])
def test_a_slow_reader_is_a_finding(swallows, monkeypatch, tmp_path):
    def read(path):
        try:
            for _ in range(path.stat().st_size ** 2):
                pass
        except Exception:
            if not swallows:
                raise

    monkeypatch.setitem(READERS, "bad", Reader(read, (EeError,), {}))
    hold("bad", tmp_path, "a.bin", bytes(200))
    with pytest.raises(Finding, match="more lines run than 2000 bytes"):
        hold("bad", tmp_path, "a.bin", bytes(2000))


def test_frames_in_damaged_frames_cost_no_square(monkeypatch):
    stream, checked = nested_frames(3000), []

    class Counting:
        @staticmethod
        def crc32(data):
            checked.append(len(data))
            return zlib.crc32(data)

    monkeypatch.setattr(protocol, "zlib", Counting)
    assert list(protocol.Decoder().feed(stream)) == []
    assert sum(checked) < 40 * len(stream)


def test_a_port_that_says_what_it_should_not_is_a_result():
    suite = targets._vectors()
    answers = targets._Recorded(corpus.in_memory("frames")["port.eecf"], 61)
    done = runner.run(suite, answers, suite.cases, timeout=5.0)
    assert [result.status for result in done.results] == ["pass"]
    lies = targets._Recorded(corpus.in_memory("frames")["shape-of-no-numbers.eecf"], 61)
    (result,) = runner.run(suite, lies, suite.cases, timeout=5.0).results
    assert result.status == "protocol" and "expected a shape of at most" in result.message


def test_the_command_counts_and_finds(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "limit_memory", lambda: None)
    assert run.main(["--executions", "30", "tokenizer", "frames"]) == 0
    out = capsys.readouterr().out
    assert "tokenizer " in out and " 15 executions" in out and out.endswith("0 findings\n")
    monkeypatch.setitem(READERS, "tokenizer", Reader(
        raises(TypeError("x")), (), READERS["tokenizer"].mutations))
    assert run.main(["--executions", "2", "tokenizer", "--keep", str(tmp_path)]) == 1
    assert "FINDING tokenizer, seed 0, execution 1" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2
