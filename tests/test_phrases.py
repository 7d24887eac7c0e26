"""Phrases: what templates say and mean, against writing everything out, and what is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ee_ref import phrases
from ee_ref.errors import ArgumentError, FileError, PhraseError
from ee_ref.phrases.numbers import LARGEST, spoken
from ee_ref.tokens import Tokens

HOUSE = Path(__file__).parent / "phrases" / "house.phrases"
LETTERS = Tokens(["<blank>", "▁", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"], [], 0)


@pytest.fixture
def load(tmp_path):
    """Phrases of a text."""
    def read(text, suffix=".phrases"):
        path = tmp_path / f"commands{suffix}"
        path.write_text(text, encoding="utf-8")
        return phrases.load(path)
    return read


def said(found):
    return [" ".join(found.sentence(number)) for number in range(found.count)]


def meaning(found, text):
    return found.meaning(text.split())


# ---- The language ----


def test_the_language(load):
    found = load(
        "# Lights\n"
        "{room} = kitchen | living room   # two of them\n"
        "\n"
        "light: turn (on | off) [the] {room} light[s]\n"
        "dim: dim to {n = 20..21}%\n")
    assert found.count == 2 * 2 * 2 * 2 + 2 and len(said(found)) == found.count
    assert meaning(found, "TURN ON THE LIVING ROOM LIGHTS") == ("light", {"room": "living room"})
    assert meaning(found, "turn off kitchen light") == ("light", {"room": "kitchen"})
    assert meaning(found, "DIM TO TWENTY ONE PERCENT") == ("dim", {"n": 21})
    assert found.intents == ("light", "dim") and found.slot_names == ("room", "n")


@pytest.mark.parametrize("template, sentences", [
    ("a | b c", ["A", "B C"]),
    ("light(s | es)", ["LIGHTES", "LIGHTS"]),
    ("light[s]", ["LIGHT", "LIGHTS"]),
    ("[the ]light", ["LIGHT", "THE LIGHT"]),
    ("[un](do|tie)[ it]", ["DO", "DO IT", "TIE", "TIE IT", "UNDO", "UNDO IT", "UNTIE", "UNTIE IT"]),
    ("turn ( on|off )", ["TURN OFF", "TURN ON"]),
    ("what's  the   time?", ["WHAT'S THE TIME"]),
    ("What’s up, wi-fi", ["WHAT'S UP WI FI"]),
    ("5% & 20°", ["5 PERCENT AND 20 DEGREES"]),
    ("a (a | [a] a)", ["A A", "A A A"]),
    ("{x = light | table}['s] on", ["LIGHT ON", "LIGHT'S ON", "TABLE ON", "TABLE'S ON"]),
    ("{x = -1..1}", ["MINUS ONE", "ONE", "ZERO"]),
    ("{x = 100}", ["100"]),
    ("{x = 0..20 by 10}", ["TEN", "TWENTY", "ZERO"]),
    ("((((a))))", ["A"]),
])
def test_templates(load, template, sentences):
    assert said(load(template)) == sentences


@pytest.mark.parametrize("text, sentence, expected", [
    ("go to {room:from = hall}", "GO TO HALL", (None, {"from": "hall"})),
    ("{a} = x | y\nswap {a:first} {a:second}", "SWAP Y X", (None, {"first": "y", "second": "x"})),
    ("{a} = warm white -> warm | (light|sky) blue -> 7 | RED\n{a}", "WARM WHITE",
     (None, {"a": "warm"})),
    ("{a} = warm white -> warm | (light|sky) blue -> 7 | RED\n{a}", "SKY BLUE", (None, {"a": 7})),
    ("{a} = warm white -> warm | (light|sky) blue -> 7 | RED\n{a}", "RED", (None, {"a": "red"})),
    ("{a} = {b} or {b} | none\n{b} = x | y -> z\n{a}", "X OR Y", (None, {"a": "x or y"})),
    ("{a} = x -> 1 | x -> 2\n{a}", "X", (None, {"a": 1})),
    ("i: [{a = x}] y [{a = z}]", "X Y Z", ("i", {"a": "z"})),
    ("i: {a = x | x y} [y z]", "X Y", ("i", {"a": "x y"})),
    ("i: {a = x | x y} [y z]", "X Y Z", ("i", {"a": "x"})),
    ("i: a {x = b}\ni: a b", "A B", ("i", {"x": "b"})),
    ("i: a b\ni: a {x = b}", "A B", ("i", {})),
    ("i: (a b | a {x = b})", "A B", ("i", {})),
    ("i: a [{x = b}] [b]", "A B", ("i", {"x": "b"})),
    ("i: {x = light}['s] on", "LIGHT'S ON", ("i", {"x": "light"})),
    ("my.intent-2: {x = two words}s", "TWO WORDSS", ("my.intent-2", {"x": "two words"})),
])
def test_meanings(load, text, sentence, expected):
    assert meaning(load(text), sentence) == expected


def test_what_is_none_of_the_sentences(load):
    found = load("turn on")
    for words in (["TURN"], ["TURN", "ON", "ON"], [], ["LIGHT"]):
        assert found.number(words) is None
        with pytest.raises(ArgumentError, match="expected one of its sentences"):
            found.meaning(words)
    for number in (-1, 1):
        with pytest.raises(ArgumentError, match="expected 0..0"):
            found.sentence(number)


def test_numbers_as_they_are_spoken():
    assert spoken(0) == [("ZERO",)] and spoken(-7) == [("MINUS", "SEVEN")]
    assert spoken(40) == [("FORTY",)]
    assert [" ".join(words) for words in spoken(121)] == [
        "ONE HUNDRED TWENTY ONE", "ONE HUNDRED AND TWENTY ONE",
        "A HUNDRED TWENTY ONE", "A HUNDRED AND TWENTY ONE"]
    assert ("TWO", "THOUSAND", "AND", "FIVE") in spoken(2005)
    assert ("TWO", "THOUSAND", "ONE", "HUNDRED") in spoken(2100)
    assert not any("A" in words[1:] for words in spoken(1100))


def value_of(words):
    """The number that words are: the reverse of `spoken`, written independently of it."""
    small = {word: number for number, word in enumerate(
        "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN "
        "FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN".split())}
    tens = {word: 10 * number for number, word in enumerate(
        "- - TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split())}
    total = part = 0
    for word in words:
        if word == "THOUSAND":
            total, part = 1000 * part, 0
        elif word == "HUNDRED":
            part *= 100
        elif word not in ("MINUS", "AND"):
            part += 1 if word == "A" else small[word] if word in small else tens[word]
    return (total + part) * (-1 if words[0] == "MINUS" else 1)


@given(st.integers(-LARGEST, LARGEST) | st.integers(-200, 200))
def test_numbers_can_be_understood(number):
    ways = spoken(number)
    assert len(set(ways)) == len(ways)
    assert {value_of(words) for words in ways} == {number}


# ---- Against writing everything out ----

WORDS = st.sampled_from(["a", "b", "ab", "ba", "c'd"])


class Written:
    """A template: its text, and everything it says, (text, slots), in the order of reading."""

    def __init__(self, text, says, slot=False):
        self.text, self.says, self.slot = text, says, slot

    def __repr__(self):
        return self.text


def sequence(parts):
    """parts: (space or none, Written), the space of the first unused."""
    text = "".join(space * (number > 0) + part.text for number, (space, part) in enumerate(parts))
    says = []
    for way in itertools.product(*(part.says for _, part in parts)):
        words = "".join(parts[number][0] * (number > 0) + word
                        for number, (word, _) in enumerate(way))
        slots = {}
        for _, more in way:
            slots.update(more)
        says.append((words, slots))
    return Written(text, says)


def choice(items, optional):
    says = [said for item in items for said in item.says] + [("", {})] * optional
    return Written(f"{'(['[optional]}{' | '.join(i.text for i in items)}{')]'[optional]}", says)


def slot(name, items):
    """items: words, each once; of a list the most words come first."""
    ordered = sorted(items, key=lambda item: -item.count(" "))
    return Written(f"{{{name} = {' | '.join(items)}}}",
                   [(item, {name: item}) for item in ordered], slot=True)


LEAVES = st.one_of(
    WORDS.map(lambda word: Written(word, [(word, {})])),
    st.builds(slot, st.sampled_from("xy"), st.lists(
        st.lists(WORDS, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=3,
        unique=True)))
TEMPLATES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.lists(st.tuples(st.sampled_from([" ", " ", ""]), inner), min_size=2, max_size=3).map(
        sequence),
    st.builds(choice, st.lists(inner, min_size=1, max_size=3), st.booleans())), max_leaves=8)


def expected_meanings(templates):
    """Sentence -> (intent, every reading of the first template that says it), by its words."""
    found = {}
    for intent, template in templates:
        here = {}
        for text, slots in template.says:
            here.setdefault(tuple(text.upper().split()), []).append(slots)
        for words, readings in here.items():
            found.setdefault(words, (intent, readings))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("phrases")


def read_written(folder, templates):
    path = folder / "written.phrases"
    path.write_text("".join(f"{intent}: {template.text}\n" for intent, template in templates))
    return phrases.load(path)


@given(st.lists(st.tuples(st.sampled_from(["i", "j"]), TEMPLATES), min_size=1, max_size=3))
def test_what_is_said_and_meant(folder, templates):
    assume(all(len(template.says) < 500 for _, template in templates))
    empty = any(not text.split() for _, template in templates for text, _ in template.says)
    sentences = {intent: {tuple(text.upper().split()) for of, template in templates if of == intent
                          for text, _ in template.says} for intent in "ij"}
    try:
        found = read_written(folder, templates)
    except PhraseError as error:
        reason = str(error)
        assert (empty and "may say nothing" in reason or "in one word" in reason
                or sentences["i"] & sentences["j"] and "to have one intent" in reason), reason
        return
    assert not empty and not sentences["i"] & sentences["j"]
    expected = expected_meanings(templates)
    assert [tuple(found.sentence(number)) for number in range(found.count)] == sorted(expected)
    for number, words in enumerate(sorted(expected)):
        assert found.number(words) == number
        intent, readings = expected[words]
        got = found.meaning(words)
        assert got[0] == intent and got[1] in readings
        if not any(re.search(r"[^ ]{|}[^ ]", template.text) for _, template in templates):
            assert got[1] == readings[0]  # no list may be joined to letters
    assert_minimal(found.automaton)


def continuations(automaton, state):
    found = {()} if automaton.final[state] else set()
    for symbol, (target, _) in automaton.arcs(state).items():
        found |= {(symbol, *rest) for rest in continuations(automaton, target)}
    return frozenset(found)


def assert_minimal(automaton):
    all_of = [continuations(automaton, state) for state in range(len(automaton.final))]
    assert len(set(all_of)) == len(all_of) and frozenset() not in all_of
    assert automaton.longest == max(map(len, all_of[0]))
    order = automaton.source.astype(np.int64) * 1000 + automaton.symbol
    assert (np.diff(order) > 0).all() and (automaton.source < automaton.target).all()


# ---- What is refused ----


@pytest.mark.parametrize("text, expected", [
    ("a\n\nturn (on | off", r"line 3, column 15: expected '\)' for the '\(' of column 6, found the "
                           "end of the line"),
    ("turn [the light", r"column 16: expected '\]' for the '\[' of column 6, found the end"),
    ("turn (on]", r"line 1, column 9: expected words, an opening bracket or '\)', found '\]'"),
    ("turn on)", r"column 8: expected words, an opening bracket or the end of the line, found "
                 r"'\)'"),
    ("turn {room", "column 6: expected a list such as {room}, .*, found '{room'"),
    ("turn {}", "column 6: expected a list such as"),
    ("turn {two words}", "column 6: expected a list such as"),
    ("{x} = a\nturn {room}", r"line 2, column 6: expected a list that the file defines, found "
                            "{room}"),
    ("turn (on | )", r"column 12: expected words, found '\)'"),
    ("turn (| on)", r"column 7: expected words, found '\|'"),
    ("turn []", r"column 7: expected words, found '\]'"),
    ("turn |", "column 7: expected words, found the end of the line"),
    ("i:", "column 3: expected words, found the end of the line"),
    ("{x} = a | | b\n{x}", r"line 1, column 11: expected words, found '\|'"),
    ("{x} =\n{x}", "line 1, column 6: expected words, found the end of the line"),
    ("{x = }", "column 6: expected words, found '}'"),
    ("{x = a", "column 7: expected '|' or '}', found the end of the line"),
    ("{x} = a)\n{x}", r"line 1, column 8: expected words, .*, found '\)'"),
    ("{x} = [a]\n{x}", r"line 1, column 6: expected an item that always says something, found "
                      r"'\[a\]'"),
    ("{x} = a ->\n{x}", "line 1, column 11: expected a value after '->', found the end"),
    ("turn -> on", "column 6: expected words, .*, found '-'"),
    ("turn <on>", "column 6: expected words, .*, found '<'"),
    ("two words: turn on", "column 10: expected words, .*, found ':'"),
    ("x = a", "column 3: expected words, .*, found '='"),
    ("{x} = a\n{x} = b\n{x}", r"line 2, column 1: expected one list {x}, found another in line 1"),
    ("{x} = a {y}\n{y} = b {x}\n{x}", "line 1, column 1: expected lists without a cycle, found "
                                     "{x} within itself"),
    ("{x} = {x}\n{x}", "line 1, column 1: expected lists without a cycle"),
    ("[please]", "line 1: expected a template that always says something"),
    ("a [b]\n. ?", "line 2, column 4: expected words, found the end of the line"),
    ("", "expected a template, found none"),
    ("{x} = a", "expected a template, found none"),
    ("on: a [b]\noff: a b", "line 2: expected every sentence to have one intent, found 'A B' with "
                           "off here and with on in line 1"),
    ("a\nx: a", "line 2: .*, found 'A' with x here and with no intent in line 1"),
    ("i: {n = 1..9} a\nj: two [a]\nk: b", "line 2: .*found 'TWO A' with j here and with i"),
    ("{a = x}{b = y}", "line 1: expected a space between {a} and {b}, found them in one word"),
    ("{n = 5..1}", "column 5: expected a range of at most 5000 numbers from low to high, .*'5..1'"),
    ("{n = 0..9999999}", "column 5: expected a range of at most"),
    ("{n = 0..6000}", "column 5: expected a range of at most"),
    ("{n = 1..9 by 0}", "column 5: expected a range"),
    ("{n = 0..4999}", "at most 5000 ways to say the values of a list"),
    ("{n = (a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)}",
     "line 1, column 5: expected at most 5000 ways to say it, found 8192"),
    ("(" * 60 + "a" + ")" * 60, "column 51: expected at most 50 brackets and lists within"),
    ("\n".join(f"{{x{n}}} = {{x{n + 1}}}" for n in range(60)) + "\n{x60} = a\n{x0}",
     "expected at most 50 brackets and lists within"),
    ("a" * 101, "expected words of at most 100 letters"),
    ("[a]" * 20, "expected at most 200000 pieces of words"),
    (" ".join(["a"] * 256), "at most 255 words, found one of 256"),
    ("i: " + "a " * 3000 + "\nj: " + "a " * 3000, "at most 255 words, found one of 3000"),
    ("{n = 1..99} " * 33, r"at most 2\^63 sentences, found more than 2\^2\d\d"),
    ("{x = a -> " + "b" * 256 + "}", "line 1: expected a value of a slot of 1 to 255 bytes"),
    ("{x = a -> 4294967296}", None),
    ("a\x07b", None),
    ("x\n" * 5001, "expected at most 5000 templates"),
    ("{x = a -> \x1b[2J}", "bytes that can be printed"),
])
def test_what_is_refused(load, text, expected):
    if expected is None:
        load(text)
        return
    with pytest.raises(PhraseError, match=expected) as caught:
        load(text)
    assert "commands.phrases" in str(caught.value)
    assert str(caught.value).isprintable()


def test_sentences_that_overlap_without_end(load):
    """Sets of places where sentences may be, of which there are exponentially many."""
    text = "\n".join(
        f"({' | '.join('ab')}) " * k + "a " + "(a | b) " * (20 - k) + f"{'c' * (k + 1)}"
        for k in range(20))
    with pytest.raises(PhraseError, match="sentences share less|at most 65535 states"):
        load(text)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "a.phrases"
    path.write_bytes(b"turn on\n\xff\n")
    with pytest.raises(PhraseError, match="line 2: expected UTF-8 text"):
        phrases.load(path)
    path.write_bytes(b"\xef\xbb\xbfturn on\r\nturn off\r\n")
    assert said(phrases.load(path)) == ["TURN OFF", "TURN ON"]
    path.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(FileError, match="at most 1048576 bytes"):
        phrases.load(path)
    with pytest.raises(FileError, match="No such file"):
        phrases.load(tmp_path / "none.phrases")
