"""training/phrases.py: what a point is fitted to, what judges it, and the line that says so."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ee_ref import exits, phrases
from ee_ref.evaluation import manifest
from ee_ref.evaluation.manifest import Recording
from ee_ref.evaluation.phrases import Outcomes

SCRIPT = Path(__file__).parent.parent / "training" / "phrases.py"


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.exists():
        pytest.skip("no training/ beside the tests")
    spec = importlib.util.spec_from_file_location("phrases_of_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.append(str(SCRIPT.parent))  # of the modules that it imports
    spec.loader.exec_module(module)
    return module


def recordings(split, read):
    """Words, a silence, and so many sentences."""
    words = [("speech-commands", text) for text in ("YES", "TREE", "")] + [("wake-words", "ALEXA")]
    rows = words + [("read", f"SENTENCE {chr(65 + at // 26)} {chr(65 + at % 26)}")
                    for at in range(read)]
    return [Recording(f"{split}-{at}", Path(f"{split}-{at}.wav"), text, {"source": source})
            for at, (source, text) in enumerate(rows)]


def test_what_a_point_is_fitted_to(script, tmp_path):
    dev = recordings("dev", 30)
    script.write_set(dev, tmp_path / "set")
    said = phrases.load(tmp_path / "set" / "dev.phrases")
    assert said.count == 10 + 6 + 10
    assert all(said.number(text.split()) is not None for text in ("YES", "SMART MIRROR"))
    used = manifest.read(tmp_path / "set" / "dev.jsonl")
    assert [(r.id, r.text, r.path.name) for r in used] == [
        (r.id, r.text, r.path.name) for r in dev]
    others = [r for r in used if said.number(r.text.split()) is None]
    assert sum(r.fields["source"] == "read" for r in others) == 20
    assert {"TREE"} < {r.text for r in others}


def test_what_it_is_judged_on(script):
    dev, test = recordings("dev", 100), recordings("test", 150)
    words, ten, *draws = script.lists(dev, test)
    assert list(words.texts) == ["ALEXA", "TREE", "YES"] and len(ten.texts) == 16
    assert words.recordings == ten.recordings == {r.id for r in test if r.text}
    assert len(draws) == 3 and len({tuple(own.texts) for own in draws}) == 3
    for own in draws:
        assert own.recordings == {r.id for r in dev + test if r.fields["source"] == "read"}


def test_a_line_of_the_table(script):
    found = Outcomes(said=np.array([True, True, False, False]),
                     right=np.array([[True] * 5, [False, True, True, True, True],
                                     [False] * 5, [False] * 5]),
                     accepted=np.array([[True] * 5, [True, False, True, True, True],
                                        [True, True, False, False, False], [False] * 5]))
    sure, unsure = exits.PhraseScores(-0.5, 3.0, 0.9), exits.PhraseScores(-0.5, 2.9, 0.9)
    heard = [[sure] * 5, [unsure, unsure, sure, sure, sure], [unsure] * 5, [unsure] * 5]
    model = SimpleNamespace(policies={"phrases": exits.Phrase(-0.5, 3.0)})
    chosen = script.by_rule(model, [SimpleNamespace(heard=[
        SimpleNamespace(scores=scores) for scores in row]) for row in heard])
    assert chosen.tolist() == [0, 2, 4, 4]
    assert script.row("some", found, chosen, np.array([2, 4, 6, 8, 10])) == [
        "some, 2", "50.0", "50.0", "100.0", "100.0", "100.0", "40 %", "50.0, 0.0", "50.0, 0.0", "2"]
