"""What the English recipe says and how it spells: texts, synthetic speech, word pieces."""

from __future__ import annotations

import json
import random
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ee_ref.errors import ArgumentError, FileError
from tests.conftest import ROOT
from weights_io import tokenizer

sys.path.append(str(ROOT / "training"))

import orders  # noqa: E402
import synthesize_english  # noqa: E402

TEXT = re.compile(r"[A-Z']+( [A-Z']+)*")
SENTENCES = [" ".join(f"{letter}{word}" for word in "IT WAS NOT SO MUCH THAT ONE".split())
             for letter in "ABCDEFGH"]


# ---- Orders ----

@pytest.mark.parametrize("value, words", [
    (0, "ZERO"), (7, "SEVEN"), (19, "NINETEEN"), (20, "TWENTY"), (21, "TWENTY ONE"),
    (100, "ONE HUNDRED"), (305, "THREE HUNDRED FIVE"), (999_999,
     "NINE HUNDRED NINETY NINE THOUSAND NINE HUNDRED NINETY NINE")])
def test_numbers(value, words):
    assert orders.number(value) == words


def test_numbers_differ():
    assert len({orders.number(value) for value in range(20_000)}) == 20_000


def possible(template):
    """All texts of a template without lists."""
    return {orders.expand(template, np.random.default_rng(seed)) for seed in range(300)}


@pytest.mark.parametrize("template, texts", [
    ("a", {"A"}), ("a [b] c", {"A C", "A B C"}), ("(a | b c)", {"A", "B C"}),
    ("[a (b | c)] d", {"D", "A B D", "A C D"}), ("(a | [b]) c", {"A C", "B C", "C"}),
    ("((a|b)|c) it's", {"A IT'S", "B IT'S", "C IT'S"})])
def test_templates_give_all_their_texts_and_no_others(template, texts):
    assert possible(template) == texts


def test_every_order_can_be_said():
    rng = np.random.default_rng(0)
    for template in orders._ORDERS:
        assert template.count("(") == template.count(")"), template
        assert template.count("[") == template.count("]"), template
        for _ in range(20):
            assert TEXT.fullmatch(orders.expand(template, rng)), template


def test_drawn_texts_are_varied_and_of_the_alphabet():
    rng = np.random.default_rng(0)
    drawn = [orders.draw(rng, ("HOUSE", "WOMAN")) for _ in range(3000)]
    assert all(TEXT.fullmatch(text) for text in drawn)
    assert len(set(drawn)) > 1500
    assert {"ZERO", "NINE", "STOP", "WOMAN"} <= set(drawn)


# ---- Sentences ----

