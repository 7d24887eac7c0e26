"""The seed corpus: small files for every reader, made by `python -m tests.hostile.corpus`.

Each file is a valid one, or is named for what is wrong with it; a file that once broke a reader is
kept here too. The folders `image` and `frames` belong to the fuzzers in C (tests/hostile/fuzz).
"""

from __future__ import annotations

import gzip
import json
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ee_ref import flash_image, model_file, quantize
from ee_ref.conformance import manifest
from ee_ref.conformance.draw import random_state_dict
from ee_ref.conformance.judge import Bound
from ee_ref.conformance.protocol import Body, Frame, Type
from ee_ref.conformance.suite import VERSION
from ee_ref.conformance.vector import Vector
from ee_ref.convert import convert_state_dict
from ee_ref.decode import language_model
from ee_ref.families.conformer import Config
from ee_ref.model_file import ValueType

from . import checkpoints
from .audio_files import AUDIO_FILES
from .model_files import LIES, rebuild, with_fields, with_new_field
from .repair import with_image_crcs

FOLDER = Path(__file__).parent / "corpus"

SMALLEST = Config(exits=2, layers_per_exit=(1, 1), dim=2, heads=1, ff=1, kernel=1, vocab=3,
                  max_frames=2, mels=1, n_fft=4, win_length=2, hop_length=1)
TOKENS = ("@", "<s>", "\u2581a")


