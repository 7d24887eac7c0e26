"""Text from outside: one encoding with or without a signature, wherever a file is read."""

import json

import pytest

from ee_ref.conformance import manifest as vectors
from ee_ref.conformance import waivers
from ee_ref.conformance.suite import VERSION
from ee_ref.errors import ArgumentError, CheckpointError, EeError
from ee_ref.evaluation import manifest
from weights_io import tokenizer
from weights_io.text import filled_lines, parse_json, read_text

SIGNATURE = b"\xef\xbb\xbf"
WAIVERS = json.dumps({"version": 1, "waivers": [{"cases": "*", "reason": "\u00e9"}]}, indent=1)
LINES = '{"path": "a.wav", "text": "\u00e9"}\n{"path": "b.wav", "text": ""}\n'


def in_folder(name, text, *others):
    """(the folder, what to read) with a file beside others that fit it."""
    def make(folder, encode):
        for other, content in others:
            (folder / other).write_bytes(content)
        (folder / name).write_bytes(encode(text))
        return folder

    return make


def one_file(name, text):
    def make(folder, encode):
        (folder / name).write_bytes(encode(text))
        return folder / name

    return make


AUDIO = [("a.flac", b""), ("b.flac", b"")]
READERS = {
    "json lines": (manifest.read, one_file("m.jsonl", LINES)),
    "wav.scp": (manifest.read, in_folder("wav.scp", "a a.wav\nb b.wav\n",
                                         ("text", "a \u00e9\nb\n".encode()))),
    "text": (manifest.read, in_folder("text", "a \u00e9\nb\n",
                                      ("wav.scp", b"a a.wav\nb b.wav\n"))),
    "utt2spk": (manifest.read, in_folder("utt2spk", "a s\u00e9\nb s\n",
                                         ("wav.scp", b"a a.wav\nb b.wav\n"), ("text", b"a\nb\n"))),
    "trans.txt": (manifest.read, in_folder("1.trans.txt", "a \u00e9\nb X\n", *AUDIO)),
    "tokens": (tokenizer.read_token_file, one_file("tokens.txt", "\u00e9\n\u2581b\n")),
    "waivers": (waivers.read, one_file("w.json", WAIVERS)),
    "vectors": (vectors.read, in_folder(vectors.MANIFEST, json.dumps({
        "format": vectors.FORMAT, "version": VERSION, "protocol": 1, "tiers": list(vectors.TIERS),
        "files": [], "models": [], "cases": []}, indent=1))),
}

readers = pytest.mark.parametrize("reader, make", READERS.values(), ids=READERS)


@readers
def test_files_from_windows_are_read(tmp_path, reader, make):
    def windows(text):
        return SIGNATURE + text.replace("\n", "\r\n").encode()

    plain = reader(make(tmp_path, str.encode))
    assert reader(make(tmp_path, windows)) == plain


@readers
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path, reader, make, encoding):
    path = make(tmp_path, lambda text: text.replace("\u00e9", "e").encode(encoding))
    with pytest.raises(EeError, match="expected UTF-8 text, found UTF-16 or UTF-32: save it"):
        reader(path)


@pytest.mark.parametrize("reader, make", [
    READERS[name] for name in ("json lines", "text", "trans.txt", "tokens", "waivers")])
def test_a_byte_that_is_no_utf8_is_named_with_its_line(tmp_path, reader, make):
    def latin_1(text):
        return b"\n" + text.replace("\\u00e9", "\u00e9").replace("\u2581", "").encode("latin-1")

    path = make(tmp_path, latin_1)
    with pytest.raises(EeError, match=r", line \d+: expected UTF-8 text, found the byte 0xe9"):
        reader(path)


def test_text_is_read_as_it_is(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(SIGNATURE + "\ufeffa\u2028b\r\n\n \u00a0 \nc\td ".encode())
    text = read_text(path, 100, ArgumentError)
    assert text == "\ufeffa\u2028b\r\n\n \u00a0 \nc\td "  # one signature, and nothing else
    assert list(filled_lines(text)) == [(1, "\ufeffa\u2028b"), (3, "\u00a0"), (4, "c\td")]
    path.write_bytes(b"")
    assert read_text(path, 100, ArgumentError) == ""


@pytest.mark.parametrize("text, message", [
    ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"), ("[" * 100_000, "nested too deeply"),
    ("{", "Expecting"),
])
def test_json_that_would_lose_something(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


@pytest.mark.parametrize("reader, name, text", [
    (manifest.read, "m.jsonl", '{"path": "a.wav", "path": "b.wav", "text": ""}'),
    (waivers.read, "w.json", '{"version": 1, "waivers": [], "waivers": []}'),
])
def test_a_name_twice_in_one_object_is_refused(tmp_path, reader, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(EeError, match="once, found .* twice"):
        reader(tmp_path / name)


def test_an_error_of_tokens_is_one_of_checkpoints(tmp_path):
    (tmp_path / "t.txt").write_bytes("a".encode("utf-16"))
    with pytest.raises(CheckpointError):
        tokenizer.read_token_file(tmp_path / "t.txt")
