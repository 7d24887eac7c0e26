"""Families: their tables against the document, and what follows from a configuration."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ee_ref import families, flash_image, load, model_file
from ee_ref.config import Config
from ee_ref.conformance.draw import SMALL, Stream, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.errors import ArgumentError
from ee_ref.families import conformer
from ee_ref.quantize import quantize
from tests.conftest import ROOT

LIMITED = replace(SMALL, chunk=4, left=8, conv="chunk", positions="none", max_frames=0)


def listed(title: str) -> list[tuple[str, str, str]]:
    """(name, shape, kind) of each row of one of FORMAT.md's tables of tensors."""
    text = (ROOT / "weights_io" / "FORMAT.md").read_text().partition("## Tensors")[2]
    table = text.partition(f"\n{title}")[2].partition("|\n\n")[0] + "|\n"
    return [(name.replace("{g}", "1").replace("{l}", "1"), shape, kind) for name, shape, kind
            in re.findall(r"^\| `([^`]+)` \| ([^|]+) \| (\w+) \|", table, re.MULTILINE)]


def rows_of(config: Config) -> list[tuple[str, str, str]]:
    return [(part.prefix + row.name, row.shape, row.kind.value)
            for part in families.of(config).parts(config) for row in part.rows]


def test_the_document_lists_the_tensors_of_a_conformer():
    logmel = replace(SMALL, frontend="logmel", exits=1, layers_per_exit=(1,))
    assert rows_of(logmel) == listed("All families") + listed("`ee-conformer`")


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, dtype="qs8"), LIMITED])
def test_the_count_is_that_of_the_table(config):
    assert families.tensor_count(config) == len(families.tensors(config))


@pytest.mark.parametrize("shape, expected", [
    ("3D D", (60, 20)), ("D SM", (20, 39)), ("P 1 D", (40, 1, 20)), ("V", (11,)),
])
def test_shapes_in_letters(shape, expected):
    assert families.spelled(shape, conformer.sizes(SMALL)) == expected


@pytest.mark.parametrize("change, message", [
    ({"chunk": 4}, "conv: expected 'causal' or 'chunk' with a chunk"),
    ({"conv": "chunk"}, "conv: expected 'centred' or 'causal' without a chunk"),
    ({"left": 4}, "left: expected 0 without a chunk"),
    ({"positions": "none"}, "max_frames: expected 0 without positions"),
    ({"max_frames": 0}, "max_frames: expected an integer in 1.."),
    ({"conv": "other"}, "conv: expected one of"),
    ({"positions": "other"}, "positions: expected one of"),
    ({"chunk": -1}, "chunk: expected an integer in 0.."),
])
def test_views_that_are_none(change, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        replace(SMALL, **change).validate()


def test_views_that_are_some():
    for change in ({}, {"conv": "causal"}, {"chunk": 4, "conv": "causal"},
                   {"chunk": 4, "left": 2, "conv": "chunk"},
                   {"positions": "none", "max_frames": 0}):
        replace(SMALL, **change).validate()
    assert LIMITED.validate().max_seconds == float("inf")


def test_costs_of_a_limited_view_count_what_a_frame_sees():
    frames, dim = 21, SMALL.dim
    seen = sum(min(frames, t // 4 * 4 + 4) - max(0, t // 4 * 4 - 8) for t in range(frames))
    full, limited = conformer.layer_cost(SMALL, frames), conformer.layer_cost(LIMITED, frames)
    assert full - limited == 2 * dim * (frames**2 - seen)


@pytest.mark.parametrize("exits", [1, 2, 3])
def test_the_first_exits_keep_their_layers(exits):
    expected = replace(SMALL, exits=exits, layers_per_exit=(1, 2, 1)[:exits])
    assert SMALL.first_exits(exits) == expected


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_a_model_without_positions_takes_audio_of_any_length(backend, dtype, tmp_path):
    extras = {name: getattr(LIMITED, name) for name in ("chunk", "left", "conv", "positions")}
    config, tensors = convert_state_dict(
        random_state_dict(LIMITED, 1), heads=LIMITED.heads, extras=extras)
    if dtype == "qs8":
        config, tensors = quantize(config, tensors)
    tokens = tuple(f"<{number}>" for number in range(config.vocab))
    model_file.write(tmp_path / "m.gguf", config, tokens, {}, tensors)
    model = load(tmp_path / "m.gguf", backend="numpy" if backend == "numpy" else "native")
    found = model.transcribe(Stream(1)(60 * 16000, low=-0.1, high=0.1))
    assert found.exit == LIMITED.exits and found.duration == 60
    assert model.info()["exits"][-1]["multiply_accumulates"]["10 s"] is not None
    assert flash_image.parse(flash_image.build(model.file)).config == config


def test_every_family_names_itself():
    for name, family in families.FAMILIES.items():
        assert family.Config.architecture == name
    assert families.of(SMALL) is conformer
