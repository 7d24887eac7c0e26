"""The early-exit Conformer with an attention decoder at every exit besides the CTC head (the
authors' `full_conformer`).

    features -> the Conformer's encoder -> CTC head
                                        -> attention decoder, label after label

The encoder and its CTC heads are the Conformer's. The decoder of an exit (`_attention_decoder.py`)
is given the rows that its CTC head is given. Embedding, positions and the norm before the heads are
those of all exits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import config as shared
from ..config import MAX_LAYERS_PER_EXIT, is_count
from ..errors import ArgumentError, CheckpointError, some
from . import _checkpoint, _table, conformer
from ._attention_decoder import AttentionDecoder, Steps, check_hidden, check_step
from ._checkpoint import Module, Source
from ._table import Kind, Part, Row
from .conformer import described, heads, start

__all__ = ["AttentionDecoder", "Config", "OPTIONS", "Steps", "check_hidden", "check_step",
           "described", "heads", "infer", "is_checkpoint", "layout", "parts", "require_decoder",
           "sizes", "sources", "standard", "start"]

DEFAULT_TOKENS = {"start_token": 1, "end_token": 2, "pad_token": 126}
"""Those of the published models, which have 256 labels."""


@dataclass(frozen=True, kw_only=True)
class Config(conformer.Config):
    """Sizes and choices of a Conformer with attention decoders.

    The fields of `ee_ref.families.conformer.Config`, of which heads, ff and norm_eps are the
    decoder's too, and:
    decoder_layers: of the decoder of each exit. max_tokens: rows of its position table, the most
    labels of a sentence, start included.
    start_token, end_token: labels that begin and end a sentence. pad_token: what follows the end;
    a step with it as a label is not seen by later ones.
    """

    architecture: ClassVar[str] = "ee-aed"
    number: ClassVar[int] = 8
    since: ClassVar[int] = 3
    own: ClassVar[Mapping[str, str]] = MappingProxyType(dict.fromkeys(
        ("decoder_layers", "max_tokens", "start_token", "end_token", "pad_token"), "I"))
    has_decoder: ClassVar[bool] = True

    decoder_layers: int
    max_tokens: int
    start_token: int = DEFAULT_TOKENS["start_token"]
    end_token: int = DEFAULT_TOKENS["end_token"]
    pad_token: int = DEFAULT_TOKENS["pad_token"]

    def memory_cost(self, frames: int) -> int:
        """Multiply-accumulates of a decoder before its first step: keys and values of the encoder's
        rows, 2 D D a layer and frame."""
        return self.decoder_layers * frames * 2 * self.dim**2

    def token_cost(self, frames: int, tokens: int) -> int:
        """Those of step `tokens`, from 1, which sees so many labels: a layer 2 D ff + 6 D D, and
        2 D for each label and frame that it sees; and the head."""
        layer = self.dim * (2 * self.ff + 6 * self.dim + 2 * (tokens + frames))
        return self.decoder_layers * layer + self.dim * self.vocab

    def validate(self) -> Config:
        """Return self, or raise ArgumentError naming the first field out of its range."""
        super().validate()
        require = self._require
        require(is_count(self.decoder_layers, 1, MAX_LAYERS_PER_EXIT), "decoder_layers",
                f"in 1..{MAX_LAYERS_PER_EXIT}")
        self._require_count("max_tokens", 1)
        tokens = [getattr(self, name) for name in DEFAULT_TOKENS]
        for name, token in zip(DEFAULT_TOKENS, tokens):
            require(is_count(token, 0, self.vocab - 1), name, f"in 0..{self.vocab - 1}")
            require(tokens.count(token) == 1, name, f"a label of its own, other than {tokens}")
        return self


def require_decoder(config: shared.Config) -> None:
    """Raise ArgumentError for a model without attention decoders."""
    if not config.has_decoder:
        raise ArgumentError("an attention decoder: expected a model that has some, found "
                            f"{config.architecture}")


# ---- Tensors: those of the Conformer, of all decoders, and of each behind the CTC head ----
# Letters: as in conformer.py, and U max_tokens.

SHARED = (
    Row("positions", "U D", Kind.TABLE),
    Row("embedding", "V D", Kind.MATRIX),
    Row("norm.weight", "D", Kind.VECTOR),  # before the head
    Row("norm.bias", "D", Kind.VECTOR),
)

LAYER = (
    Row("self.norm.weight", "D", Kind.VECTOR),
    Row("self.norm.bias", "D", Kind.VECTOR),
    Row("self.in.weight", "3D D", Kind.MATRIX),  # query, key, value, one below the other
    Row("self.in.bias", "3D", Kind.VECTOR),
    Row("self.out.weight", "D D", Kind.MATRIX),
    Row("self.out.bias", "D", Kind.VECTOR),
    Row("cross.norm.weight", "D", Kind.VECTOR),
    Row("cross.norm.bias", "D", Kind.VECTOR),
    Row("cross.in.weight", "3D D", Kind.MATRIX),  # query of the label, key and value of the frames
    Row("cross.in.bias", "3D", Kind.VECTOR),
    Row("cross.out.weight", "D D", Kind.MATRIX),
    Row("cross.out.bias", "D", Kind.VECTOR),
    Row("ff.norm.weight", "D", Kind.VECTOR),
    Row("ff.norm.bias", "D", Kind.VECTOR),
    Row("ff.up.weight", "F D", Kind.MATRIX),
    Row("ff.up.bias", "F", Kind.VECTOR),
    Row("ff.down.weight", "D F", Kind.MATRIX),
    Row("ff.down.bias", "D", Kind.VECTOR),
)


def layer_prefix(exit_: int, layer: int) -> str:
    """Prefix of the names of a decoder layer's tensors; both numbers from 1."""
    return f"decoder.{exit_}.layer.{layer}."


