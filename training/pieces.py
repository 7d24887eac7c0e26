"""The labels of a model that spells any word: word pieces by byte-pair encoding.

    python pieces.py --librispeech DIR --out build/pieces.model [--size 256]

Needs `sentencepiece` (the extra train). Label 0 is the blank, in the place of the unknown piece:
the texts have no letters but those the pieces are made of. `ee-ref convert --tokenizer` reads the
file.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import sentencepiece

import corpora
from ee_ref.errors import ArgumentError, FileError
from weights_io import files

BLANK = "<blank>"


def train(texts: Iterable[str], size: int) -> bytes:
    """A SentencePiece model with `size` labels, blank included. Raises ArgumentError when the texts
    are too few for so many."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, vocab_size=size, model_type="bpe",
            character_coverage=1.0, normalization_rule_name="identity", unk_id=0, unk_piece=BLANK,
            bos_id=-1, eos_id=-1, pad_id=-1, minloglevel=2)
    except RuntimeError as error:
        raise ArgumentError(f"expected texts that have {size} labels: {error}") from None
    return model.getvalue()


def encoder(path: Path) -> Callable[[str], list[int]]:
    """What turns a text into labels, by the file of `train`. Raises FileError."""
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path)).encode
    except (OSError, RuntimeError) as error:
        raise FileError(f"{path}: expected a SentencePiece model: {error}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    corpora.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--size", type=int, default=256, help="labels, blank included")
    args = parser.parse_args()
    texts = [line["text"] for line in corpora.read(args, "train")]
    files.write_atomic(args.out, [train(texts, args.size)], overwrite=True)


if __name__ == "__main__":
    main()
