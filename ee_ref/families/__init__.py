"""Families of models: a module each, with all that is true of one family and of no other.

A model file names its family (`general.architecture`), and FAMILIES imports its module when it is
asked for it: a run has one model. To add one: a module with the names of `Family`, two rows here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import config as shared
from ._checkpoint import Module, Source
from ._state import ExitOutput, Head, OneThread, State, check_features, too_long
from ._table import (
    SCALE_SUFFIX, Kind, Part, Row, TensorSpec, Weights, by_part, check, count, padded_shape, specs,
    spelled,
)

__all__ = [
    "FAMILIES", "SCALE_SUFFIX", "ExitOutput", "Family", "Head", "Kind", "Module", "OneThread",
    "Part", "Row", "Source", "State", "TensorSpec", "Weights", "check_features", "grouped", "of",
    "padded_shape", "spelled", "tensor_count", "tensors", "too_long",
]


class Family(Protocol):
    """What a family offers."""

    @property
    def Config(self) -> type[shared.Config]:
        """Its configuration; `Config.architecture` is the name of the family in model files."""
        ...

    def parts(self, config: Any) -> Iterator[Part]:
        """All tensors, in the order of the model file: the front end, then what lies before the
        first group, group 1, head 1, group 2, ..."""
        ...

    def sizes(self, config: Any) -> dict[str, int]:
        """What the letters in the shapes of `parts` stand for."""
        ...

    def heads(self, config: Any) -> tuple[Head, ...]:
        """What each exit gives."""
        ...

    def start(self, config: Any, weights: Weights, ops: ModuleType, capacity: int | None = None
              ) -> State:
        """An utterance at its beginning."""
        ...

    def is_checkpoint(self, names: Mapping[str, Any]) -> bool:
        """Whether these are the names of a checkpoint of this family."""
        ...

    @property
    def OPTIONS(self) -> Mapping[str, str]:
        """Fields of a configuration that shapes do not tell, and the option of `ee-ref convert`
        that sets each."""
        ...

    def layout(self, names: Iterable[str]) -> str:
        """Whose names of tensors these are, for a message."""
        ...

    def described(self, extras: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a configuration that files beside a checkpoint tell in words of their own."""
        ...

    def standard(self, state: Mapping[str, np.ndarray], settings: Mapping[str, Any]
                 ) -> dict[str, np.ndarray]:
        """A checkpoint of any layout by the names of `sources`; settings: as in `infer`."""
        ...

    def infer(self, state: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> shared.Config:
        """The configuration of a checkpoint of `standard`, not validated.

        settings: what shapes do not tell, and `exit_layers`, where they were chosen.
        """
        ...

    def sources(self, config: Any) -> Iterator[Source]:
        """What a checkpoint has, and what becomes of it."""
        ...


_MODULES = {
    "ee-conformer": "conformer", "ee-splitformer": "splitformer",
    "ee-conformer-lstm": "conformer_lstm", "ee-zipformer": "zipformer", "ee-aed": "aed",
    "ee-wav2vec2": "wav2vec2", "ee-wavlm": "wavlm",
}

if TYPE_CHECKING:
    from . import aed, conformer, conformer_lstm, splitformer, wav2vec2, wavlm, zipformer

    _CHECKED: tuple[Family, ...] = (conformer, splitformer, conformer_lstm, zipformer, aed,
                                    wav2vec2, wavlm)
else:

    def __getattr__(name: str) -> Any:
        if name in _MODULES.values():
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Families(Mapping[str, Family]):
    """The modules by the names of their families."""

    def __getitem__(self, name: str) -> Family:
        module: Any = importlib.import_module(f".{_MODULES[name]}", __name__)
        return module

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


FAMILIES: Mapping[str, Family] = _Families()
"""By `general.architecture` of model files. A family whose checkpoints have the names of another
one's and more stands after it."""


def of(config: shared.Config) -> Family:
    """The family of a configuration."""
    return FAMILIES[config.architecture]


def tensors(config: shared.Config) -> tuple[TensorSpec, ...]:
    """Every tensor of a model of this configuration, in the order of the model file.

    Those up to head k are a complete model of k exits.
    """
    family = of(config)
    return specs(family.parts(config), family.sizes(config), config.dtype)


def tensor_count(config: shared.Config) -> int:
    """How many `tensors` gives, without making them."""
    return count(of(config).parts(config), config.dtype)


def grouped(config: shared.Config, arrays: Mapping[str, np.ndarray]) -> Weights:
    """The arrays of all tensors by the prefix of their part and their name there.

    That is what `Family.start` is given.
    Raises ArgumentError for a missing tensor, ShapeError for one of another shape or dtype.
    """
    check(tensors(config), arrays)
    return by_part(of(config).parts(config), arrays)