def sizes(config: Config) -> dict[str, int]:
    """What the letters of shapes stand for."""
    return {**conformer.sizes(config), "U": config.max_tokens}


def parts(config: Config) -> Iterator[Part]:
    """All tensors, in an order in which those up to the decoder of exit k are a model of k exits.
    """
    for part in conformer.parts(config):
        yield part
        if part.prefix == "stem.":
            yield Part("decoder.", 0, SHARED)
        elif part.rows is conformer.HEAD:
            for layer in range(1, config.decoder_layers + 1):
                yield Part(layer_prefix(part.exit, layer), part.exit, LAYER)
            yield Part(f"decoder.{part.exit}.head.", part.exit, conformer.HEAD)


# ---- Checkpoints of the authors' layouts ----

_LAYER_SOURCES = (
    # name, source, shape, module
    ("self.norm", "norm1", "D", Module.NORM),
    ("self.in", "self_attn.in_proj_", "3D D", Module.ATTENTION),
    ("self.out", "self_attn.out_proj", "D D", Module.DENSE),
    ("cross.norm", "norm2", "D", Module.NORM),
    ("cross.in", "multihead_attn.in_proj_", "3D D", Module.ATTENTION),
    ("cross.out", "multihead_attn.out_proj", "D D", Module.DENSE),
    ("ff.norm", "norm3", "D", Module.NORM),
    ("ff.up", "linear1", "F D", Module.DENSE),
    ("ff.down", "linear2", "D F", Module.DENSE),
)

OPTIONS = {**conformer.OPTIONS, **dict.fromkeys(DEFAULT_TOKENS, "--special")}
"""Fields that shapes do not tell, and what sets them on the command line."""

_RENAMED = (
    # that of full_conformer, or its ancestor's -> that of `sources`
    ("conformers.", "conformer."),
    ("positional_encoder_1.", "positional_encoder."),
    ("positional_encoder_2.", "decoder_positions."),
    ("linears_1.", "linears."),
)


