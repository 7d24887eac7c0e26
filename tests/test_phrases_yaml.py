"""Home Assistant's sentence files: what they mean to hassil, and what is refused."""

from __future__ import annotations

import sys

import pytest
import yaml
from hassil import Intents, recognize

from ee_ref import phrases
from ee_ref.errors import ArgumentError, FileError, PhraseError
from ee_ref.phrases import sentences

from .test_phrases import said

SENTENCES = """\
language: en
intents:
  HassTurnOn:
    data:
      - sentences:
          - "<turn> on [<the>] {area} light[s]"
          - "(turn;{area} lights;on)"
        slots:
          domain: light
      - sentences: ["<turn> on the {device}"]
        expansion_rules:
          turn: "power"
        lists:
          device: {values: [fan, {in: "tele[vision]", out: tv}]}
        requires_context: {area: {slot: true}}
  HassLightSet:
    data:
      - sentences:
          - "set <the> {area}['s] [brightness ]to {brightness}[%| percent]"
          - "set volume to {0..9,3:volume}"
        slots:
          domain: [light, switch]
lists:
  area:
    values:
      - Kitchen
      - in: "(living|sitting) room"
        out: living_room
      - in: den
        out: 3
      - "hall[way]"
  brightness:
    range: {from: 10, to: 90, step: 10, type: percentage}
expansion_rules:
  turn: "(turn|switch)"
  the: "the|my|<none>"
  none: "no such"
skip_words: [please]
"""


@pytest.fixture
def load(tmp_path):
    def read(text):
        (tmp_path / "home.yaml").write_text(text, encoding="utf-8")
        return phrases.load(tmp_path / "home.yaml")
    return read


def test_every_sentence_means_to_hassil_what_it_means_here(load):
    found = load(SENTENCES)
    intents = Intents.from_dict(yaml.safe_load(SENTENCES))
    assert found.count > 500 and found.intents == ("HassTurnOn", "HassLightSet")
    for number in range(found.count):
        words = found.sentence(number)
        intent, slots = found.meaning(words)
        theirs = recognize(" ".join(words).lower(), intents, intent_context={"area": "x"})
        assert theirs is not None, words
        assert theirs.intent.name == intent
        # Of several fixed values hassil gives a list.
        values = {name: ", ".join(found.value) if isinstance(found.value, list) else found.value
                  for name, found in theirs.entities.items() if name != "area" or "area" in slots}
        assert values == slots, words


@pytest.mark.parametrize("sentence, expected", [
    ("SET THE KITCHEN'S BRIGHTNESS TO TEN PERCENT",
     ("HassLightSet", {"domain": "light, switch", "area": "Kitchen", "brightness": 10})),
    ("SET NO SUCH SITTING ROOM TO NINETY",
     ("HassLightSet", {"domain": "light, switch", "area": "living_room", "brightness": 90})),
    ("SET VOLUME TO SIX", ("HassLightSet", {"domain": "light, switch", "volume": 6})),
    ("POWER ON THE TELEVISION", ("HassTurnOn", {"device": "tv"})),
    ("ON DEN LIGHTS TURN", ("HassTurnOn", {"domain": "light", "area": 3})),
    ("SWITCH ON MY HALLWAY LIGHT", ("HassTurnOn", {"domain": "light", "area": "hallway"})),
])
def test_meanings(load, sentence, expected):
    assert load(SENTENCES).meaning(sentence.split()) == expected


def with_sentence(sentence, more=""):
    return f"intents:\n  A:\n    data:\n      - sentences:\n          - {sentence}\n{more}"