def smallest_model(dtype: str = "f32", exits: int = 2, **fields: Any) -> bytes:
    """A model file in a few kilobytes."""
    smallest = replace(SMALLEST, exits=exits, layers_per_exit=(1,) * exits)
    config, tensors = convert_state_dict(random_state_dict(smallest, 1), extras={
        "heads": 1, "n_fft": 4, "win_length": 2, "hop_length": 1})
    assert config == smallest
    if dtype == "qs8":
        config, tensors = quantize.quantize(config, tensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        model_file.write(path, config, TOKENS, {1}, tensors, **fields)
        return path.read_bytes()


def smallest_image(dtype: str = "qs8") -> bytes:
    """A flash image of that model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        path.write_bytes(smallest_model(dtype))
        return flash_image.build(model_file.read(path))


def made() -> dict[str, bytes]:
    """Path under FOLDER -> content of every file of the corpus that this module makes."""
    found: dict[str, bytes] = {}
    for reader, files in (("gguf", _gguf()), ("checkpoint", _checkpoints()),
                          ("safetensors", _safetensors()), ("tokenizer", _tokenizers()),
                          ("manifest", _manifests()), ("phrases", _phrases()), ("words", _words()),
                          ("wyoming", _wyoming()),
                          ("audio", AUDIO_FILES.items())):
        for name, content in files:
            found[f"{reader}/{name}"] = content
    return found


@cache
def in_memory(reader: str) -> dict[str, bytes]:
    """Name -> seed of the readers whose folders are not made here."""
    if reader == "image":
        image = smallest_image("f32")
        beyond = bytearray(image)
        for word in (7, 9):  # dim and ff, on which no table depends
            struct.pack_into("<I", beyond, 4 * word, 1 << 16)
        return {"f32.eeim": image, "qs8.eeim": smallest_image("qs8"),
                "more-than-2-gib.eeim": with_image_crcs(bytes(beyond))}
    signalling = np.full((2, 3), 0x7FA00000, np.uint32).view(np.float32)
    no_numbers = (struct.pack("<HHHH", 0, 0, 1, 0) + b"\1f\4\0"
                  + struct.pack("<4I", 0, *[0xFFFFFFFF] * 3) + b"y" + bytes(35))
    return {"port.eecf": _answers(), "shape-of-no-numbers.eecf": _answers(no_numbers),
            "nan-that-signals.eecf": _answers(Body("", {}, {"y": signalling}).encode())}


# ---- Model files ----

_POINT = {"policy": {"kind": "threshold", "score": "entropy", "threshold": [0.5, None]}}
_KEPT_LIES = ("no dim", "huge dim", "many layers", "nan norm_eps", "unknown ee field",
              "too few tokens", "other checksums", "huge tensor", "overlapping offset")


def _gguf() -> Iterator[tuple[str, bytes]]:
    yield "f32.gguf", smallest_model(points={"balanced": _POINT})
    yield "qs8.gguf", smallest_model("qs8")
    small = smallest_model(exits=1)
    for name in _KEPT_LIES:
        yield name.replace(" ", "-") + ".gguf", rebuild(small, LIES[name][0])
    yield "most-layers-of-few-tensors.gguf", rebuild(
        small, with_fields({"ee.exits": 64, "ee.layers_per_exit": [64] * 64}))
    for name, text in _POINTS.items():
        yield f"points-{name}.gguf", rebuild(
            small, with_new_field("exits.operating_points", ValueType.STRING, text))
    yield "escape-in-a-key.gguf", rebuild(
        small, with_new_field("ee.\x1b[2J\n", ValueType.STRING, ""))


_POINTS = {
    "no-object": '{"balanced": {"policy": [1]}}',
    "nested": '{"balanced": {"policy": ' + '{"kind": "first_of", "policies": [' * 60 + "]}" * 60
              + "}}",
    "long-text": '{"balanced": {"policy": {"kind": "threshold", "score": "entropy", "threshold": "'
                 + "/" * 2000 + '"}}}',
    "kind-of-a-list": '{"balanced": {"policy": {"kind": []}}}',
    "huge-number": '{"balanced": {"policy": {"kind": "fixed", "exit": 1' + "0" * 400 + "}}}",
}


# ---- Checkpoints ----


def _checkpoints() -> Iterator[tuple[str, bytes]]:
    state = random_state_dict(SMALLEST, 1)
    extras = {"heads": 1, "tokens": list(TOKENS), "special": [1]}
    yield "state.pt", checkpoints.torch_file({"model": state, **extras})
    for name, (pickle, _what) in checkpoints.hostile_pickles("true").items():
        yield name.replace(" ", "-") + ".pt", checkpoints.zip_file(pickle)
    # 61 bits are the modulus of the hash of an integer: all of these keys have the same one.
    keys = b"".join(checkpoints.integer(n * ((1 << 61) - 1)) + b"N" for n in range(1, 200))
    yield "keys-of-one-hash.pt", checkpoints.zip_file(b"\x80\x02}(" + keys + b"u.")
    yield "escape-in-a-storage.pt", checkpoints.zip_file(
        b"\x80\x02}(" + checkpoints.text("a") + checkpoints.tensor("\x1b[2J", (1,), count=1)
        + b"u.", {"0": bytes(4)})
    yield "shape-of-no-numbers.pt", checkpoints.zip_file(
        b"\x80\x02}(" + checkpoints.text("a")
        + checkpoints.tensor("0", (0, 1 << 61), count=4) + b"u.", {"0": bytes(16)})


def _safetensors() -> Iterator[tuple[str, bytes]]:
    state = random_state_dict(SMALLEST, 1)
    yield "state.safetensors", safetensors_file(state, {"heads": "1"})
    yield "escape-in-a-name.safetensors", _with_header(
        {"\x1b[2J\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 3]}}, bytes(3))
    yield "half-a-pair-in-a-name.safetensors", _with_header(
        {"\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
    yield "metadata-of-numbers.safetensors", _with_header({"__metadata__": {"heads": 1e400}}, b"")
    yield "nan-that-signals.safetensors", safetensors_file({
        **state, "linears.0.bias": np.full(3, 0x7FA00000, np.uint32).view(np.float32),
    }, {"heads": "1"})
    yield "overflow-in-batch-norm.safetensors", safetensors_file({
        **{name: value.astype(np.float64) for name, value in state.items()},
        "conformer.0.conformer_layers.0.conv_module.sequential.3.weight": np.full(2, 1e308),
    }, {"heads": "1"})


_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}


def safetensors_file(state: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """A state dict as safetensors."""
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, tensor in state.items():
        begin, data = len(data), data + tensor.tobytes()
        header[name] = {"dtype": _DTYPES[tensor.dtype.name], "shape": list(tensor.shape),
                        "data_offsets": [begin, len(data)]}
    return _with_header(header, data)


def _with_header(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# ---- Tokenizers ----


def piece(text: bytes, kind: int = 1) -> bytes:
    """A SentencePiece message in its field."""
    body = b"\x0a" + bytes([len(text)]) + text + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


def _tokenizers() -> Iterator[tuple[str, bytes]]:
    pieces = piece(b"<unk>", 2) + piece(b"<s>", 3) + piece("\u2581a".encode())
    yield "pieces.model", pieces + b"\x12\x04\x18\x02\x20\x01"
    yield "piece-without-text.model", b"\x0a\x00"
    yield "number-of-eleven-bytes.model", b"\xff" * 11
    yield "length-beyond-the-end.model", b"\x0a\xff\xff\xff\xff\x0f"
    yield "more-pieces-than-labels.model", b"\x0a\x02\x0a\x00" * 1000
    yield "tokens.txt", "@\n<s>\n\u2581a\r\nb\n".encode()
    yield "empty-line.txt", b"a\n\nb\n"
    yield "no-utf-8.txt", b"a\n\xff\xfe\n"


# ---- Manifests ----


def _manifests() -> Iterator[tuple[str, bytes]]:
    yield "recordings.jsonl", (
        b'{"path": "a.wav", "text": "one", "speaker": "x"}\n'
        b'{"path": "b/c.flac", "text": "two words", "id": "2"}\n')
    yield "scores.csv", (b"utterance,words,speaker,errors_1,errors_2,entropy_1,entropy_2\n"
                         b'a,2,"x, y",1,0,0.5,0.25\nb,3,z,2,2,1e-3,0\n')
    yield "rules.points", _plain({"errors": "errors", "layers": [1, 2], "points": {"balanced": {
        "policy": {"kind": "worth", "scores": ["entropy"], "length": "words",
                   "weights": [[0.5] * 7], "bias": [1.0]}}}})
    yield "half-a-pair.jsonl", b'{"path": "\\ud800.wav", "text": "\\ud800"}\n'
    yield "nested.jsonl", (b'{"path": "a.wav", "text": "one", "x": ' + b"[" * 900 + b"]" * 900
                           + b"}\n")
    yield "id-of-an-object.jsonl", b'{"path": "a.wav", "text": "one", "id": {}}\n'
    yield "utterances.trans.txt", b"1-2-0003 ONE TWO\n1-2-0004 THREE\n"
    yield "name-too-long.trans.txt", b"1" * 300 + b" ONE\n"
    yield "name-with-null.trans.txt", b"1\x00 ONE\n"
    yield "recordings.kaldi", b"a /x/a.wav\nb b.flac\n%%\na one\nb two\n"
    yield "command.kaldi", b"a sph2pipe a.sph |\n%%\na one\n"
    yield "measured.journal", _journal()
    yield "cut-short.journal", _journal()[:-9]
    yield "half-a-pair.journal", _journal(text="\ud800")
    yield "large.journal", _journal(costs=[3, 1 << 70])
    yield "known.waivers", _plain({"version": 1, "waivers": [
        {"cases": "f32/silu/*", "port": "chip-x*", "status": "fail", "reason": "its exp"}]})
    yield "stars.waivers", _plain({"version": 1, "waivers": [
        {"cases": "*a" * 40, "reason": "x"}]})
    yield "nested.waivers", b'{"version": 1, "waivers": ' + b"[" * 900 + b"]" * 900 + b"}"
    vectors = json.loads(conformance_files()[manifest.MANIFEST])
    yield "vectors.json", _plain(vectors)
    for name, change in _VECTOR_LIES.items():
        lying = json.loads(_plain(vectors))
        change(lying)
        yield f"{name}.json", _plain(lying)
    yield "number-of-5000-digits.json", b'{"version": ' + b"1" * 5000 + b"}"
    yield "number-of-5000-digits.waivers", b'{"version": ' + b"1" * 5000 + b"}"
    yield "nested.json", b'{"version": 1, "format": ' + b"[" * 900 + b"]" * 900 + b"}"


def _plain(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def _case_lie(place: str, **values: Any):
    def change(document: Any) -> None:
        document["cases"][0][place][0].update(values)
    return change


_VECTOR_LIES = {
    "parameter-nan": _case_lie("parameters", value=float("nan")),
    "parameter-infinite": _case_lie("parameters", value=float("inf")),
    "parameter-beyond-int32": _case_lie("parameters", value=1 << 40),
    "parameter-beyond-float": _case_lie("parameters", type="float32", value=10**400),
    "name-of-half-a-pair": _case_lie("parameters", name="\ud800"),
    "shape-of-no-numbers": _case_lie("inputs", shape=[0, 10**30]),
    "shape-beyond-the-file": _case_lie("inputs", shape=[1 << 40, 1 << 40]),
    "bound-infinite": _case_lie("expected", bound={
        "kind": "ulp", "limit": float("inf"), "reason": "x"}),
    "file-many-times": lambda document: document["files"].extend(document["files"] * 20),
    "name-with-new-line": lambda document: document["cases"][0].update(name="int8/silu_exact/a\n"),
}


def conformance_files() -> dict[str, bytes]:
    """A folder of vectors: one case, one model, the manifest."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    case = Vector("int8/silu_exact/a", "int8", "silu_exact", {"x": x}, {"y": x},
                  {"y": Bound("exact", 0, "integers")}, {"n": 1, "scale": 0.5}, "tiny")
    image = bytes(64)
    model = manifest.Model("tiny", image, "", "qs8")
    return manifest.files(manifest.Vectors(VERSION, (case,), {"tiny": model}))


