"""A folder for any web server: the page, its module, the kernels, a model (docs/web.md).

The page and the module are files of this folder; `make -C kernels/ports web-wasm web-wasm_simd128`
makes the kernels again.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_io import files

from .. import flash_image
from ..errors import ArgumentError
from ..exits import AnyPolicy, Entropy, Fixed
from ..exits.rules import Threshold
from ..formats import make_folder
from ..plan import multiply_accumulates
from ..stream import LIVE, LONG, PHRASES, Endpoint, Windows

if TYPE_CHECKING:
    from ..model import Model

SITE = ("index.html", "ee-ref.mjs", "ee-ref.d.mts", "ee-ref-simd128.wasm", "ee-ref-portable.wasm")
"""What does not depend on the model."""

_SECONDS = 10.0  # of audio, in which work is counted


def write(
    folder: str | Path, model: Model, exits: int | None = None,
    phrases: str | Path | None = None, *, overwrite: bool = False,
) -> dict[str, int]:
    """Write the files; return their names and sizes in bytes.

    model: one in int8. exits: only its first ones; None: all. phrases: a file of what may be said
    (docs/phrases.md). The folder is made where it is missing; other files in it stay.
    Raises ArgumentError for a model in float32, of a family without streams, or that flash images
    cannot hold; PhraseError; FileError for files that exist, unless `overwrite`, and for what
    cannot be written.
    """
    if model.config.dtype != "qs8":
        raise ArgumentError(f"{model.file.path}: expected an int8 model, found one in "
                            f"{model.config.dtype}: ee-ref quantize makes one of it")
    content = {name: (resources.files(__name__) / name).read_bytes() for name in SITE}
    content["model.bin"] = flash_image.build(model.file, exits)
    about = description(model, exits)
    if phrases is not None:
        content["phrases.bin"] = model.phrase_decoder(phrases).packed()
        about["phrases"] = {"file": "phrases.bin", "name": Path(phrases).name,
                            "text": Path(phrases).read_text(encoding="utf-8-sig")}
    content["model.json"] = (json.dumps(about, indent=1) + "\n").encode()
    make_folder(folder)
    for name in content:
        files.refuse_existing(Path(folder) / name, overwrite)
    for name, data in content.items():
        files.write_atomic(Path(folder) / name, [data], overwrite)
    return {name: len(data) for name, data in content.items()}


def description(model: Model, exits: int | None = None) -> dict[str, Any]:
    """What the page is told of a model: `ModelDescription` of ee-ref.d.mts."""
    config = model.config if exits is None else model.config.first_exits(exits)
    costs = multiply_accumulates(config, min(_SECONDS, config.max_seconds)) or ()
    endpoint = Endpoint()
    return {
        "name": Path(model.file.path).stem,
        "image": "model.bin",
        "frameSeconds": config.frame_seconds,
        "work": [round(cost / min(_SECONDS, config.max_seconds)) for cost in costs],
        "views": {name: _view(model, view) for name, view in
                  (("live", LIVE), ("recording", LONG), ("phrases", PHRASES))},
        "policy": _policy(model.policy(None, None, False, stream=True), config.exits),
        "after": max(1, round(endpoint.after / config.frame_seconds)),
        "longest": max(1, round(endpoint.longest / config.frame_seconds)),
        "phrases": None,
    }


def _view(model: Model, usual: Windows) -> dict[str, int]:
    """In rows. The C library reads chunks from the model, and has no others."""
    view = model.stream_view(None, usual)
    if not isinstance(view, Windows):
        view = usual.within(model.config.max_frames)
    return {"left": view.left, "hop": view.hop, "ahead": view.ahead}


def _policy(policy: AnyPolicy, exits: int) -> dict[str, float]:
    """The nearest policy of the C library: the same exit, the same entropy, or of thresholds of the
    entropy the strictest; else the last exit."""
    if isinstance(policy, Fixed):
        return {"exit": min(policy.n, exits)}
    if isinstance(policy, Entropy):
        return {"entropy": policy.threshold}
    if isinstance(policy, Threshold) and policy.score == "entropy":
        given = policy.threshold
        thresholds = given if isinstance(given, (list, tuple)) else (given,)
        return {"entropy": min((t for t in thresholds if t is not None), default=0.0)}
    return {"exit": exits}
