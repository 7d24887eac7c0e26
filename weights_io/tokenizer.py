"""The tokens of a model: from a SentencePiece model, a text file, a checkpoint, or placeholders.

Each source gives (tokens, special): the pieces by id, and the ids that never appear in text.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from ee_ref.errors import CheckpointError, some

from .files import read_limited
from .text import read_text

MAX_BYTES = 16 << 20
MAX_TOKENS = 1 << 16

# Types of pieces in sentencepiece_model.proto.
_UNKNOWN, _CONTROL = 2, 3

_SPECIAL_NAME = re.compile(r"<.*>")
_NOT_SPECIAL_NAME = re.compile(r"<0x[0-9A-Fa-f]{2}>|<[0-9]+>")  # bytes and placeholders

TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
CTC_TOKENIZERS = ("Wav2Vec2CTCTokenizer", "Wav2Vec2Processor")
"""Kinds of tokenizers, in the files of Hugging Face, whose labels are those of vocab.json."""

Tokens = tuple[tuple[str, ...], frozenset[int]]


def placeholders(count: int) -> Tokens:
    """`<0>`, `<1>`, ...: for a model whose tokenizer is not at hand."""
    return tuple(f"<{number}>" for number in range(count)), frozenset()


def special_by_name(tokens: Sequence[str]) -> frozenset[int]:
    """Ids of tokens of the form <...>, except bytes (<0x41>) and placeholders (<7>)."""
    return frozenset(
        number for number, token in enumerate(tokens)
        if _SPECIAL_NAME.fullmatch(token) and not _NOT_SPECIAL_NAME.fullmatch(token))


def read_token_file(path: str | os.PathLike[str]) -> Tokens:
    """A UTF-8 file with one token a line, in the order of their ids.

    Tokens of the form <...> are special. Raises CheckpointError for another encoding, an empty line
    or one with white space in it (such as "token id"), FileError when the file cannot be read.
    """
    text = read_text(path, MAX_BYTES, CheckpointError)
    lines = text.removesuffix("\n").split("\n", MAX_TOKENS)
    if len(lines) > MAX_TOKENS:
        raise CheckpointError(f"{path}: expected at most {MAX_TOKENS} tokens, found more")
    tokens = tuple(line.removesuffix("\r") for line in lines)
    for number, token in enumerate(tokens, start=1):
        if token.split() != [token]:
            raise CheckpointError(f"{path}, line {number}: expected one token, found {token!r:.40}")
    return tokens, special_by_name(tokens)


def read_sentencepiece(path: str | os.PathLike[str]) -> Tokens:
    """The pieces of a SentencePiece model; unknown and control pieces are special.

    Raises CheckpointError when the file is no such model, FileError when it cannot be read.
    """
    try:
        data = memoryview(read_limited(path, MAX_BYTES))
        pieces = []
        for field, value in _protobuf(data):
            if field == 1:
                pieces.append(_piece(value))
            if len(pieces) > MAX_TOKENS:
                raise CheckpointError(f"expected at most {MAX_TOKENS} pieces, found more")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: expected a SentencePiece model: {error}") from None
    if not pieces:
        raise CheckpointError(f"{path}: expected a SentencePiece model, found no pieces")
    special = frozenset(number for number, (_text, kind) in enumerate(pieces)
                        if kind in (_UNKNOWN, _CONTROL))
    return tuple(text for text, _kind in pieces), special


def from_extras(extras: dict[str, Any]) -> Tokens | None:
    """The tokens that a training checkpoint carries: `tokens`, a list of text, and optionally
    `special`, a list of ids or of tokens (default: by name); or those of a folder's `vocab.json`.
    None when it has neither."""
    tokens, special = extras.get("tokens"), extras.get("special")
    if tokens is None:
        return _from_vocabulary(extras)
    if not _is_sequence_of(tokens, str):
        raise CheckpointError("tokens: expected a list of text")
    tokens = tuple(tokens)
    if special is None:
        return tokens, special_by_name(tokens)
    if _is_sequence_of(special, str):
        names = frozenset(special)
        return tokens, frozenset(n for n, token in enumerate(tokens) if token in names)
    if _is_sequence_of(special, int) and all(0 <= item < len(tokens) for item in special):
        return tokens, frozenset(special)
    raise CheckpointError(f"special: expected tokens, or ids in 0..{len(tokens) - 1}")


def _from_vocabulary(extras: dict[str, Any]) -> Tokens | None:
    """The labels of `vocab.json`, of which the delimiter of words becomes "▁"; special are those of
    the form <...> and those that the files of the tokenizer name as such."""
    told = {name: value for file in TOKENIZER_FILES if isinstance(extras.get(file), dict)
            for name, value in extras[file].items()}
    kind = told.get("tokenizer_class") or CTC_TOKENIZERS[0]
    if kind not in CTC_TOKENIZERS:
        raise CheckpointError(f"tokenizer_class: expected one of {list(CTC_TOKENIZERS)}, found "
                              f"{kind!r:.60}; give the labels by --tokens")
    ids = extras.get("vocab.json")
    if not isinstance(ids, dict):
        return None
    if not all(type(number) is int for number in ids.values()):
        raise CheckpointError("vocab.json: expected a number for each label; of several "
                              "vocabularies choose one and give it by --tokens")
    if sorted(ids.values()) != list(range(len(ids))):
        raise CheckpointError(f"vocab.json: expected the ids 0..{len(ids) - 1}, each once, "
                              f"found {some(sorted(ids.values()))}")
    labels = sorted(ids, key=ids.__getitem__)
    named = [told.get(f"{role}_token") for role in ("pad", "unk", "bos", "eos")]
    silent = [name.get("content") if isinstance(name, dict) else name for name in named]
    special = special_by_name(labels) | {labels.index(name) for name in silent if name in labels}
    delimiter = told.get("word_delimiter_token", "|")
    return tuple("▁" if label == delimiter else label for label in labels), special


def _is_sequence_of(values: Any, type_: type) -> bool:
    return isinstance(values, (list, tuple)) and all(type(value) is type_ for value in values)


def _piece(message: memoryview | int) -> tuple[str, int]:
    """(text, type) of a SentencePiece message: field 1 the text, field 3 the type (1 if absent)."""
    if not isinstance(message, memoryview):
        raise CheckpointError("a piece that is no message")
    fields = dict(_protobuf(message))
    text, kind = fields.get(1), fields.get(3, 1)
    if not isinstance(text, memoryview) or not isinstance(kind, int):
        raise CheckpointError("a piece without text")
    try:
        return bytes(text).decode("utf-8"), kind
    except UnicodeDecodeError:
        raise CheckpointError(f"a piece that is no UTF-8: {bytes(text)[:40]!r}") from None


def _protobuf(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of a protobuf message: an int, or a memoryview of its bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 64, 7):
            if position >= len(data):
                raise CheckpointError("a message that ends inside a number")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise CheckpointError("a number of more than ten bytes")

    while position < len(data):
        field, wire = divmod(varint(), 8)
        if wire == 0:
            yield field, varint()
            continue
        if wire not in (1, 2, 5):
            raise CheckpointError(f"a field of wire type {wire}")
        length = {1: 8, 5: 4}.get(wire) or varint()
        if length > len(data) - position:
            raise CheckpointError("a message that ends inside a field")
        value = data[position : position + length]
        position += length
        yield field, value if wire == 2 else struct.unpack("<Q" if wire == 1 else "<I", value)[0]
