"""The folder that `ee-ref web` writes, and phrases compiled for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import ee_ref
from ee_ref import flash_image, web
from ee_ref.cli import main
from ee_ref.errors import ArgumentError, FileError, PhraseError
from ee_ref.exits import Deadline, Entropy, Fixed, Threshold
from ee_ref.phrases import packed
from ee_ref.stream import LONG, PHRASES

SITE = Path(web.__file__).parent
ROOT = SITE.parent.parent
LARGEST = 150_000
"""Bytes of the module and the kernels that a browser loads."""
LIGHTS = "on: turn on the light[s]\n"


@pytest.fixture(scope="module")
def commands() -> ee_ref.Model:
    return ee_ref.load("commands", backend="numpy")


@pytest.fixture
def lights(tmp_path) -> Path:
    path = tmp_path / "lights.phrases"
    path.write_text(LIGHTS)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder(commands, tmp_path):
    folder = tmp_path / "not" / "yet"
    sizes = web.write(folder, commands, exits=4)
    assert names(folder) == {*web.SITE, "model.bin", "model.json"} == sizes.keys()
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == sizes
    assert (folder / "model.bin").read_bytes() == flash_image.build(commands.file, 4)
    for name in web.SITE:
        assert (folder / name).read_bytes() == (SITE / name).read_bytes()
    about = json.loads((folder / "model.json").read_text())
    assert about == web.description(commands, 4)
    assert about["name"] == "commands" and about["image"] == "model.bin"
    assert len(about["work"]) == 4 and about["work"] == sorted(about["work"])
    cost = commands.config.costs(commands.config.feature_frames(10 * 16000))[3]
    assert about["work"][3] == round(cost / 10)
    # The operating point `stream` names the view and the exit, which is deeper than this model now.
    assert about["views"] == {"live": {"left": 64, "hop": 48, "ahead": 16},
                              "recording": vars(LONG), "phrases": vars(PHRASES)}
    assert about["policy"] == {"exit": 4} and about["phrases"] is None
    assert (about["after"], about["longest"]) == (20, 500)


def test_the_description_is_that_of_the_types(commands):
    """model.json has the fields that ee-ref.d.mts says."""
    types = (SITE / "ee-ref.d.mts").read_text()
    body = re.search(r"interface ModelDescription \{\n(.*?)\n\}", types, re.DOTALL)[1]
    assert re.findall(r"^  (\w+):", body, re.MULTILINE) == list(web.description(commands))


def test_exports_are_those_of_the_types():
    """What the module exports is what its types declare."""
    exported = {}
    for name in ("ee-ref.mjs", "ee-ref.d.mts"):
        exported[name] = set(re.findall(
            r"^export (?:async )?(?:class|function|const) (\w+)", (SITE / name).read_text(),
            re.MULTILINE))
    assert exported["ee-ref.mjs"] == exported["ee-ref.d.mts"] >= {"Model", "Recogniser", "decode"}


@pytest.mark.parametrize("kernels", ["simd128", "portable"])
def test_what_a_browser_loads_is_small(kernels):
    assert sum((SITE / name).stat().st_size
               for name in (f"ee-ref-{kernels}.wasm", "ee-ref.mjs")) <= LARGEST


def test_the_page_names_no_other_place():
    for name in ("index.html", "ee-ref.mjs"):
        assert "//" not in re.sub(r"(^|\s)//.*", "", (SITE / name).read_text(), flags=re.M)


@pytest.mark.parametrize("policy, expected", [
    (Fixed(2), {"exit": 2}), (Fixed(9), {"exit": 5}), (Entropy(0.25), {"entropy": 0.25}),
    (Threshold("entropy", 0.5), {"entropy": 0.5}),
    (Threshold("entropy", (None, 0.5, 0.125, None)), {"entropy": 0.125}),
    (Threshold("entropy", (None, None)), {"entropy": 0.0}),
    (Threshold("path", 0.9), {"exit": 5}), (Deadline(1.0), {"exit": 5}),
])
def test_policies(policy, expected):
    assert web._policy(policy, 5) == expected


def test_a_float_model_is_refused(model_path, tmp_path):
    with pytest.raises(ArgumentError, match="expected an int8 model, found one in f32: ee-ref "
                                            "quantize"):
        web.write(tmp_path / "x", ee_ref.load(model_path, backend="numpy"))
    assert names(tmp_path) == set()


def test_what_exists_is_kept(commands, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "ee-ref.mjs").write_text("mine")
    (folder / "other").write_text("too")
    with pytest.raises(FileError, match="ee-ref.mjs: the output exists already"):
        web.write(folder, commands)
    assert names(folder) == {"ee-ref.mjs", "other"}
    assert (folder / "ee-ref.mjs").read_text() == "mine"
    web.write(folder, commands, overwrite=True)
    assert (folder / "ee-ref.mjs").read_bytes() == (SITE / "ee-ref.mjs").read_bytes()
    assert (folder / "other").read_text() == "too"
    for place in (folder / "other", tmp_path / "a\0b"):
        with pytest.raises(FileError, match="expected a folder"):
            web.write(place, commands)


def test_phrases(commands, lights, tmp_path):
    web.write(tmp_path / "site", commands, phrases=lights)
    about = json.loads((tmp_path / "site" / "model.json").read_text())
    assert about["phrases"] == {"file": "phrases.bin", "name": "lights.phrases", "text": LIGHTS}
    section = (tmp_path / "site" / "phrases.bin").read_bytes()
    assert section == commands.phrase_decoder(lights).packed()
    lights.write_text("on: turn (on\n")
    with pytest.raises(PhraseError):
        web.write(tmp_path / "none", commands, phrases=lights)
    assert not (tmp_path / "none").exists()


def test_the_command(tmp_path, capsys):
    assert main(["web", str(tmp_path / "a site"), "--model", "commands", "--exits", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and f"python -m http.server -d '{tmp_path}/a site'" in err
    assert flash_image.read(tmp_path / "a site" / "model.bin").config.exits == 2
    assert main(["web", str(tmp_path / "a site"), "--model", "commands"]) == 1
    assert "index.html: the output exists already" in capsys.readouterr().err
    assert main(["web", str(tmp_path / "b"), "--model", "commands", "--exits", "9"]) == 2
    assert "exits: expected 1..6, found 9" in capsys.readouterr().err
    assert names(tmp_path) == {"a site"}


def test_compiled_phrases(lights, tmp_path, capsys):
    section = tmp_path / "lights.bin"
    compile_ = ["phrases", "compile", str(lights), "-o", str(section), "--model", "commands"]
    assert main(compile_) == 0
    assert re.search(r"lights\.bin: [\d,]+ bytes", capsys.readouterr().err)
    assert packed.parse(section.read_bytes()).graph.vocab == 29
    assert main(compile_) == 1 and "exists already" in capsys.readouterr().err
    assert main([*compile_, "--force"]) == 0
    assert main(["phrases", "compile", str(lights), "-o", str(lights), "--force"]) == 2
    assert lights.read_text() == LIGHTS
