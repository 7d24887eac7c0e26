"""Tokens to text and to words with times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref.errors import ArgumentError
from ee_ref.tokens import Tokens

PIECES = Tokens(
    ["@", "<s>", "</s>", "▁HE", "LLO", "▁", "W", "OR", "LD", "▁A", "S▁IT", "<0x41>", "é"],
    special={1, 2}, blank=0,
)
TIMES = [0.03 + 0.04 * t for t in range(100)]


@pytest.mark.parametrize("ids, text", [
    ([], ""),
    ([0, 1, 2], ""),
    ([5], ""),
    ([3, 4], "HELLO"),
    ([1, 3, 4, 2], "HELLO"),
    ([4, 3], "LLO HE"),
    ([3, 0, 4, 5, 6, 7, 8], "HELLO WORLD"),
    ([5, 5, 6, 5, 5, 7, 5], "W OR"),
    ([9, 10, 8], "AS ITLD"),
    ([11, 12], "<0x41>é"),
])
def test_text(ids, text):
    assert PIECES.text(ids) == text
    words = PIECES.words(ids, TIMES[: len(ids)], [0.5] * len(ids), 0.02)
    assert " ".join(word.word for word in words) == text


def test_spellings():
    assert PIECES.spellings == (
        "", "", "", "▁HE", "LLO", "▁", "W", "OR", "LD", "▁A", "S▁IT", "<0x41>", "é")
    assert Tokens([" A", "\tB", "_"], special=(), blank=2).spellings == ("▁A", "▁B", "")


def test_characters():
    letters = Tokens(["<b>", "▁", *"ABC"], special=(), blank=0)
    assert letters.text([2, 3, 1, 4, 4]) == "AB CC"
    words = letters.words([2, 3, 1, 4, 4], TIMES[:5], [0.9, 0.8, 0.1, 0.7, 0.6], 0.02)
    assert [(word.word, word.confidence) for word in words] == [("AB", 0.8), ("CC", 0.6)]


def test_word_times():
    words = PIECES.words([3, 4, 9], [0.11, 0.23, 0.43], [0.5, 0.9, 1.0], 0.02, duration=10.0)
    assert [word.word for word in words] == ["HELLO", "A"]
    assert words[0][1:] == pytest.approx((0.11 - 0.02, 0.23 + 0.02, 0.5))
    assert words[1][1:] == pytest.approx((0.43 - 0.02, 0.43 + 0.02, 1.0))
    for word, start, end, confidence in words:
        assert (type(word), type(start), type(end), type(confidence)) == (str, float, float, float)


def test_times_stay_within_the_audio():
    times = [-0.05, 0.01, 0.05]
    words = PIECES.words([9, 9, 9], times, [1, 1, 1], 0.02, duration=0.04)
    times = [time for word in words for time in word[1:3]]
    assert times == pytest.approx([0.0, 0.0, 0.0, 0.03, 0.03, 0.04])
    assert times == sorted(times) and times[-1] == 0.04


def test_half_frame_and_arrays():
    words = PIECES.words(np.array([9]), np.array([0.3]), np.ones(1), 0.1)
    assert [word.word for word in words] == ["A"]
    assert words[0][1:] == pytest.approx((0.2, 0.4, 1.0))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3), st.floats(0, 1)), max_size=30),
       st.floats(0, 5))
def test_words_are_in_order(entries, duration):
    ids = [id for id, _, _ in entries]
    times = 0.03 + 0.04 * np.cumsum([step for _, step, _ in entries])
    confidences = [confidence for _, _, confidence in entries]
    words = PIECES.words(ids, times, confidences, 0.02, duration=duration)
    assert " ".join(word.word for word in words) == PIECES.text(ids)
    previous = 0.0
    for word in words:
        assert previous <= word.start <= word.end <= duration
        assert 0 <= word.confidence <= 1
        assert word.word and not any(character.isspace() for character in word.word)
        previous = word.end


def test_sequence_of_strings():
    assert len(PIECES) == 13 and PIECES[3] == "▁HE" and list(PIECES)[0] == "@"
    assert "LLO" in PIECES and PIECES.blank == 0 and PIECES.special == {1, 2}


@pytest.mark.parametrize("ids", [[13], [-1]])
def test_id_that_is_no_token(ids):
    with pytest.raises(ArgumentError, match="0..12, found"):
        PIECES.text(ids)
    with pytest.raises(ArgumentError, match="0..12, found"):
        PIECES.words(ids, [0.1], [1.0], 0.02)


def test_sequences_of_different_lengths():
    with pytest.raises(ArgumentError, match="2 tokens, found 1 times and 2 confidences"):
        PIECES.words([3, 4], [0.1], [1.0, 1.0], 0.02)


@pytest.mark.parametrize("special, blank", [({2}, 0), ({-1}, 0), (set(), 2), (set(), -1)])
def test_special_ids_that_are_no_tokens(special, blank):
    with pytest.raises(ArgumentError, match="special and blank"):
        Tokens(["@", "A"], special, blank)
