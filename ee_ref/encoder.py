"""The encoder: features in, the log-probabilities of one exit after another out.

    stem_conv -> stem_conv -> + positions -> [conformer layers -> exit head]*

`ReferenceEncoder` runs the NumPy ops, `NativeEncoder` the C runtime; both follow `Encoder`. `exits`
returns a generator: it stands still after each exit, and whoever stops asking has stopped the work.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from weights_io.layout import layer_prefix, tensor_specs

from . import ops
from .config import Config
from .errors import ArgumentError, ShapeError, TooLongError


class ExitOutput(NamedTuple):
    """What one exit says.

    exit: its number, from 1. log_probs: (encoder frames, vocab) float32, natural logarithm.
    """

    exit: int
    log_probs: np.ndarray


class Encoder(Protocol):
    """An early-exit encoder over one set of weights."""

    config: Config

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]): ...

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """Yield the output of exit 1, 2, ...; the layers after an exit run when the next is asked.

        features: (T, mels) float32, already normalised where the model wants it. With too few
        frames for the stem the outputs have no rows. Raises, before the first exit, ShapeError for
        other shapes or dtypes, ArgumentError for NaN or infinity, TooLongError for more encoder
        frames than positions.
        """
        ...


class ReferenceEncoder:
    """The model as its formula, in NumPy (arXiv:2309.09546, figure 1; layers of torchaudio).

    config.dtype says which ops: "f32", or "qs8", whose results are the same bytes everywhere.
    tensors: arrays by the names, shapes and dtypes of `weights_io.layout.tensor_specs(config)`.
    Raises ArgumentError for a missing tensor, ShapeError for one of another shape or dtype.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray]):
        self.config = config
        self.tensors = tensors
        _check_tensors(config, tensors)

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """See `Encoder.exits`."""
        frames = _check_features(self.config, features)
        return self._exits(features) if frames else _empty_exits(self.config)

    def _exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        config = self.config
        x = self._stem(features)
        for exit_, layers in enumerate(config.layers_per_exit, start=1):
            for layer in range(1, layers + 1):
                weights = self._layer_weights(exit_, layer)
                x, _ = self._op("conformer_layer")(x, weights, config.heads, config.norm_eps)
            yield ExitOutput(exit_, self._op("exit_head")(x, *self._matrix(f"head.{exit_}")))

    def _stem(self, features: np.ndarray) -> np.ndarray:
        """(T, mels) -> (T', dim): two convolutions, nothing between them, then the positions."""
        x = features
        for conv in ("stem.conv1", "stem.conv2"):
            x = self._op("stem_conv")(x, *self._matrix(conv), self.config.stem_stride)
        positions = self.tensors["stem.positions"][: len(x)]
        if self.config.dtype == "f32":
            return x + positions
        scale = self.tensors["stem.positions_scale"][: len(x)]
        return x + positions.astype(np.float32) * scale[:, None]

    def _op(self, name: str) -> Callable[..., Any]:
        return getattr(ops, name if self.config.dtype == "f32" else f"{name}_{self.config.dtype}")

    def _matrix(self, name: str) -> list[np.ndarray]:
        """Weight, its scale in an int8 model, and bias."""
        kinds = ("weight", "bias") if self.config.dtype == "f32" else (
            "weight", "weight_scale", "bias")
        return [self.tensors[f"{name}.{kind}"] for kind in kinds]

    def _layer_weights(self, exit_: int, layer: int) -> dict[str, np.ndarray]:
        prefix = layer_prefix(exit_, layer)
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items()
                if name.startswith(prefix)}


class NativeEncoder:
    """The same model on the C runtime: one session, in one arena, for each call of `exits`.

    tensors: as for `ReferenceEncoder`, used in place where they are laid out as in a model file.
    threads: see `ee_ref.load`.
    Raises the same errors, NativeUnavailable when the C library was not built, and ThreadsError
    when the system gives no more threads.
    """

    def __init__(self, config: Config, tensors: Mapping[str, np.ndarray], threads: int = 1):
        from .native._session import NativeModel

        self.config = config
        self._model = NativeModel(config, tensors, threads)

    def exits(self, features: np.ndarray) -> Generator[ExitOutput, None, None]:
        """See `Encoder.exits`."""
        frames = _check_features(self.config, features)
        if frames == 0:
            return _empty_exits(self.config)
        outputs = self._model.exits(np.ascontiguousarray(features))
        return (ExitOutput(out.exit, out.log_probs) for out in outputs)


def _check_tensors(config: Config, tensors: Mapping[str, np.ndarray]) -> None:
    for spec in tensor_specs(config):
        name, shape = spec.name, spec.shape
        if name not in tensors:
            raise ArgumentError(f"tensor {name}: expected {shape}, found none of that name")
        found = tensors[name]
        if found.shape != shape or found.dtype != spec.dtype:
            raise ShapeError(
                f"tensor {name}: expected {spec.dtype} {shape}, found {found.dtype} {found.shape}"
            )


def _check_features(config: Config, features: np.ndarray) -> int:
    """Number of encoder frames that features will give; raises as `Encoder.exits` says."""
    shape, dtype = np.shape(features), getattr(features, "dtype", type(features).__name__)
    if len(shape) != 2 or shape[1] != config.mels or dtype != np.float32:
        raise ShapeError(
            f"features: expected float32 (frames, {config.mels}), found {dtype} {shape}"
        )
    frames = config.encoder_frames(shape[0])
    if frames > config.max_frames:
        raise TooLongError(
            f"audio too long: expected at most {config.max_frames} encoder frames "
            f"({config.max_seconds:.1f} s), found {frames} "
            f"({frames * config.frame_seconds:.1f} s)"
        )
    if not np.isfinite(features).all():
        raise ArgumentError("features: expected finite numbers, found NaN or infinity")
    return frames


def _empty_exits(config: Config) -> Generator[ExitOutput, None, None]:
    for exit_ in range(1, config.exits + 1):
        yield ExitOutput(exit_, np.zeros((0, config.vocab), np.float32))
