"""Early-exit speech recognition that runs anywhere.

A NumPy reference and C kernels for early-exit Conformer-CTC models (arXiv:2309.09546):

    import ee_ref
    print(ee_ref.load().transcribe("speech.wav").text)

Submodules are loaded when first used, so that `import ee_ref` costs little more than NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import EeError

if TYPE_CHECKING:
    from . import (
        audio, bench, calibration, cluster, config, conformance, convert, decode, encoder, errors,
        evaluation, exits, families, flash_image, formats, frontend, info, loading, model,
        model_file, native, ops, phrases, plan, quantize, stream, tokens, wyoming_server,
    )
    from .loading import load
    from .model import Model

__version__ = "0.1.0"
__all__ = ["EeError", "Model", "load", "audio", "bench", "calibration", "cluster", "config",
           "conformance", "convert", "decode", "encoder", "errors", "evaluation", "exits",
           "families", "flash_image", "formats", "frontend", "info", "loading", "model",
           "model_file", "native", "ops", "phrases", "plan", "quantize", "stream", "tokens",
           "wyoming_server"]

_ROOMS = {"Model": "model", "load": "loading"}
_OLD_NAMES = ("features", "frontend_tables", "pipeline")


if not TYPE_CHECKING:  # to a type checker every name would be one of this module

    def __getattr__(name: str) -> Any:
        if name in _ROOMS:
            return getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
        if name in (*__all__, *_OLD_NAMES):
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
