"""The attention decoder of an exit, as its formula: labels one after another.

    x = embedding[label] + positions[step]
    layers:  x = x + attention(norm(x); the rows of the labels so far)
             x = x + attention(norm(x); the rows that the exit's group gives)
             x = x + linear(relu(linear(norm(x))))
    log_softmax(linear(norm(x)))

That is torch.nn.TransformerDecoderLayer, norms before the modules, under a causal mask. Keys and
values of the labels so far are kept, so that a step costs one row. Hypotheses go side by side: each
continues one of the step before. A label that pads gives no row: no later step sees it, as under
the authors' mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops._attention import by_head, context, context_qs8, side_by_side
from ._arithmetic import Ops, matrix, rows
from ._table import Weights

Seen = tuple[np.ndarray, ...]
"""Keys and values as attention takes them: in int8 mode each with the scales of its rows."""


class Steps(Protocol):
    """An attention decoder at work: that of this module, or of the C library."""

    def step(self, labels: Sequence[int], parents: Sequence[int] = (0,)) -> np.ndarray:
        """See `AttentionDecoder.step`."""
        ...


class AttentionDecoder:
    """The decoder of exit `exit_` over one utterance. For one thread at a time.

    config: of `ee_ref.families.aed`. weights: from `families.grouped`. hidden: (rows, dim) float32,
    what the exit's group gives, at least one row.
    """

    def __init__(self, config: Any, weights: Weights, exit_: int, hidden: np.ndarray,
                 ops: ModuleType) -> None:
        check_hidden(config, exit_, hidden)
        self._config, self._ops, self._quantize = config, Ops(config, ops), ops.quantize_qs8
        self._shared, self._head = weights["decoder."], weights[f"decoder.{exit_}.head."]
        self._layers = [weights[f"decoder.{exit_}.layer.{layer}."]
                        for layer in range(1, config.decoder_layers + 1)]
        dim = config.dim
        self._memory = [self._seen(self._linear(hidden, own, "cross.in.", slice(dim, None)))
                        for own in self._layers]
        # Of each hypothesis the keys and values (labels, 2 dim) of each layer.
        self._kept: list[list[np.ndarray]] = []
        self._steps = 0

    def step(self, labels: Sequence[int], parents: Sequence[int] = (0,)) -> np.ndarray:
        """Natural logarithms of the probabilities of the label that follows each hypothesis.

        labels: the newest label of each, at first the start of a sentence. parents: which
        hypothesis of the step before each continues, from 0; at the first step 0.
        Returns (hypotheses, vocab) float32. Raises ArgumentError for labels or parents that there
        are not, for `config.pad_token` at the first step, and after `config.max_tokens` steps.
        """
        config = self._config
        check_step(config, labels, parents, len(self._kept), self._steps)
        none = [np.zeros((0, 2 * config.dim), np.float32)] * config.decoder_layers
        kept = [list(self._kept[parent] if self._kept else none) for parent in parents]
        x = self._embedded(labels)
        for layer, own in enumerate(self._layers):
            x = x + self._self_attention(x, own, layer, labels, kept)
            queries = self._linear(self._norm(x, own, "cross.norm."), own, "cross.in.",
                                   slice(config.dim))
            x = x + self._linear(self._context(queries, self._memory[layer]), own, "cross.out.")
            wide = self._linear(self._norm(x, own, "ff.norm."), own, "ff.up.")
            x = x + self._linear(np.maximum(wide, np.float32(0)), own, "ff.down.")
        self._kept = kept
        self._steps += 1
        return self._ops.exit_head(self._norm(x, self._shared, "norm."), *matrix(self._head))

    def _embedded(self, labels: Sequence[int]) -> np.ndarray:
        return (rows(self._shared, "embedding", list(labels))
                + rows(self._shared, "positions", [self._steps]))

    def _self_attention(self, x: np.ndarray, own: Mapping[str, np.ndarray], layer: int,
                        labels: Sequence[int], kept: list[list[np.ndarray]]) -> np.ndarray:
        """Adds the rows of the labels to what is kept, too."""
        dim = self._config.dim
        qkv = self._linear(self._norm(x, own, "self.norm."), own, "self.in.")
        taken = []
        for row, label, of in zip(qkv, labels, kept):
            if label != self._config.pad_token:
                of[layer] = np.concatenate([of[layer], row[None, dim:]])
            taken.append(self._context(row[None, :dim], self._seen(of[layer])))
        return self._linear(np.concatenate(taken), own, "self.out.")

    def _seen(self, kv: np.ndarray) -> Seen:
        """Keys and values (rows, 2 dim), by heads."""
        dim, heads = self._config.dim, self._config.heads
        keys, values = by_head(kv[:, :dim], heads), by_head(kv[:, dim:], heads)
        if self._config.dtype == "f32":
            return keys, values
        return *self._quantize(keys), *self._quantize(values)

    def _context(self, queries: np.ndarray, seen: Seen) -> np.ndarray:
        config = self._config
        q = by_head(queries, config.heads)
        one_over_root = np.float32(1) / np.sqrt(np.float32(config.dim // config.heads))
        if config.dtype == "f32":
            return side_by_side(context(q * one_over_root, *seen))
        q, scale = self._quantize(q)
        return side_by_side(context_qs8(q, scale * one_over_root, *seen))

    def _linear(self, x: np.ndarray, own: Mapping[str, np.ndarray], name: str,
                outs: slice = slice(None)) -> np.ndarray:
        return self._ops.linear(x, *(array[outs] for array in matrix(own, name)))

    def _norm(self, x: np.ndarray, own: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        return self._ops.layer_norm(x, *matrix(own, name), self._config.norm_eps)


def check_hidden(config: Any, exit_: int, hidden: np.ndarray) -> None:
    """Raise ArgumentError or ShapeError unless there is such an exit, and these are its rows."""
    if not 1 <= exit_ <= config.exits:
        raise ArgumentError(f"exit: expected 1..{config.exits}, found {exit_}")
    shape, dtype = np.shape(hidden), getattr(hidden, "dtype", type(hidden).__name__)
    if len(shape) != 2 or shape[0] < 1 or shape[1] != config.dim or dtype != np.float32:
        raise ShapeError(f"hidden: expected float32 (rows, {config.dim}) of 1 row or more, "
                         f"found {dtype} {shape}")
    if not np.isfinite(hidden).all():
        raise ArgumentError("hidden: expected finite numbers, found NaN or infinity")


def check_step(config: Any, labels: Sequence[int], parents: Sequence[int], before: int,
               steps: int) -> None:
    """Raise ArgumentError unless a step can be taken: `before` hypotheses at the step before, and
    `steps` of them."""
    if steps >= config.max_tokens:
        raise ArgumentError(f"step: expected at most {config.max_tokens} steps, as the decoder has "
                            "positions, found one more")
    if not labels or len(labels) != len(parents):
        raise ArgumentError(f"step: expected a parent for each of one or more labels, found "
                            f"{len(labels)} labels and {len(parents)} parents")
    for name, numbers, count in (("label", labels, config.vocab),
                                 ("parent", parents, max(1, before))):
        wrong = [number for number in numbers if not 0 <= number < count]
        if wrong:
            raise ArgumentError(f"{name}: expected 0..{count - 1}, found {wrong[0]}")
    if steps == 0 and config.pad_token in labels:
        raise ArgumentError("label: expected one that begins a sentence, found pad_token "
                            f"{config.pad_token}, which no label sees")