def sources(config: Config) -> Iterator[Source]:
    """What a checkpoint of `standard` has."""
    letters = sizes(config)

    def spelled(shape: str) -> tuple[int, ...]:
        return _table.spelled(shape, letters)

    yield from conformer.sources(config)
    yield Source("decoder.positions", "decoder_positions.pe", spelled("U 1 D"), Module.TENSOR)
    yield Source("decoder.embedding", "emb.weight", spelled("V D"), Module.TENSOR)
    yield Source("decoder.norm", "layer_norm", spelled("D"), Module.NORM)
    for exit_ in range(config.exits):
        for layer in range(config.decoder_layers):
            for name, module, shape, kind in _LAYER_SOURCES:
                yield Source(layer_prefix(exit_ + 1, layer + 1) + name,
                             f"decoders.{exit_}.layers.{layer}.{module}", spelled(shape), kind)
        yield Source(f"decoder.{exit_ + 1}.head", f"linears_2.{exit_}", spelled("V D"))


def layout(names: Iterable[str]) -> str:
    """Whose names these are."""
    if any(name.startswith("conformers.") for name in names):
        return "the authors' Early_Sequence_Conformer"
    return "the authors' full_conformer"


def is_checkpoint(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a checkpoint of this family."""
    return "emb.weight" in names or any(name.startswith("decoders.0.layers.") for name in names)


def standard(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]
             ) -> dict[str, np.ndarray]:
    """The state dict by the names of `sources`. Raises CheckpointError for another encoder, and for
    tied tensors that differ."""
    if any(name.startswith("encoders.") for name in state):
        raise CheckpointError(
            "expected an encoder of Conformer layers, conformer.N, as full_conformer has it, found "
            "one of plain transformer layers, encoders.N, that of Early_transformer")
    found: dict[str, np.ndarray] = {}
    for name, tensor in conformer.standard(state, settings).items():
        for old, new in _RENAMED:
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        if name in found:
            raise CheckpointError(f"tensor {name!r}: expected one, found two spellings of it")
        found[name] = tensor
    return _untied(found)


def _untied(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With one of the norms that all decoders share, which must be equal; a file that stores shared
    tensors once has no others."""
    copies = [name for name in state if re.fullmatch(r"decoders\.[0-9]{1,4}\.norm\..*", name)]
    for copy in copies:
        shared = f"layer_norm.{copy.rpartition('.')[2]}"
        tensor = state.pop(copy)
        if not np.array_equal(state.setdefault(shared, tensor), tensor):
            raise CheckpointError(f"tensor {copy!r}: expected the numbers of {shared!r}, to which "
                                  "it is tied, found others")
    return state


def infer(state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Config:
    """The configuration that the names and shapes of a state dict imply, not validated.

    settings: fields of Config that shapes do not tell. Raises CheckpointError.
    """
    tokens = {name: settings.get(name, token) for name, token in DEFAULT_TOKENS.items()}
    plain = conformer.infer(state, {name: value for name, value in settings.items()
                                    if name not in tokens})
    for what in (r"decoders\.([0-9]{1,4})\.", r"linears_2\.([0-9]{1,4})\."):
        exits = _checkpoint.count(state, what, "attention decoders decoders.N and linears_2.N")
        if exits != plain.exits:
            raise CheckpointError(f"expected as many attention decoders as groups of layers, found "
                                  f"{exits} decoders and {plain.exits} groups")
    layers = {_checkpoint.count(state, rf"decoders\.{exit_}\.layers\.([0-9]{{1,4}})\.",
                                f"layers decoders.{exit_}.layers.N")
              for exit_ in range(plain.exits)}
    if len(layers) != 1:
        raise CheckpointError("expected decoders of one number of layers, found "
                              f"{some(sorted(layers))}")
    max_tokens, _, _ = _checkpoint.shape(state, "decoder_positions.pe", 3)
    return Config(**asdict(plain), decoder_layers=layers.pop(), max_tokens=max_tokens, **tokens)