# ---- Phrases ----


_ARPA = b"""\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.4
-0.9\t</s>
-0.6\tA\t-0.3
-0.7\tB

\\2-grams:
-0.3\t<s> A\t-0.25
-0.2\tA B
-0.5\tA </s>

\\3-grams:
-0.1\t<s> A B

\\end\\
"""


def _words() -> Iterator[tuple[str, bytes]]:
    yield "model.arpa", _ARPA
    yield "model.gz", gzip.compress(_ARPA, mtime=0)
    yield "lines.gz", gzip.compress(b"\n" * (1 << 22), mtime=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.arpa"
        path.write_bytes(_ARPA)
        model = language_model.read(path)
    yield "model.lm", language_model.packed(model)
    yield "quantised.lm", language_model.packed(model, quantise=True)
    yield "words.lexicon", b"turn\non\n"
    yield "white-space-alone.lexicon", "\u0085\n".encode()
    yield "pieces.lexicon", "TURN\tT U R N \u2581\nON\t\u2581 O N\n".encode()
    yield "names.hotwords", b"# names\nada lovelace = 8\nturn = -1e300\n"


JOURNAL_ASKED = {"exits": 2, "attends": False, "format": None, "posteriors": True, "phrases": "p"}
"""What the journals of the corpus answer."""


def _journal(**change: Any) -> bytes:
    found = {"seconds": 1.5, "texts": ["a", ""], "times": [0.1, 0.25], "costs": [3, 5],
             "scores": [[0.5] * 9 + [2, 7]] * 2, "posteriors": [[0.5, 0.75]] * 2, "attention": [],
             "heard": [{"found": [[-1.5, 3]], "words": ["a"], "scores": [-float("inf"), 1, 0.5],
                        "accepted": True}] * 2,
             "exit": 1, "text": "a", "seconds_used": 0.1, "score_seconds": 0.0, **change}
    lines = {"journal": 1, "asked": JOURNAL_ASKED}, {"id": "0", "path": "/0.wav", "found": found}
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _wyoming() -> Iterator[tuple[str, bytes]]:
    def event(type: str, data: Any = None, payload: bytes = b"") -> bytes:
        more = b"" if data is None else json.dumps(data).encode()
        head = {"type": type, "data_length": len(more), "payload_length": len(payload)}
        return json.dumps(head).encode() + b"\n" + more + payload

    pcm = {"rate": 16000, "width": 2, "channels": 1}
    utterance = event("audio-start", pcm) + event("audio-chunk", pcm, bytes(64))
    yield "utterance.events", (event("transcribe", {"language": "en"}) + utterance
                               + event("audio-chunk", pcm, bytes(6)) + event("audio-stop"))
    yield "questions.events", event("describe") + event("ping", {"text": "x"})
    yield "stereo.events", event("audio-chunk", {**pcm, "width": 3, "channels": 2}, bytes(12))
    yield "cut-short.events", utterance[:-9]
    yield "payload-that-never-comes.events", b'{"type": "x", "payload_length": 1000000000000}\n'
    yield "nested.events", b"[" * 900 + b"]" * 900 + b"\n"
    yield "list-as-event.events", b"[]\n"
    yield "type-of-a-number.events", b'{"type": 5}\n'


def _phrases() -> Iterator[tuple[str, bytes]]:
    yield "templates.phrases", (
        b"# what may be said\n{room} = hall | (living|sitting) room -> living | den -> 3\n"
        b"on: turn (on | off) [the] {room}['s] light[s]\ndim: dim to {n = 0..20 by 5}%\n")
    yield "sentences.yaml", (
        b"language: en\nintents:\n  On:\n    data:\n      - sentences:\n"
        b"          - '<turn> on [the] {room} light[s]'\n          - '(a;b {1..9,2:n};c)'\n"
        b"        slots: {domain: light}\nlists:\n  room:\n    values:\n      - Hall\n"
        b"      - {in: '(living|sitting) room', out: living}\n  level: {range: {from: 1, to: 9}}\n"
        b"expansion_rules:\n  turn: (turn|switch)\n")
    yield "options.phrases", b"a [b] [c (d|e)] {x = f | g h} [[i] j]k\n"
    yield "numbers.phrases", b"i: {n = -3..1200 by 7}\nj: count {n = 90..120}%\n"
    yield "cycle.phrases", b"{x} = a {y}\n{y} = b {x}\n{x}\n"
    yield "count.phrases", b"(a | b) " * 100 + b"\n"
    yield "many-options.phrases", b"[a]" * 9 + b"\n" + b"[a] " * 60 + b"\n"
    yield "nested.phrases", b"(" * 900 + b"a" + b")" * 900 + b"\n"
    yield "lists-of-lists.phrases", b"".join(
        b"{x%d} = {x%d} {x%d}\n" % (n, n + 1, n + 1) for n in range(40)) + b"{x40} = a | b\n{x0}\n"
    yield "escape.phrases", b"{x = a -> \x1b[2J}\n"
    yield "overlap.phrases", b"".join(
        b"(a | b) " * k + b"a " + b"(a | b) " * (8 - k) + b"c" * (k + 1) + b"\n"
        for k in range(8))
    yield "cycle.yaml", (b"intents: {A: {data: [{sentences: ['<x>']}]}}\n"
                         b"expansion_rules: {x: a <y>, y: b <x>}\n")
    yield "rules-of-rules.yaml", (
        b"intents: {A: {data: [{sentences: ['<r0>']}]}}\nexpansion_rules:\n" + b"".join(
            b"  r%d: <r%d> <r%d>\n" % (n, n + 1, n + 1) for n in range(9)) + b"  r9: a\n")
    yield "nested.yaml", b"intents: " + b"[" * 900 + b"]" * 900
    yield "alias-of-itself.yaml", b"intents: &x {A: *x}\n"
    yield "escape.yaml", b'intents: {"\\e[2J": {data: [{sentences: [a]}]}}\n'


# ---- Frames ----


def _answers(result: bytes | None = None) -> bytes:
    """What a port answers to HELLO, a model and a case of `conformance_files`."""
    port = Body("", {"protocol": 1, "name": "fuzz", "largest_frame": 1000, "ops": "silu_exact"})
    if result is None:
        result = Body("", {}, {"y": np.arange(6, dtype=np.float32).reshape(2, 3)}).encode()
    return b"".join((b"noise EEC", Frame(Type.PORT, 1, port.encode()).encode(),
                     Frame(Type.RESULT, 2, Body().encode()).encode(),
                     Frame(Type.RESULT, 3, result).encode(),
                     Frame(Type.END, 4, Body().encode()).encode()))


def main() -> None:
    for path, content in made().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(content)


if __name__ == "__main__":
    main()
