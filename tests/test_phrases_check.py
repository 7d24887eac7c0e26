"""`ee-ref phrases check`, and the measure by which words are alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from ee_ref import phrases
from ee_ref.cli import main
from ee_ref.errors import PhraseError
from ee_ref.phrases import likeness
from ee_ref.phrases.likeness import alike
from ee_ref.tokens import Tokens

from .test_phrases import LETTERS

DEMO = Path(phrases.__file__).parents[1] / "assets" / "demo.wav"
PIECES = Tokens(["@", *"▁ABCDEFGHIJKLMNOPQRSTUVWXYZ'", "▁THE", "▁NOT", "EEN", "TY"], [], 0)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "commands.phrases"
        path.write_text(text, encoding="utf-8")
        return path
    return write


@pytest.mark.parametrize("text, tokens, expected", [
    ("set {n = 5..6}", LETTERS, []),
    # Of "▁SIXTY" T and Y are added, or TY.
    ("{n = sixty | six}", LETTERS, [("SIX", "SIXTY", 2 / 6)]),
    ("{n = sixty | six}", PIECES, [("SIX", "SIXTY", 1 / 5)]),
    ("{n = fifty | fifteen}", LETTERS, [("FIFTEEN", "FIFTY", 3 / 8)]),
    ("{n = fifty | fifteen}", PIECES, [("FIFTEEN", "FIFTY", 1 / 6)]),
    ("{n = light | night} on", LETTERS, [("LIGHT", "NIGHT", 1 / 6)]),
    # The same meaning, or never at one place.
    ("light[s] on", LETTERS, []),
    ("a {x = light} | b {x = night}", LETTERS, []),
    ("i: light on\nj: night off", LETTERS, []),
    ("i: light\nj: night", LETTERS, [("LIGHT", "NIGHT", 1 / 6)]),
    # Only where both go on in the same way.
    ("i: light a (x | y)\nj: night a (y | z)", LETTERS, [("LIGHT", "NIGHT", 1 / 6)]),
    # A single label may be missed; two may not.
    ("i: do it\nj: do not it", LETTERS, []),
    ("i: do it\nj: do not it", PIECES, [("NOT", "", 1.0)]),
    ("i: do [the] it", PIECES, []),
    ("i: a\nj: the", PIECES, []),
])
def test_words_that_are_alike(file, text, tokens, expected):
    found = alike(phrases.load(file(text)), tokens)
    assert [(*pair.words, pair.distance) for pair in found] == [
        (first, second, pytest.approx(distance)) for first, second, distance in expected]
    for pair in found:
        first, second = (sentence.split() for sentence in pair.sentences)
        changed = [word for word in first if word not in second]
        assert changed == [pair.words[0]]


def test_the_example_changes_the_meaning(file):
    found = phrases.load(file("set heating to {n = 13..30} degrees\n"))
    pairs = {pair.words: pair for pair in alike(found, LETTERS)}
    thirty = pairs["THIRTEEN", "THIRTY"]
    assert thirty.sentences == ("SET HEATING TO THIRTEEN DEGREES", "SET HEATING TO THIRTY DEGREES")
    assert [pair.distance for pair in pairs.values()] == sorted(
        pair.distance for pair in pairs.values())


def test_words_that_cannot_be_spelled_are_like_nothing(file):
    with pytest.raises(PhraseError, match="line 1: .* found R2"):
        alike(phrases.load(file("r2")), LETTERS)


def test_places_are_limited(file, monkeypatch):
    monkeypatch.setattr(likeness, "MAX_PLACES", 0)
    assert alike(phrases.load(file("{n = light | night} on")), LETTERS) == []


# ---- The command ----


def test_check(file, capsys):
    path = file("move: computer go (forward | backward) {n = 0..20} [stop]\n"
                "move: computer {n = on | off}\n")
    assert main(["phrases", "check", str(path), str(DEMO), "--model", "commands"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0] == f"phrases   {path}: 2 templates, 1 intents, 2 lists"
    assert lines[1] == "say       86 sentences of 28 words; at most 5 words long"
    assert lines[3].endswith("in the 29 labels of the model")
    assert lines[5].startswith("alike ") and "  0.33  SEVEN ELEVEN " not in out
    assert any(line.startswith("  0.29  ELEVEN SEVEN ") for line in lines)
    assert lines[-1].startswith(
        f"heard     {DEMO}: COMPUTER GO FORWARD NINE STOP; move n=9; confidence ")


def test_check_goes_on_past_a_bad_recording(file, capsys):
    assert main(["phrases", "check", str(file("good night")), "none.wav", str(DEMO)]) == 1
    out, err = capsys.readouterr()
    assert "none.wav: no such file" in err
    assert f"{DEMO}: none of the phrases; -; confidence 0.00" in out


def test_phrases_that_a_device_cannot_hold_are_checked_all_the_same(file, capsys):
    path = file("{a} = one | two\nmany: " + " ".join(f"{{a:s{number}}}" for number in range(17)))
    assert main(["phrases", "check", str(path)]) == 0
    assert (f"flash     none: {path}, line 2: a flash image holds templates of at most 16 slots, "
            "found 17\n") in capsys.readouterr().out


def test_check_refuses(file, capsys):
    assert main(["phrases", "check", str(file("turn (on"))]) == 1
    assert "line 1, column 9: expected ')'" in capsys.readouterr().err
    assert main(["phrases", "check", str(file("turn 5 on"))]) == 1
    assert "line 1: expected words that the labels of the model can spell, found 5 with '5'" in (
        capsys.readouterr().err)