def test_sentences_kept_apart_are_not_said(tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("He came home.\nIn the end, one two three four five six he said\nRoom 12\n"
                    "He came home!\nOne two three four five, seven.\nShort.\n")
    apart = ["AND ONE TWO THREE FOUR FIVE SIX", "SHORT"]
    assert synthesize_english.sentences([book], apart) == [
        "HE CAME HOME", "ONE TWO THREE FOUR FIVE SEVEN"]
    with pytest.raises(ArgumentError, match="found none"):
        synthesize_english.sentences([book], synthesize_english.sentences([book], []))


def test_texts_use_every_word_before_they_begin_again():
    rng = np.random.default_rng(1)
    stream = synthesize_english.texts(SENTENCES, rng)
    said, lengths, short = [], [], 0
    while len(said) < 5 * 56:
        text = next(stream)
        if text.short:
            short += 1
            continue
        words = " ".join(text.said).split()
        lengths.append(len(words))
        said += words
    for turn in range(5):
        assert sorted(said[56 * turn:56 * (turn + 1)]) == sorted(" ".join(SENTENCES).split())
    assert 2 <= min(lengths) and max(lengths) <= synthesize_english.LONGEST
    assert short


def test_written_texts_say_the_same():
    rng = np.random.default_rng(2)
    stream = synthesize_english.texts(SENTENCES, rng)
    for seed in range(300):
        text = next(stream)
        line = synthesize_english.written(text, random.Random(seed))
        assert re.sub("[.,?!]", "", line).upper() == " ".join(text.said)
        assert line[0].isupper() and not re.search(r"[.,?!]{2}|^,| ,|,$", line)


def test_an_engine_makes_a_corpus(tmp_path, monkeypatch):
    def tone():
        def speak(text, rng):
            return np.sin(np.arange(8000 * len(text) // 10) / 9).astype(np.float32), 8000, "tone"
        return speak

    monkeypatch.setitem(synthesize_english.ENGINES, "tone", tone)
    book = tmp_path / "book.txt"
    book.write_text("\n".join(SENTENCES))
    monkeypatch.setattr(sys, "argv", [
        "synthesize_english.py", "--texts", str(book), "--hours", "0.001", "--out",
        str(tmp_path / "out"), "--engine", "tone", "--processes", "1"])
    synthesize_english.main()
    lines = [json.loads(line) for line in open(tmp_path / "out" / "train.jsonl")]
    assert sum(line["seconds"] for line in lines) >= 3.6
    for line in lines:
        samples, rate = soundfile.read(tmp_path / "out" / line["path"])
        assert rate == 16000 and abs(len(samples) / rate - line["seconds"]) < 0.1
        assert 0.05 < np.abs(samples).max() <= 1.0
        assert TEXT.fullmatch(line["text"])


def test_kokoro_says_all_parts_with_mixed_voices(monkeypatch):
    class Audio:
        def __init__(self, text):
            self.text = text

        def numpy(self):
            return np.full(len(self.text), 0.5, np.float32)

    class KPipeline:  # as the package has it
        def __init__(self, lang_code, repo_id=None):
            assert lang_code == "a"

        def __call__(self, text, voice=None, speed=1, split_pattern=r"\n+"):
            assert split_pattern is None and 0.5 < speed < 2
            assert set(voice.split(",")) <= set(synthesize_english.KOKORO)
            for part in text.split(","):  # it cuts long texts
                yield SimpleNamespace(audio=Audio(part))

    monkeypatch.setitem(sys.modules, "kokoro", SimpleNamespace(KPipeline=KPipeline))
    speak = synthesize_english.kokoro()
    said = [speak("It was so, he said.", random.Random(seed)) for seed in range(20)]
    assert {(len(samples), rate) for samples, rate, _ in said} == {(18, 24000)}
    assert {voices.count(",") for *_, voices in said} == {0, 1, 2}


# ---- Pieces ----

@pytest.fixture(scope="module")
def pieces():
    pytest.importorskip("sentencepiece")
    import pieces
    return pieces


def test_pieces_spell_every_text(pieces, tmp_path):
    rng = np.random.default_rng(0)
    texts = [orders.draw(rng) for _ in range(2000)]
    path = tmp_path / "pieces.model"
    path.write_bytes(pieces.train(texts, 100))
    tokens, special = tokenizer.read_sentencepiece(path)
    assert len(tokens) == 100 and tokens[0] == pieces.BLANK and special == {0}
    encode = pieces.encoder(path)
    for text in texts:
        labels = encode(text)
        assert 0 not in labels
        assert "".join(tokens[label] for label in labels).replace("▁", " ").strip() == text


def test_too_few_texts_for_so_many_pieces(pieces):
    with pytest.raises(ArgumentError, match="expected texts that have 256 labels"):
        pieces.train(["ONE TWO"], 256)


def test_a_file_that_is_no_model_of_pieces(pieces, tmp_path):
    path = tmp_path / "pieces.model"
    with pytest.raises(FileError, match=re.escape(str(path))):
        pieces.encoder(path)
    path.write_bytes(b"not that")
    with pytest.raises(FileError, match="expected a SentencePiece model"):
        pieces.encoder(path)
