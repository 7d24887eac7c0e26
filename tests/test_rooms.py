"""Who may import whom: every room only those below it, so there are no circles."""

from __future__ import annotations

import pytest

from tests.test_contract import dotted, imports, sources

ROOMS = (
    # What knows no model
    "ee_ref.errors", "ee_ref.checks", "weights_io",
    # What a model is
    "ee_ref.config", "ee_ref.ops", "ee_ref.families", "ee_ref.frontend.tables",
    "ee_ref.model_file", "ee_ref.convert", "ee_ref.quantize", "ee_ref.flash_image",
    "ee_ref.c_source",
    # The stages of an utterance
    "ee_ref.clock", "ee_ref.wav", "ee_ref.audio", "ee_ref.tokens", "ee_ref.decode",
    "ee_ref.phrases", "ee_ref.exits", "ee_ref.native", "ee_ref.frontend", "ee_ref.encoder",
    # What is done with a model
    "ee_ref.plan", "ee_ref.info", "ee_ref.phrase_decoder", "ee_ref.attention_decoder",
    "ee_ref.stream", "ee_ref.model", "ee_ref.loading", "ee_ref.formats", "ee_ref.web",
    "ee_ref.cluster", "ee_ref.wyoming_server",
    "ee_ref.bench", "ee_ref.evaluation", "ee_ref.calibration", "ee_ref.conformance",
    # The doors: the command line, the package, old names
    "ee_ref", "ee_ref.cli", "ee_ref.__main__", "ee_ref.features", "ee_ref.frontend_tables",
    "ee_ref.pipeline",
)
"""From low to high. A name is of the room with the longest name that begins it."""

LEAF = ("ee_ref.errors",)
"""All that weights_io may import of ee_ref."""


def room(name: str) -> str:
    """The room of a module or of a name in it."""
    return max((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), key=len)


def imported_rooms(name: str, found: set[str]) -> set[str]:
    """Rooms of what a module imports of this project, but for its own."""
    project = (other for other in found if other.partition(".")[0] in ("ee_ref", "weights_io"))
    # `from ee_ref import x` names the package and x in it: the package itself is nobody's need.
    return {room(other) for other in project if other not in ("ee_ref", "ee_ref.__version__")
            } - {room(name)}


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_rooms_import_only_rooms_below(path):
    name = dotted(path).removesuffix(".__init__")
    level = ROOMS.index(room(name))
    above = sorted(other for other in imported_rooms(name, imports(path))
                   if ROOMS.index(other) > level)
    assert not above, f"{name}: imports {', '.join(above)}, which stand above {room(name)}"


@pytest.mark.parametrize("path", [path for path in sources() if dotted(path)[0] == "w"], ids=dotted)
def test_weights_io_is_a_leaf(path):
    found = imported_rooms(dotted(path), imports(path))
    assert found <= set(LEAF), f"{dotted(path)} imports {', '.join(sorted(found - set(LEAF)))}"


def test_every_room_is_there_and_every_module_has_one():
    names = {dotted(path).removesuffix(".__init__") for path in sources()}
    assert set(ROOMS) <= names
    top = {".".join(name.split(".")[:2]) for name in names if name.startswith("ee_ref.")}
    assert top <= set(ROOMS), f"modules without a room: {sorted(top - set(ROOMS))}"