@pytest.mark.parametrize("text, expected", [
    ("", "expected names with something behind each for the file, found nothing"),
    ("- a", "line 1: expected names with something behind each for the file, found a sequence"),
    ("a: [1", "line 1: expected YAML, found .*"),
    ("\n\nlists: *x", "line 3: expected YAML, found .*undefined alias"),
    ("\n\tx: 1", "line 2: expected YAML"),
    ("a: \x01", "expected YAML, found"),
    ("[" * 3000, "expected YAML"),
    ("language: en", "line 1: expected 'intents', found language"),
    ("intents: {A: {}}", "line 1: expected a list for 'data' of A, found nothing"),
    ("intents:\n  A: {data: [{}]}", "line 2: expected a list for 'sentences' of A, found nothing"),
    ("intents:\n  A:\n    data:\n      - {}", "expected a list for 'sentences' of A"),
    ("intents:\n  A: {data: []}\n  A: {data: []}", "line 3: expected every name of 'intents' once"),
    ("intents: {A: {data: []}}", "expected a template, found none"),
    (with_sentence("'turn (on'"), r"line 5: expected a sentence in the language of hassil, found "
                                  r"'turn \(on': Unable to find"),
    (with_sentence("'turn []'"), "line 5: expected a sentence in the language of hassil"),
    (with_sentence("'a)'"), "line 5: expected a sentence in the language of hassil"),
    (with_sentence("[a]"), "line 5: expected text for a sentence, found a sequence"),
    (with_sentence("'turn {x}'"), "line 5: expected rules and lists that the file defines, found "
                                  "{x}"),
    (with_sentence("'turn <x>'"), "line 5: .* found <x>"),
    (with_sentence("<x>", "expansion_rules:\n  x: a <y>\n  y: b <x>"),
     "line 7: expected rules and lists without a cycle, found <x> within itself"),
    (with_sentence("'{x}'", "lists:\n  x: {values: ['a {x}']}"), "without a cycle, found {x}"),
    (with_sentence("'{x}'", "lists:\n  x: {wildcard: true}"),
     "line 7: expected all that may be said for {x}, found a wildcard"),
    (with_sentence("'{x}'", "lists:\n  x: {file: y}"),
     "line 7: expected 'values' or 'range' for {x}, found file"),
    (with_sentence("'{x}'", "lists:\n  x: {values: [{out: a}]}"), "expected 'in' for a value of"),
    (with_sentence("'{x}'", "lists:\n  x: {values: ['[a]']}"), "that always say something"),
    (with_sentence("'{x}'", "lists:\n  x: {values: []}"), "line 7: expected 'values' of {x}, "
     "found none"),
    (with_sentence("'{x}'", "lists:\n  x: {range: {from: 1}}"),
     "line 7: expected a whole number for 'to' of {x}, found nothing"),
    (with_sentence("'{x}'", "lists:\n  x: {range: {from: a, to: 2}}"), "'from' of {x}, found 'a'"),
    (with_sentence("'{x}'", "lists:\n  x: {range: {from: 3, to: 2}}"), "found 3 to 2 by 1"),
    (with_sentence("'{x}'", "lists:\n  x: {range: {from: 1, to: 3, multiplier: 999999999}}"),
     "value of a slot of 32 bits"),
    (with_sentence("'{1..9:x}'", "language: de"), "expected 'language: en' for numbers"),
    (with_sentence("'[a]'"), "line 5: expected a template that always says something"),
    (with_sentence("'(a;b;c;d;e;f)'"), "line 5: expected permutations of at most 5 parts, found 6"),
    (with_sentence("'(a;b|c;d)'"), "line 5: expected a sentence in the language of hassil"),
    (with_sentence("'" + "a" * 4001 + "'"), "line 5: expected a sentence of at most 4000 char"),
    (with_sentence("'" + "(" * 60 + "a" + ")" * 60 + "'"), "line 5: expected at most 50 brackets"),
    (with_sentence("'" + "(" * 1500 + "a" + ")" * 1500 + "'"), "line 5: expected a sentence in"),
    (with_sentence("<r0>", "expansion_rules:\n" + "".join(
        f"  r{n}: <r{n + 1}> <r{n + 1}>\n" for n in range(18)) + "  r18: a\n"),
     "line 5: expected at most 200000 pieces of words"),
    (with_sentence("a", "  B:\n    data:\n      - sentences:\n          - a"),
     "line 9: expected every sentence to have one intent, found 'A' with B here and "
     "with A in line 5"),
    (with_sentence("a", "  B:\n    data:\n      - sentences: [b]\n        slots: "
                   "{\"\\e[2J\": 1}"), "line 8: expected a name of a slot of 1 to 255 bytes that"),
])
def test_what_is_refused(load, text, expected):
    with pytest.raises(PhraseError, match=expected) as caught:
        load(text)
    assert "home.yaml" in str(caught.value) and str(caught.value).isprintable()


def test_an_alternative_may_be_empty_as_in_hassil(load):
    assert said(load(with_sentence("'a (b|)[ c]'"))) == ["A", "A B", "A B C", "A C"]


def test_aliases_count_as_often_as_they_are_used(load):
    sentences = "x: &x [" + ", ".join(f"a{n}" for n in range(100)) + "]\n"
    blocks = ", ".join(["{sentences: *x}"] * 60)
    assert load(sentences + "intents: {A: {data: [{sentences: *x}]}}").count == 100
    with pytest.raises(PhraseError, match="at most 5000 templates, found more"):
        load(sentences + "intents: {A: {data: [" + blocks + "]}}")


def test_without_hassil(tmp_path, monkeypatch):
    (tmp_path / "home.yml").write_text(SENTENCES)
    monkeypatch.setitem(sys.modules, "hassil", None)
    with pytest.raises(ArgumentError, match=r"pip install 'ee-ref\[phrases\]'"):
        phrases.load(tmp_path / "home.yml")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        phrases.load(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(PhraseError, match="line 1: expected UTF-8 text"):
        phrases.load(tmp_path / "a.yaml")


def test_blocks_with_lists_of_their_own_share_those_of_the_file(load, monkeypatch):
    """Each is read once, but for what names something that the block says otherwise."""
    read = []
    values = sentences._Scope._list
    monkeypatch.setattr(sentences._Scope, "_list", lambda self, node, what: (
        read.append(what), values(self, node, what))[1])
    found = load("""
intents:
  A:
    data:
      - sentences: ["a {n} {own} {through}"]
        lists: {own: {values: [x]}}
      - sentences: ["b {n} {own} {through}"]
        lists: {own: {values: [y]}}
      - sentences: ["c {n} {own} {through}"]
lists:
  n: {range: {from: 0, to: 100}}
  own: {values: [z]}
  through: {values: ["<own>"]}
expansion_rules:
  own: "v w"
""")
    assert found.number("A FIVE X V W".split()) is not None
    assert found.number("B FIVE Y V W".split()) is not None
    assert found.number("C FIVE Z V W".split()) is not None
    assert found.number("B FIVE X V W".split()) is None
    assert read.count("{n}") == read.count("{through}") == 1 and read.count("{own}") == 3


def test_what_names_something_of_a_block_is_its_own(load):
    found = load("""
intents:
  A:
    data:
      - sentences: ["a {through}"]
        expansion_rules: {own: "x"}
      - sentences: ["b {through}"]
        expansion_rules: {own: "y"}
      - sentences: ["c {through}"]
lists:
  through: {values: ["<own> end"]}
expansion_rules:
  own: "z"
""")
    spoken = {tuple(found.sentence(number)) for number in range(found.count)}
    assert spoken == {("A", "X", "END"), ("B", "Y", "END"), ("C", "Z", "END")}
