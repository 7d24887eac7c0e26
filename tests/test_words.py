"""The word search against enumeration of all alignments, and against other decoders."""

import itertools
import math
import pickle
import re
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref.decode import (
    Lexicon,
    WordDecoder,
    beam_search,
    greedy,
    language_model,
    parse_hotwords,
    read_hotwords,
    read_lexicon,
)
from ee_ref.decode import words as word_search
from ee_ref.errors import ArgumentError, FileError, LanguageModelError
from ee_ref.tokens import Tokens

from .test_decode import log_softmax, random_log_probs
from .test_language_model import ARPA

EXACT = {"beam_width": 10_000, "least_log_prob": None, "most_labels": None,
         "score_threshold": None}
PIECES = ("_", "▁", "A", "B", "▁A", "AB", "<s>")
TOKENS = Tokens(PIECES, [6], 0)
LETTERS = Tokens(("A", "B", "▁", "_"), [], 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return language_model.read(path)


def said(tokens, alignment):
    """The labels of an alignment, and the words that they spell."""
    labels = [label for label, _ in itertools.groupby(alignment) if label != tokens.blank]
    return labels, tuple(tokens.text(labels).split())


def pieces_of(tokens, labels):
    """The labels of each word, boundaries alone and labels that are no text left out."""
    words = []
    for label in labels:
        if label in tokens.special:
            continue
        if tokens[label].startswith("▁") or not words:
            words.append([])
        if tokens[label] != "▁":
            words[-1].append(tokens[label])
    return [tuple(word) for word in words if word]


def expected(tokens, log_probs, model=None, lexicon=None, hotwords=(), *, lm_weight=0.7, word=None,
             silence=0.0, unknown=None):
    """words -> (score, acoustic), by all alignments and the definition of the score."""
    hotwords = dict(hotwords)
    frames, labels = log_probs.shape
    if unknown is None:
        unknown = -16.0 if lexicon is None else -math.inf
    if word is None:
        word = 0.0 if model is None else 2.0
    acoustic = defaultdict(lambda: -math.inf)
    for alignment in itertools.product(range(labels), repeat=frames):
        emitted, words = said(tokens, alignment)
        if lexicon is not None and lexicon.pieces is not None and not all(
                pieces in lexicon.pieces for pieces in pieces_of(tokens, emitted)):
            continue
        path = sum(float(log_probs[t, v]) for t, v in enumerate(alignment))
        path += silence * sum(tokens[label] == "▁" for label in emitted)
        acoustic[words] = np.logaddexp(acoustic[words], path)
    scores = {}
    known = None if lexicon is None and model is None else (
        set(model.words if lexicon is None else lexicon.words)
        | {part for phrase in hotwords for part in phrase.split()})
    for words, total in acoustic.items():
        score = total + word * len(words)
        score += sum(unknown for w in words if known is not None and w not in known)
        if model is not None:
            score += lm_weight * model.log_prob(words)
        for phrase, boost in hotwords.items():
            parts = tuple(phrase.split())
            score += boost * sum(words[at : at + len(parts)] == parts for at in range(len(words)))
        if score > -math.inf:
            scores[words] = score, total
    return scores


@st.composite
def cases(draw):
    tokens = draw(st.sampled_from([TOKENS, LETTERS]))
    frames = draw(st.integers(0, 4 if tokens is TOKENS else 5))
    log_probs = random_log_probs(frames, len(tokens), draw(st.integers(0, 10_000)),
                                 draw(st.sampled_from([0.5, 2.0, 6.0])))
    if draw(st.booleans()):
        log_probs[:, draw(st.integers(0, len(tokens) - 1))] = -np.inf
    lexicon = draw(st.sampled_from([
        None, Lexicon(["A", "AB", "BA"]), Lexicon(["B"]),
        Lexicon(["A", "AB", "AB", "BB"], [("A",), ("A", "B"), ("▁A", "B"), ("B", "B")])
        if tokens is TOKENS else Lexicon(["AB", "BB"], [("A", "B"), ("B", "B")])]))
    hotwords = draw(st.sampled_from([{}, {"AB": 3.0}, {"AB A": 4.0, "A": -1.0, "AB AB": 2.0}]))
    if lexicon is not None and lexicon.pieces is not None:
        hotwords = {"AB": 1.5} if hotwords else {}
    weights = draw(st.fixed_dictionaries({
        "lm_weight": st.sampled_from([0.0, 0.8, 2.0]), "word": st.sampled_from([None, 1.5, -2.0]),
        "silence": st.sampled_from([0.0, -1.0])}))
    if lexicon is None or lexicon.pieces is None:
        weights["unknown"] = draw(st.sampled_from([None, -3.0, -math.inf]))
    return tokens, log_probs, draw(st.booleans()), lexicon, hotwords, weights


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_search_is_the_enumeration(model, case):
    tokens, log_probs, with_model, lexicon, hotwords, weights = case
    model = model if with_model else None
    scores = expected(tokens, log_probs, model, lexicon, hotwords, **weights)
    found = WordDecoder(tokens, model, lexicon, hotwords, n_best=10_000, **weights, **EXACT)(
        log_probs)
    if not scores:
        assert found == [((), -math.inf, ())]
        return
    texts = {tuple(tokens.text(h.tokens).split()): h for h in found}
    assert len(texts) == len(found) and texts.keys() == scores.keys()
    assert sorted(found, key=lambda h: -h.score) == found
    for words, (score, acoustic) in scores.items():
        h = texts[words]
        assert h.score == pytest.approx(score, abs=1e-4)
        assert h.parts.acoustic == pytest.approx(acoustic, abs=1e-4)
        assert sum(h.parts) == pytest.approx(h.score, abs=1e-9)
        assert len(h.frames) == len(h.tokens) and list(h.frames) == sorted(set(h.frames))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_tokens_are_of_the_best_alignment(case):
    tokens, log_probs, _, lexicon, _, _ = case
    best = {}
    for alignment in itertools.product(range(len(tokens)), repeat=len(log_probs)):
        emitted, words = said(tokens, alignment)
        if lexicon is not None and lexicon.pieces is not None and not all(
                pieces in lexicon.pieces for pieces in pieces_of(tokens, emitted)):
            continue
        path = sum(float(log_probs[t, v]) for t, v in enumerate(alignment))
        best[words] = max(best.get(words, -math.inf), path)
    for h in WordDecoder(tokens, lexicon=lexicon, n_best=10_000, **EXACT)(log_probs):
        if h.score > -math.inf:
            words = tuple(tokens.text(h.tokens).split())
            # A forced alignment of these very tokens is as good as any alignment of these words.
            blank = tokens.blank
            forced = max(
                sum(float(log_probs[t, v]) for t, v in enumerate(alignment))
                for alignment in itertools.product({blank, *h.tokens}, repeat=len(log_probs))
                if tuple(said(tokens, alignment)[0]) == h.tokens)
            assert forced == pytest.approx(best[words], abs=1e-5)


def test_without_words_to_judge_it_is_the_prefix_search():
    # Characters, one piecing a text: texts are token sequences, but for boundaries at their ends.
    tokens = Tokens(("_", "A", "B", "C"), [], 0)
    log_probs = random_log_probs(12, 4, 3)
    plain = beam_search(log_probs, beam_width=50)[0]
    found = WordDecoder(tokens, word=0.0, beam_width=50, least_log_prob=None,
                        score_threshold=None)(log_probs)[0]
    assert found.tokens == plain.tokens and found.score == pytest.approx(plain.score, abs=1e-9)
    assert found.frames == plain.frames


def test_hypotheses_are_copied_whole():
    found = WordDecoder(LETTERS)(random_log_probs(5, 4, 0))[0]
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found and copy.parts == found.parts
    tokens, score, frames = found
    assert score == sum(found.parts) and len(tokens) == len(frames)


def test_thresholds_only_take_away(model):
    log_probs = random_log_probs(60, len(PIECES), 1, 3.0)
    wide = WordDecoder(TOKENS, model, beam_width=400, least_log_prob=None, score_threshold=None)
    narrow = WordDecoder(TOKENS, model, beam_width=8)
    assert narrow(log_probs)[0].score <= wide(log_probs)[0].score + 1e-9


def test_the_most_probable_labels_are_tried():
    log_probs = random_log_probs(12, len(PIECES), 1, 1.0)
    every = WordDecoder(TOKENS, n_best=5, most_labels=None)(log_probs)
    assert WordDecoder(TOKENS, n_best=5, most_labels=len(PIECES))(log_probs) == every
    # As if all but the two best of each frame were impossible.
    two = np.full_like(log_probs, -np.inf)
    best = np.argsort(-log_probs, axis=1)[:, :2]
    np.put_along_axis(two, best, np.take_along_axis(log_probs, best, axis=1), axis=1)
    assert WordDecoder(TOKENS, n_best=5, most_labels=2)(log_probs) == (
        WordDecoder(TOKENS, n_best=5)(two)) != every


def test_frames_that_say_nothing_cost_no_more_than_others(monkeypatch):
    labels, frames, beam = 255, 12, 10
    tokens = Tokens(("_", *(chr(0x4E00 + i) for i in range(labels - 1))), [], 0)
    log_probs = np.full((frames, labels), -np.log(labels), np.float32)
    steps = []
    follow = word_search._Search.follow
    monkeypatch.setattr(word_search._Search, "follow",
                        lambda *arguments: steps.append(arguments) or follow(*arguments))
    WordDecoder(tokens, beam_width=beam)(log_probs)
    most = WordDecoder.MOST_LABELS
    assert frames * most < len(steps) <= frames * beam * most
    narrow = len(steps)
    steps.clear()
    WordDecoder(tokens, beam_width=beam, most_labels=None)(log_probs)
    assert len(steps) > 5 * narrow


def test_a_language_model_turns_a_near_miss_into_a_word(model):
    # The labels say "B AB" a little more than "A AB", which the model has seen.
    log_probs = np.full((4, 4), -9.0, np.float32)
    for t, label in enumerate((1, 2, 0, 1)):
        log_probs[t, label] = 0.0
    log_probs[0, 0] = -0.5
    log_probs = log_softmax(log_probs).astype(np.float32)
    assert LETTERS.text(greedy(log_probs, 3).tokens) == "B AB"
    found = WordDecoder(LETTERS, model)(log_probs)
    assert LETTERS.text(found[0].tokens) == "A AB"


def test_a_hotword_wins_where_it_is_nearly_heard():
    tokens = Tokens(("_", "▁", "A", "D", "E", "N"), [], 0)
    log_probs = np.full((3, 6), -12.0, np.float32)
    log_probs[[0, 1, 2], [2, 3, 4]] = 0.0
    log_probs[2, 2] = -2.0
    log_probs = log_softmax(log_probs).astype(np.float32)
    def heard(hot):
        return tokens.text(WordDecoder(tokens, hotwords=hot)(log_probs)[0].tokens)
    assert heard(()) == "ADE"
    assert heard(["ada"]) == "ADA"
    assert heard({"ADA": 1.0}) == "ADE"
    assert heard({"ADA": 2.5}) == "ADA"


def test_case_follows_the_labels(tmp_path):
    path = tmp_path / "lower.arpa"
    path.write_text(re.sub(r"\b[AB]+\b", lambda word: word[0].lower(), ARPA))
    lower = language_model.read(path)
    log_probs = random_log_probs(8, 4, 5)
    upper = tmp_path / "upper.arpa"
    upper.write_text(ARPA)
    assert WordDecoder(LETTERS, lower)(log_probs) == WordDecoder(
        LETTERS, language_model.read(upper))(log_probs)


@pytest.mark.parametrize("arguments, message", [
    ({"beam_width": 0}, "beam_width"), ({"n_best": 41}, "n_best"), ({"lm_weight": -1}, "lm_weight"),
    ({"word": math.nan}, "word"), ({"silence": math.inf}, "silence"),
    ({"least_log_prob": math.inf}, "least_log_prob"), ({"most_labels": 0}, "most_labels"),
    ({"score_threshold": "x"}, "score_threshold"),
    ({"unknown": math.nan}, "unknown"), ({"hotwords": ["A", ""]}, "expected words, found none"),
    ({"hotwords": ["A9"]}, "spell, found 'A9' with 9"), ({"hotwords": {"A": math.inf}}, "boost"),
    ({"lexicon": Lexicon(["A"], [("A",)]), "unknown": -3.0}, "lexicon with pieces"),
    ({"lexicon": Lexicon(["A"], [("A",)]), "hotwords": ["B"]}, "words of the lexicon.*found 'B'"),
    ({"hotwords": "AB"}, "hotwords: expected phrases, found the text 'AB'"),
])
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        WordDecoder(LETTERS, **arguments)


def test_labels_with_a_boundary_inside_are_refused():
    with pytest.raises(ArgumentError, match="only at their beginning, found A▁B"):
        WordDecoder(Tokens(("_", "A▁B"), [], 0))


@pytest.mark.parametrize("bad", [np.zeros((2, 5), np.float32), np.full((2, 4), np.nan, np.float32),
                                 np.full((2, 4), 2.0, np.float32), np.zeros((2, 4), np.int32)])
def test_log_probs_are_checked(bad):
    with pytest.raises(ArgumentError, match="expected log-probabilities"):
        WordDecoder(LETTERS)(bad)


def test_nothing_is_possible():
    nothing = [((), -math.inf, ())]
    assert WordDecoder(LETTERS)(np.full((3, 4), -np.inf, np.float32)) == nothing
    # One frame cannot spell the only word, and silence is impossible.
    log_probs = np.array([[0.0, -np.inf, -np.inf, -np.inf]], np.float32)
    assert WordDecoder(LETTERS, lexicon=Lexicon(["AB"]))(log_probs) == nothing


# Lexicons and hotwords


def put(tmp_path, text):
    path = tmp_path / "words.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lexicons_are_read(tmp_path):
    assert read_lexicon(put(tmp_path, "turn\r\n\non \n")).words == ["turn", "on"]
    found = read_lexicon(put(tmp_path, "AB\t▁A B ▁\nAB ▁ AB\nB\tB ▁\n"))
    assert (found.words, found.pieces) == (["AB", "AB", "B"],
                                           [("▁A", "B", "▁"), ("▁", "AB"), ("B", "▁")])
    assert list(found.lines) == [1, 2, 3]
    WordDecoder(TOKENS, lexicon=found)


@pytest.mark.parametrize("text, message", [
    ("", "expected a word a line, found none"), ("\n \n", "found none"),
    ("A\tA\nB\n", "line 2: expected pieces after the word, as in line 1, found B"),
    ("A\n\nB\tB\n", "line 3: expected a word alone, as in line 1"),
    (b"A\n\xff\n", "line 2: expected UTF-8"),
])
def test_bad_lexicons(tmp_path, text, message):
    with pytest.raises(LanguageModelError, match=message):
        read_lexicon(put(tmp_path, text))


@pytest.mark.parametrize("text, message", [
    ("A\n\nB9\n", "line 3: expected a word that the labels of the model can spell, found 'B9' "
                  "with 9"),
    ("A\n\x85\n", "line 2: expected a word that the labels of the model can spell"),
    ("Ä", "found 'Ä' with Ä"), ("A▁B", "line 1: .*found 'A▁B'"),
    ("A\tA\nAB\tA X", "line 2: expected labels of the model, found X"),
    ("AB\tA A", "line 1: expected labels that spell 'AB', found 'A A'"),
    ("AB\tB ▁A", "line 1: expected labels that spell"), ("A\t▁", "line 1: expected labels that"),
    ("AA\tA ▁A", "line 1: expected labels that spell"),
    ("A\t_ A", "line 1: expected labels of the model, found _"),
])
def test_lexicons_that_the_labels_cannot_spell(tmp_path, text, message):
    lexicon = read_lexicon(put(tmp_path, text))
    with pytest.raises(LanguageModelError, match=message):
        WordDecoder(TOKENS, lexicon=lexicon)


def test_words_are_spelled_by_whole_labels():
    tokens = Tokens(("_", "▁QU", "QU", "I", "T"), [], 0)
    WordDecoder(tokens, lexicon=Lexicon(["QUIT"]))
    with pytest.raises(LanguageModelError, match="word 2: .*found 'QIT'"):
        WordDecoder(tokens, lexicon=Lexicon(["QUIT", "QIT"]))


def test_hotwords_are_read(tmp_path):
    path = put(tmp_path, "# names\nada lovelace = 8  # first\n\n  quilter\n")
    assert read_hotwords(path) == {"ada lovelace": 8.0, "quilter": 5.0}
    assert parse_hotwords(["a  b=-1", "c"]) == {"a b": -1.0, "c": 5.0}
    with pytest.raises(LanguageModelError, match="line 2: boost in 'b = x'"):
        read_hotwords(put(tmp_path, "a\nb = x\n"))
    with pytest.raises(LanguageModelError, match="line 1: hotword: expected words"):
        read_hotwords(put(tmp_path, " = 3\n"))
    with pytest.raises(FileError):
        read_hotwords(tmp_path / "none")


# Other decoders, where they are installed


@pytest.mark.parametrize("seed", range(20))
def test_against_flashlight(model, seed):
    """The lexicon decoder that torchaudio binds, with our model as its language model."""
    library = pytest.importorskip("flashlight.lib.text.decoder")
    words = ["A", "AB", "BA", "BB"]
    contexts = {}

    class Model(library.LM):
        def start(self, start_with_nothing):
            return self._kept(library.LMState(), model.start)

        def score(self, state, index):
            return self._scored(state, index, model.ids[words[index]])

        def finish(self, state):
            return self._scored(state, len(words), model.end)

        def _scored(self, state, key, id):
            log_prob, context = model.score(contexts[state][1], id)
            return self._kept(state.child(key), context), log_prob

        def _kept(self, state, context):
            contexts[state] = state, context  # their states must not be collected
            return state

    trie = library.Trie(4, 2)
    for index, word in enumerate(words):
        trie.insert([*map("AB".index, word), 2], index, 0.0)  # a boundary ends each word
    options = library.LexiconDecoderOptions(
        beam_size=5000, beam_size_token=4, beam_threshold=1e9, lm_weight=0.7, word_score=0.5,
        unk_score=-math.inf, sil_score=0.0, log_add=True, criterion_type=library.CriterionType.CTC)
    language = Model()
    theirs = library.LexiconDecoder(options, trie, language, 2, 3, -1, [], False)
    # Their words end in a boundary, ours may: the last frame is one, so that both must.
    log_probs = random_log_probs(7, 4, seed, 2.0)
    log_probs[-1] = -np.inf
    log_probs[-1, 2] = 0.0
    found = {}
    for best in theirs.decode(log_probs.ctypes.data, *log_probs.shape):
        found.setdefault(" ".join(words[index] for index in best.words if index >= 0), best.score)
    ours = WordDecoder(LETTERS, model, Lexicon(words), lm_weight=0.7, word=0.5, **EXACT)(
        log_probs)[0]
    assert LETTERS.text(ours.tokens) == max(found, key=found.get)
    assert ours.score == pytest.approx(max(found.values()), abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_against_pyctcdecode(tmp_path, seed):
    pyctcdecode = pytest.importorskip("pyctcdecode")
    pytest.importorskip("kenlm")
    path = tmp_path / "tiny.arpa"
    path.write_text(ARPA[ARPA.index("\\data"):])  # kenlm reads no comments
    # No label is a boundary alone: at either end of a text it would take one for an unknown word.
    tokens = Tokens(("▁A", "▁B", "A", "B", "_"), [], 4)
    log_probs = random_log_probs(8, 5, seed, 2.0)
    log_probs[0, 2:4] = -np.inf
    log_probs = log_softmax(log_probs).astype(np.float32)
    theirs = pyctcdecode.build_ctcdecoder(
        ["▁A", "▁B", "A", "B", ""], str(path), ["A", "AB", "BA", "BB"], alpha=0.7, beta=0.5,
        unk_score_offset=-20.0)
    best = theirs.decode_beams(log_probs, beam_width=5000, beam_prune_logp=-1e9,
                               token_min_logp=-1e9)[0]
    ours = WordDecoder(tokens, language_model.read(path), lm_weight=0.7, word=0.5,
                       unknown=-20.0 * 0.7 * math.log(10), **EXACT)(log_probs)[0]
    assert tokens.text(ours.tokens) == best[0]
    assert ours.score == pytest.approx(best[-1], abs=1e-4)
