"""`ee-ref convert`: a PyTorch or safetensors checkpoint becomes a model file."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from ..config import FRONTENDS, WAVEFORMS
from ..errors import ArgumentError, CheckpointError, FileError

HELP = "checkpoint to model file"
DESCRIPTION = (
    "Convert a checkpoint of a published layout (torch.save, safetensors, or a folder of Hugging "
    "Face) to a model file. Needs no PyTorch and runs nothing that the checkpoint says.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL",
                        help="model file to write")
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument("--tokenizer", metavar="F", help="SentencePiece model with the labels")
    tokens.add_argument("--tokens", metavar="F", help="text file with one label a line")
    parser.add_argument("--state", metavar="NAME",
                        help="which state dict to take from a checkpoint with several, by its "
                        "keys: model, ema.module")
    parser.add_argument("--heads", type=int, metavar="N",
                        help="attention heads, which the shapes do not show "
                        "(default: what the checkpoint says, else 8)")
    parser.add_argument("--frontend", choices=[*sorted(FRONTENDS), *WAVEFORMS],
                        help="features the model was trained on; of those that take samples, "
                        "whether these are normalised: waveform, or not: samples (default: what "
                        "the checkpoint says, else what the published models have)")
    parser.add_argument("--norm", choices=["post", "pre"],
                        help="wav2vec 2.0 and its kin: norms after the sums of a layer, or before "
                        "its modules (default: what the checkpoint says, else by its first norms)")
    parser.add_argument("--exits", metavar="N,N,...", type=_layers,
                        help="wav2vec 2.0 and its kin: the layers after which exits are; those of "
                        "a model with one head share it (default: at equal distances)")
    parser.add_argument("--special", metavar="START,END,PAD", type=_special,
                        help="attention decoders: the labels that start, end and pad a sentence "
                        "(default: what the checkpoint says, else 1,2,126)")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def _layers(text: str) -> tuple[int, ...]:
    """"2,4,6" -> (2, 4, 6)"""
    return _numbers(text, "layers as in 2,4,6")


def _special(text: str) -> tuple[int, ...]:
    """"1,2,126" -> (1, 2, 126)"""
    return _numbers(text, "three labels as in 1,2,126", 3)


def _numbers(text: str, expected: str, count: int | None = None) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(re.fullmatch("[0-9]{1,5}", number) for number in numbers) or (
            count is not None and len(numbers) != count):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r:.60}")
    return tuple(map(int, numbers))


def run(args: argparse.Namespace) -> int:
    """Convert, read the result back and compare, and print a summary on stderr."""
    from weights_io import files, folder, from_torch

    from .. import model_file
    from ..convert import convert

    files.refuse_existing(args.output, args.force)
    if os.path.exists(args.output) and os.path.exists(args.checkpoint) \
            and os.path.samefile(args.checkpoint, args.output):
        raise ArgumentError(f"{args.output}: the output is the checkpoint itself")
    read = folder.read if os.path.isdir(args.checkpoint) else from_torch.read_checkpoint
    checkpoint = read(args.checkpoint, args.state)
    converted = convert(
        checkpoint.state, heads=args.heads, frontend=args.frontend, norm=args.norm,
        exit_layers=args.exits, special=args.special, extras=checkpoint.extras)
    config, tensors = converted.config, converted.tensors
    (tokens, special), source = _tokens(args, checkpoint.extras, config.vocab)
    model_file.write(args.output, config, tokens, special, tensors,
                     name=Path(args.checkpoint).stem, overwrite=args.force)

    written = model_file.read(args.output)
    same = written.config == config and written.tokens == tokens and written.special == special
    if not same or any(written.tensors[name].tobytes() != tensor.tobytes()
                       for name, tensor in tensors.items()):
        raise FileError(f"{args.output}: does not read back as it was written")

    assumed = [f"{name} {getattr(config, name)} (see {option})"
               for name, option in converted.assumed.items()]
    layers = "+".join(map(str, config.layers_per_exit))
    print(
        f"{args.output}: {config.architecture}: {config.exits} exits after {layers} layers, "
        f"width {config.dim}, {config.heads} heads, "
        f"feed-forward {config.ff}, kernel {config.kernel}\n"
        f"recognised by the names of tensors, those of {converted.layout}\n"
        f"front end {config.frontend}, {config.vocab} labels from {source} "
        f"({len(special)} never in text)\n"
        + (f"assumed, as nothing tells: {', '.join(assumed)}\n" if assumed else "") +
        f"{len(tensors)} tensors, {written.size:,} bytes, checksum "
        f"{written.header_checksum:08x}; read back and compared",
        file=sys.stderr,
    )
    return 0


def _tokens(args: argparse.Namespace, extras: dict, vocab: int):
    """((tokens, special), where they come from): the option, else the checkpoint, else `<0>` ..."""
    from weights_io import tokenizer

    if args.tokenizer is not None:
        found = tokenizer.read_sentencepiece(args.tokenizer)
    elif args.tokens is not None:
        found = tokenizer.read_token_file(args.tokens)
    elif (stored := tokenizer.from_extras(extras)) is not None:
        found = stored
    else:
        return tokenizer.placeholders(vocab), "nowhere: placeholders <0>, <1>, ..."
    source = args.tokenizer or args.tokens or "the checkpoint"
    if len(found[0]) != vocab:
        raise CheckpointError(
            f"labels from {source}: expected {vocab}, as the exit heads have, found "
            f"{len(found[0])}")
    return found, source
