"""n-gram models: ARPA text and packed files against a plain back-off in dictionaries."""

import gzip
import itertools
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref.decode import language_model
from ee_ref.errors import FileError, LanguageModelError

ARPA = """\
a comment of some tool

\\data\\
ngram 1=7
ngram 2=6
ngram 3=3

\\1-grams:
-1.2\t<unk>\t0
-99\t<s>\t-0.4
-0.9\t</s>
-0.6\tA\t-0.3
-0.7\tAB\t-0.2
-1.1\tBA\t-0.1
-1.3\tBB

\\2-grams:
-0.3\t<s> A\t-0.25
-0.9\t<s> AB
-0.2\tA AB\t-0.15
-0.8\tAB A\t-0.05
-0.5\tAB </s>
-0.4\tBA <unk>

\\3-grams:
-0.1\t<s> A AB
-0.7\tA AB A
-0.2\tA AB </s>

\\end\\
"""


def put(tmp_path, text, name="model.arpa"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def grams(text):
    """n-gram -> (log10 p, log10 back-off) of ARPA text."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0].startswith("-") and not line.startswith("\\"):
            words = tuple(f for f in fields[1:] if not f.lstrip("-").replace(".", "").isdigit())
            bow = float(fields[-1]) if len(fields) > len(words) + 1 else 0.0
            found[words] = float(fields[0]), bow
    return found


def log10_p(found, context, word):
    if (gram := (*context, word)) in found:
        return found[gram][0]
    return found.get(context, (0, 0.0))[1] + log10_p(found, context[1:], word)


def sentence_log_prob(found, words, order):
    history, total = ("<s>",)[: order - 1], 0.0
    for word in (*words, "</s>"):
        word = word if (word,) in found else "<unk>"
        total += log10_p(found, history, word)
        history = (*history, word)[max(0, len(history) + 2 - order):]
    return total * math.log(10)


def test_probabilities_back_off(tmp_path):
    model, found = language_model.read(put(tmp_path, ARPA)), grams(ARPA)
    assert model.order == 3 and len(found) == 16
    for length in range(4):
        for words in itertools.product(("A", "AB", "BA", "BB", "ZZ"), repeat=length):
            assert model.log_prob(words) == pytest.approx(
                sentence_log_prob(found, words, 3), abs=1e-5)


@st.composite
def models(draw):
    """ARPA text of random n-grams, with all that begin one or end it left to chance."""
    order = draw(st.integers(1, 4))
    words = ["<s>", "</s>", "<unk>", "a", "b", "c"]
    chosen = [[(word,) for word in words]]
    for _ in range(order - 1):
        longer = [(*gram, word) for gram in chosen[-1] for word in words[1:]
                  if gram[-1] != "</s>"]
        chosen.append(draw(st.lists(st.sampled_from(longer), unique=True, max_size=30))
                      if longer else [])
    number = st.integers(-300, -1).map(lambda n: n / 100)
    parts = ["\\data\\", *(f"ngram {n}={len(g)}" for n, g in enumerate(chosen, 1))]
    for n, group in enumerate(chosen, 1):
        parts += ["", f"\\{n}-grams:"]
        for gram in group:
            bow = "" if n == order else f"\t{draw(number)}"
            parts.append(f"{draw(number)}\t{' '.join(gram)}{bow}")
    sentences = draw(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6),
                              min_size=1, max_size=4))
    return "\n".join([*parts, "", "\\end\\", ""]), order, sentences


@settings(max_examples=100, deadline=None)
@given(models())
def test_random_models(tmp_path_factory, case):
    text, order, sentences = case
    folder = tmp_path_factory.mktemp("lm")
    found, model = grams(text), language_model.read(put(folder, text))
    language_model.write(folder / "packed", model)
    language_model.write(folder / "small", model, quantise=True)
    mapped = language_model.read(folder / "packed")
    small = language_model.read(folder / "small")
    for words in sentences:
        expected = sentence_log_prob(found, words, order)
        assert model.log_prob(words) == pytest.approx(expected, abs=1e-4)
        assert mapped.log_prob(words) == model.log_prob(words)
        # Fewer than 256 values: nothing is lost.
        assert small.log_prob(words) == pytest.approx(model.log_prob(words), abs=1e-5)


def test_gzip_is_the_same(tmp_path):
    plain = language_model.read(put(tmp_path, ARPA))
    packed = language_model.read(put(tmp_path, gzip.compress(ARPA.encode()), "model.arpa.gz"))
    assert packed.words == plain.words
    assert packed.log_prob(["A", "AB"]) == plain.log_prob(["A", "AB"])


def test_packed_arrays_are_views_of_the_file(tmp_path):
    language_model.write(tmp_path / "m", language_model.read(put(tmp_path, ARPA)))
    for g in language_model.read(tmp_path / "m").grams:
        assert not g.log_probs.flags.owndata and not g.log_probs.flags.writeable


def test_quantised_values_are_near(tmp_path):
    rng = np.random.default_rng(0)
    values = -rng.gamma(2.0, 2.0, 5000).astype(np.float32)
    table = language_model._table(values)
    assert np.abs(table[language_model._nearest(values, table)] - values).mean() < 0.02


def test_words_that_the_model_lacks_have_no_probability_without_unk(tmp_path):
    text = ARPA.replace("-1.2\t<unk>\t0\n", "").replace("-0.4\tBA <unk>\n", "")
    text = text.replace("1=7", "1=6").replace("2=6", "2=5")
    model = language_model.read(put(tmp_path, text))
    assert model.unknown is None and model.log_prob(["A", "ZZ"]) == -math.inf


@pytest.mark.parametrize("old, new, line, message", [
    ("ngram 2=6", "ngram 2=5", 23, r"expected \\3-grams:, found -0.4 BA <unk>"),
    ("ngram 2=6", "ngram 2=7", 24, "expected 7 2-grams as announced, found 6"),
    ("ngram 1=7", "ngram 1=0", 4, "expected at most 8 orders"),
    ("ngram 1=7", "ngram 1=99999999999", 4, "expected at most 8 orders"),
    ("ngram 1=7", "ngram 1=x", 4, "expected ngram 1=COUNT, found ngram 1=x"),
    ("ngram 1=7", "ngram 1=" + 5000 * "9", 4, "expected ngram 1=COUNT, found ngram 1=9999"),
    ("ngram 2=6", "ngram 3=6", 5, "expected ngram 2=COUNT"),
    ("-0.6\tA\t-0.3", "-0.6\tA", 12,
     "A: expected a back-off weight, as it begins 2-grams, found none"),
    ("-0.2\tA AB\t-0.15", "-0.2\tA AB", 20, "A AB: expected a back-off weight"),
    ("-0.6\tA\t", "0.6\tA\t", 12, "finite log10 probability <= 0"),
    ("-0.6\tA\t", "nan\tA\t", 12, "finite log10 probability <= 0"),
    ("-0.6\tA\t", "-1e999\tA\t", 12, "finite log10 probability <= 0"),
    ("A\t-0.3", "A\tinf", 12, "finite back-off"), ("A\t-0.3", "A\tnan", 12, "finite back-off"),
    ("-0.6\tA\t", "x\tA\t", 12, "expected log10 probability, 1 words and back-off, found x A -0.3"),
    ("-0.7\tAB\t", "-0.7\tA\t", 13, "expected every word once, found A twice"),
    ("-0.8\tAB A\t", "-0.8\tA AB\t", 21, "A AB: expected once, found twice"),
    ("-0.8\tAB A\t", "-0.8\tAB ZZ\t", 21, "expected words that are 1-grams, found ZZ"),
    ("-0.8\tAB A\t-0.05", "-0.8\tAB", 21, "found 2 fields: -0.8 AB"),
    ("-0.7\tA AB A", "-0.7\tBA AB A", 27, "BA AB A: expected its first 2 words as an n-gram"),
    ("-0.7\tA AB A", "-0.7\tA AB A -0.1", 27, "found 5 fields"),
    ("\\2-grams:", "\\3-grams:", 17, r"expected \\2-grams:, found \\3-grams:"),
    ("\\end\\", "", 31, r"expected \\end\\, found the end of the file"),
])
def test_bad_arpa(tmp_path, old, new, line, message):
    assert old in ARPA
    with pytest.raises(LanguageModelError, match=message) as error:
        language_model.read(put(tmp_path, ARPA.replace(old, new, 1)))
    assert f"line {line}:" in str(error.value)


def test_arpa_cut_anywhere_is_refused(tmp_path):
    whole = len(ARPA.rstrip())
    for data, name in ((ARPA.encode(), "cut.arpa"), (gzip.compress(ARPA.encode()), "cut.gz")):
        for size in range(min(len(data), whole)):
            with pytest.raises(LanguageModelError):
                language_model.read(put(tmp_path, data[:size], name))


@pytest.mark.parametrize("data, message", [
    (b"", "found the end of the file"), (b"\x1f\x8b garbage", "gzip"),
    (b"\\data\\\nngram 1=1\n\n\\1-grams:\n-1\t\xff\n\\end\\\n", "line 5: expected UTF-8"),
    (b"x" * (1 << 17), "line 1: expected at most 65536 bytes"),
    (gzip.compress(b"x" * (1 << 26)), "line 1: expected at most 65536 bytes"),
    (b"x\n" * 2000, "line 1000: expected .*data.*, found 1000 other lines"),
    (gzip.compress(b"\\data\\\nngram 1=99999\n\n\\1-grams:\n" + b"-1\t<unk>" + b" " * 60000
                   + b"\n"), "line 5: expected at most [0-9]+ bytes of text, 64 times"),
])
def test_what_is_no_arpa(tmp_path, data, message):
    with pytest.raises(LanguageModelError, match=message):
        language_model.read(put(tmp_path, data))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError):
        language_model.read(tmp_path / "none")


# Packed files


def packed(tmp_path, quantise):
    return language_model.packed(language_model.read(put(tmp_path, ARPA)), quantise)


def resealed(data):
    return bytes(data[:-4]) + struct.pack("<I", zlib.crc32(data[:-4]))


@pytest.mark.parametrize("quantise", [False, True])
def test_packed_cut_or_changed(tmp_path, quantise):
    data = packed(tmp_path, quantise)
    rng = np.random.default_rng(1)
    for size in range(8, len(data), 7):
        with pytest.raises(LanguageModelError):
            language_model.read(put(tmp_path, data[:size]))
    for _ in range(50):
        changed = bytearray(data)
        changed[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(LanguageModelError, match="checksum"):
            language_model.read(put(tmp_path, bytes(changed)))


@pytest.mark.parametrize("quantise", [False, True])
def test_packed_that_lies(tmp_path, quantise):
    """With a fitting checksum: refused, or a model that answers every question."""
    data = packed(tmp_path, quantise)
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(600):
        changed = bytearray(data)
        for at in rng.integers(8, len(data) - 4, rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        try:
            model = language_model.read(put(tmp_path, resealed(changed)))
        except LanguageModelError:
            refused += 1
            continue
        for words in itertools.product(model.words[:4], repeat=3):
            assert not math.isnan(model.log_prob(words))
    assert refused > 50


@pytest.mark.parametrize("at, value, message", [
    (8, 9, "expected version 1, found 9"), (12, 0, "expected an order"), (12, 99, "an order"),
    (16, 2, "quantised 0 or 1"), (24, 0, "expected 1..16777216 words, found 0"),
    (24, 1 << 30, "words, found"), (32, 1 << 31, "more bytes at"), (20, 1 << 31, "more bytes"),
])
def test_packed_heads_that_lie(tmp_path, at, value, message):
    changed = bytearray(packed(tmp_path, False))
    struct.pack_into("<I", changed, at, value)
    with pytest.raises(LanguageModelError, match=message):
        language_model.read(put(tmp_path, resealed(changed)))
