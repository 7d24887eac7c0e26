"""Phrases in labels: every piecing of every sentence and nothing else, against trying all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import decode, phrases
from ee_ref.errors import PhraseError
from ee_ref.phrases import spelling
from ee_ref.tokens import Tokens

from .support import spelled
from .test_phrases import HOUSE, LETTERS, TEMPLATES, read_written


def piecings(text, spellings):
    """Every way to write `text` with the labels: label -> what it spells."""
    if not text:
        yield ()
    for label, piece in spellings.items():
        if text.startswith(piece):
            for rest in piecings(text[len(piece):], spellings):
                yield (label, *rest)


def all_spellings(found, tokens):
    """Label sequence -> number of the sentence."""
    spellings = {label: text.upper() for label, text in enumerate(tokens)
                 if label != tokens.blank and label not in tokens.special}
    separate = not any(text[0] == "▁" and text != "▁" for text in spellings.values())
    expected = {}
    for number in range(found.count):
        text = "▁" + "▁".join(found.sentence(number))
        for begin in [text, text[1:]] if separate else [text]:
            expected.update((labels, number) for labels in piecings(begin, spellings))
    return expected


def assert_graph(graph, expected):
    got = list(spelled(graph))
    assert len({labels for labels, _ in got}) == len(got)  # it is deterministic
    assert dict(got) == expected
    # No two states are alike: in what may follow, and in what needs a blank first.
    alike = {(bool(graph.after_blank[graph.first[state]:graph.first[state + 1]].any()),
              tuple(graph.after_blank[graph.first[state]:graph.first[state + 1]]),
              frozenset(spelled(graph, state))) for state in range(graph.states)}
    assert len(alike) == graph.states and not any(not follows for *_, follows in alike)


@st.composite
def labels(draw):
    """Labels that spell the words of TEMPLATES: single letters and longer pieces, in any order."""
    longer = draw(st.lists(st.sampled_from(
        ["▁a", "▁AB", "ab", "ba", "aa", "bb", "▁b", "'D", "bab", "▁c'd", "a b", "x▁"],
    ), unique=True))
    texts = draw(st.permutations(["@", "<s>", "▁", "A", "b", "C", "'", "d", *longer]))
    return Tokens(texts, [texts.index("<s>")], texts.index("@"))


@given(st.lists(st.tuples(st.just("i"), TEMPLATES), min_size=1, max_size=2), labels())
def test_every_piecing_of_every_sentence(folder, templates, tokens):
    try:
        found = read_written(folder, templates)
    except PhraseError:
        return
    if found.count > 60 or found.automaton.longest > 5:
        return
    assert_graph(found.compile(tokens), all_spellings(found, tokens))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("phrases")


@pytest.fixture
def load(folder):
    def read(text):
        (folder / "commands.phrases").write_text(text, encoding="utf-8")
        return phrases.load(folder / "commands.phrases")
    return read


def test_a_label_after_itself_needs_a_blank(load):
    tokens = Tokens(["@", "▁A", "A", "B", "AB"], [], 0)
    graph = load("aaa | aab").compile(tokens)
    assert dict(spelled(graph)) == {(1, 2, 2): 0, (1, 2, 3): 1, (1, 4): 1}
    assert graph.label[graph.after_blank].tolist() == [2]
    # "▁A A": the labels differ, so the first A may follow at once.
    frames = np.log(np.full((3, 5), 0.01, np.float32))
    frames[[0, 1, 2], [1, 2, 2]] = np.log(0.96)
    assert decode.graph.search(graph, frames)[0][1] == 1  # A A is one A in CTC


def test_the_boundary_of_characters_may_lack_before_the_first_word(load):
    graph = load("a b").compile(LETTERS)
    a, b = LETTERS.index("A"), LETTERS.index("B")
    assert dict(spelled(graph)) == {(1, a, 1, b): 0, (a, 1, b): 0}


@pytest.mark.parametrize("text, tokens, expected", [
    ("on\nturn r2d2 on", LETTERS, r"line 2: .*the labels of the model can spell, found R2D2 with "
                                  "'2'"),
    ("{x} = licht | свет\n[a] {x}", LETTERS, "line 1: .* found СВЕТ with 'С'"),
    ("a b", Tokens(["@", "A", "B"], [], 0), "the space between words, found none"),
    ("ab", Tokens(["@", "▁A", "BC"], [], 0), "line 1: .* found AB"),
    ("ab", Tokens(["@", "A", "B", "▁X"], [], 0), "line 1: .* found AB"),
    ("ab", Tokens(["A", "▁", "B"], [], 0), "found AB with 'A'"),  # A is the blank
    ("ab", Tokens(["@", "▁", "A", "B"], [3], 0), "found AB with 'B'"),  # B is special
    ("a\x07b", LETTERS, r"'\\x07'"),
])
def test_words_that_a_model_cannot_spell(load, text, tokens, expected):
    with pytest.raises(PhraseError, match=expected):
        load(text).compile(tokens)


def test_one_word_needs_no_boundary(load):
    assert dict(spelled(load("ab|a").compile(Tokens(["@", "A", "B"], [], 0)))) == {
        (1,): 0, (1, 2): 1}


def test_more_states_than_a_graph_has(load, monkeypatch):
    monkeypatch.setattr(spelling, "MAX_GRAPH", 3)
    assert load("a").compile(LETTERS).states == 3
    with pytest.raises(PhraseError, match="at most 3 states and arcs of labels, found 4 and 4"):
        load("ab").compile(LETTERS)


# ---- The house ----

PIECES = Tokens(
    ["@", *"▁ABCDEFGHIJKLMNOPQRSTUVWXYZ'",
     *("▁" + word for word in "A THE TO ON IN OFF TURN LI SE PLEASE PER MAKE FOR WHAT IS".split()),
     *"TH HE IN ER AN RE ON IGHT ING LL OO EN EEN TY OUR ED TING ROOM CENT".split()], [], 0)
"""What the boundary and every letter are, with which every cut of a word is possible, and more."""


def test_the_house():
    found = phrases.load(HOUSE)
    assert len(found.grammar.templates) == 80 and len(found.grammar.lists) == 5
    assert found.count > 1_000_000
    graph = found.compile(PIECES)
    assert graph.states <= 1500 and graph.arcs <= 3000
    rng = np.random.default_rng(0)
    for _ in range(300):
        state, key, text = 0, 0, ""
        while not graph.final[state] or rng.random() < 0.5:
            arcs = range(graph.first[state], graph.first[state + 1])
            if not arcs:
                break
            arc = int(rng.choice(arcs))
            state, key = int(graph.target[arc]), key + int(graph.weight[arc])
            text += PIECES[int(graph.label[arc])]
        assert found.number(text.replace("▁", " ").split()) == key
