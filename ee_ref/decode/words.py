"""Prefix beam search over words: a lexicon, a language model and hotwords judge each word as it
ends.

A *text* is the words that have ended and the letters of the one under way. Every alignment (one
label a frame) spells a text, whichever labels cut its words; the probability of a text is the sum
over its alignments. The search keeps, for each text of the beam, that sum by the last label, as a
repeat of a label is a new one only after another label. What words are worth is added to the log of
the sum. Definitions: docs/decoding.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, log1p
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_count, check_number
from ..errors import ArgumentError
from .beam import MAX_BEAM_WIDTH
from .greedy import Alignment
from .hypothesis import Hypothesis, Parts, WordHypothesis, checked_log_probs
from .language_model import LanguageModel
from .lexicon import DEFAULT_BOOST, Beginnings, Lexicon, Spelling

if TYPE_CHECKING:
    from ..tokens import Tokens

_MARKS = ("<s>", "</s>", "<unk>", "<UNK>")


class WordDecoder:
    """log_probs -> hypotheses, best first: a decoder of `Model.transcribe`.

    tokens: of the model. language_model, lexicon, hotwords: each may be left out. With a lexicon
    only its words, and those of hotwords, are said; else any word is. hotwords: phrases, or boost
    by phrase, in nats, gained each time the phrase is said.
    n_best: hypotheses returned, of different words, at most beam_width.

    score = acoustic + language model + words + hotwords, in nats; `WordHypothesis.parts` has them:
    acoustic: log of the sum over the alignments kept, of their log-probability and of `silence` for
    each label that is a word boundary alone;
    language model: lm_weight times ln p of the words, the end of the sentence included;
    words: `word` for each word (2 with a language model, else 0), and `unknown` for each that
    neither the lexicon nor, without one, the language model has (-16; -inf with a lexicon);
    hotwords: boosts.

    beam_width: texts kept after each frame. least_log_prob: in each frame only the best label and
    those at least so probable are considered. most_labels: and of these no more than so many, the
    most probable. score_threshold: only texts within this distance of the best one, in nats, are
    kept. None for the three, and a wide beam: the search is exact.
    """

    BEAM_WIDTH = 40
    MOST_LABELS = 32
    """A frame that says nothing gives each of several hundred labels the same small probability,
    more than `least_log_prob` asks for, and each would be tried on each text of the beam."""

    def __init__(
        self,
        tokens: Tokens,
        language_model: LanguageModel | None = None,
        lexicon: Lexicon | None = None,
        hotwords: Mapping[str, float] | Iterable[str] = (),
        *,
        beam_width: int = BEAM_WIDTH,
        n_best: int = 1,
        lm_weight: float = 0.7,
        word: float | None = None,
        silence: float = 0.0,
        unknown: float | None = None,
        least_log_prob: float | None = -6.0,
        most_labels: int | None = MOST_LABELS,
        score_threshold: float | None = 14.0,
    ):
        check_count("beam_width", beam_width, 1, MAX_BEAM_WIDTH)
        check_count("n_best", n_best, 1, beam_width)
        check_number("lm_weight", lm_weight, 0)
        if word is None:
            word = 0.0 if language_model is None else 2.0
        check_number("word", word)
        check_number("silence", silence)
        if least_log_prob is not None:
            check_number("least_log_prob", least_log_prob)
        if most_labels is not None:
            check_count("most_labels", most_labels, 1)
        if score_threshold is not None:
            check_number("score_threshold", score_threshold, 0)
        if unknown is None:
            unknown = -16.0 if lexicon is None else -inf
        elif unknown != -inf:
            check_number("unknown", unknown)
        if lexicon is not None and lexicon.pieces is not None and unknown > -inf:
            raise ArgumentError("unknown: expected none beside a lexicon with pieces, which say "
                                f"how words are spelled; found {unknown!r}")
        if isinstance(hotwords, str):
            raise ArgumentError(f"hotwords: expected phrases, found the text {hotwords!r:.60}")
        self._spelling = Spelling(tokens)
        self._blank = tokens.blank
        self._language_model = language_model
        self._beam_width, self._n_best = beam_width, n_best
        self._weight, self._word, self._silence, self._unknown = lm_weight, word, silence, unknown
        self._least = -inf if least_log_prob is None else least_log_prob
        self._most = len(tokens) if most_labels is None else most_labels
        self._score_threshold = inf if score_threshold is None else score_threshold
        self._boosts = self._checked(
            hotwords if isinstance(hotwords, Mapping) else dict.fromkeys(hotwords, DEFAULT_BOOST))
        self._phrases = Beginnings(self._boosts)
        self._ids = self._ids_by_spelling()
        self._by_pieces = lexicon is not None and lexicon.pieces is not None
        self._words = self._known(lexicon)
        self._beginnings = None if self._words is None else Beginnings(self._words)

    def __call__(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """The best texts. log_probs: (T, V) natural logs; -inf is allowed.

        The tokens and frames of a hypothesis are of its best single alignment. Ties go to texts
        that were ahead a frame earlier. When no text of the beam ends with a whole word, or every
        alignment is impossible, the result is [Hypothesis((), -inf, ())]. Raises ArgumentError for
        NaN, values above 0, and another shape.
        """
        log_probs = checked_log_probs(log_probs, self._blank)
        if log_probs.shape[1] != len(self._spelling.letters):
            raise ArgumentError(f"expected log-probabilities of {len(self._spelling.letters)} "
                                f"labels, found {log_probs.shape[1]}")
        search = _Search(self)
        for row in log_probs.astype(np.float64):
            search.advance(row)
        return search.finish(log_probs)

    def _checked(self, boosts: Mapping[str, float]) -> dict[str, float]:
        """Hotwords in the case of the labels."""
        found = {}
        for phrase, boost in boosts.items():
            check_number(f"boost of {phrase!r}", boost)
            words = self._spelling.folded(phrase).split()
            if not words:
                raise ArgumentError("hotword: expected words, found none")
            for word in words:
                if not self._spelling.spells(word):
                    raise ArgumentError(f"hotword: {self._spelling.cannot_spell(word)}")
            found[" ".join(words)] = float(boost)
        return found

    def _ids_by_spelling(self) -> dict[str, int]:
        """Ids of the language model's words by the word in the case of the labels; of several that
        differ in case only, the most probable one's."""
        model = self._language_model
        ids: dict[str, int] = {}
        if model is not None:
            log_probs = model.grams[0].log_probs
            for id, word in enumerate(model.words):
                folded = self._spelling.folded(word)
                if word not in _MARKS and (
                        folded not in ids or log_probs[ids[folded]] < log_probs[id]):
                    ids[folded] = id
        return ids

    def _known(self, lexicon: Lexicon | None) -> dict[Any, str] | None:
        """The words that may be said, by their spelling; None when nothing tells any from another.
        """
        hot = {word for phrase in self._boosts for word in phrase.split()}
        if lexicon is None:
            return None if self._language_model is None else {
                word: word for word in (*self._ids, *hot)}
        words: dict[Any, str] = {}
        for entry, word in enumerate(lexicon.words):
            folded = self._spelling.folded(word)
            if lexicon.pieces is None:
                if not self._spelling.spells(folded):
                    raise lexicon.wrong(entry, self._spelling.cannot_spell(word))
                words[folded] = folded
            else:
                try:
                    words[self._spelling.ids(lexicon.pieces[entry], folded)] = folded
                except ArgumentError as error:
                    raise lexicon.wrong(entry, str(error)) from None
        if lexicon.pieces is None:
            words.update((word, word) for word in hot)
        elif lacking := sorted(hot - set(words.values())):
            raise ArgumentError("hotwords: expected words of the lexicon, which says by what "
                                f"pieces, found {lacking[0]!r}")
        return words


class _History:
    """Words that have ended. Equal words are one object.

    state: of the language model. worth: what the words have added to the score; language_model,
    counted, hotwords: its parts. begun: the beginnings of hotwords that end with the last word,
    each followed by a space, and "". after: the histories one word longer, by that word; texts:
    those with a word under way, by its spelling.
    """

    __slots__ = ("state", "language_model", "counted", "hotwords", "worth", "begun", "after",
                 "texts")

    def __init__(self, state: tuple[int, ...], language_model: float = 0.0, counted: float = 0.0,
                 hotwords: float = 0.0, begun: tuple[str, ...] = ("",)):
        self.state, self.begun = state, begun
        self.language_model, self.counted, self.hotwords = language_model, counted, hotwords
        self.worth = language_model + counted + hotwords
        self.after: dict[Any, _History | None] = {}
        self.texts: dict[Any, _Text | None] = {}


class _Text:
    """Words that have ended, and the letters of one under way.

    spelling: of the word under way: its letters, or the labels where a lexicon says the pieces.
    worth: what the words add to the score, the one under way as `_Search._begun` has it. after: by
    label, the text that the label makes of this one, None for none; None while no label was tried,
    as of most texts: fewer objects are fewer that Python's garbage collector goes through.
    """

    __slots__ = ("history", "spelling", "worth", "after")

    def __init__(self, history: _History, spelling: Any, worth: float):
        self.history, self.spelling, self.worth = history, spelling, worth
        self.after: dict[int, _Text | None] | None = None


_Arrivals = dict[_Text, list[tuple[_Text, int]]]


class _Search:
    """The search through one utterance.

    beam: of each text, best first: its log-probability by last label (blank: by that), and in all.
    """

    def __init__(self, decoder: WordDecoder):
        self.decoder = decoder
        model = decoder._language_model
        self.scores: dict[tuple, tuple[float, tuple[int, ...]]] = {}
        start = _History(() if model is None else model.start)
        self.none: Any = () if decoder._by_pieces else ""
        self.root = start.texts[self.none] = _Text(start, self.none, 0.0)
        self.beam: list[tuple[_Text, dict[int, float], float]] = [
            (self.root, {decoder._blank: 0.0}, 0.0)]

    def advance(self, row: np.ndarray) -> None:
        """One more frame. row: (V,) float64."""
        decoder, beam = self.decoder, self.beam
        blank = decoder._blank
        best = row.max(initial=-inf)
        considered = np.flatnonzero((row >= min(best, decoder._least)) & (row > -inf))
        if len(considered) > decoder._most:
            considered = considered[np.argsort(-row[considered], kind="stable")[: decoder._most]]
        by_label = {int(label): float(row[label]) for label in considered}
        of_blank = by_label.pop(blank, -inf)
        if not by_label:  # nothing moves
            self.beam = [(text, {blank: total + of_blank}, total + of_blank)
                         for text, _ends, total in beam if total + of_blank > -inf]
            return
        floor = max((total + text.worth for text, _ends, total in beam), default=-inf) \
            + best - decoder._score_threshold
        found: dict[_Text, dict[int, float]] = {}
        for text, ends, total in beam:
            if text.after is None:
                text.after = {}
            followed = text.after
            if of_blank > -inf:
                _add(found.setdefault(text, {}), blank, total + of_blank)
            for label, log_prob in by_label.items():
                held = ends.get(label)
                if held is None:
                    moved = total
                else:
                    _add(found.setdefault(text, {}), label, held + log_prob)
                    moved = _sum(value for last, value in ends.items() if last != label)
                moved += log_prob
                if moved + text.worth < floor:
                    continue
                if label not in followed:
                    followed[label] = self.follow(text, label)
                after = followed[label]
                if after is not None:
                    if decoder._silence and decoder._spelling.boundary_alone[label]:
                        moved += decoder._silence
                    _add(found.setdefault(after, {}), label, moved)
        ranked = []
        for text, ends in found.items():
            total = _sum(ends.values())
            if total > -inf:
                ranked.append((total + text.worth, text, ends, total))
        ranked.sort(key=lambda entry: -entry[0])
        floor = ranked[0][0] - decoder._score_threshold if ranked else inf
        self.beam = [entry[1:] for entry in ranked[: decoder._beam_width] if entry[0] >= floor]

    def follow(self, text: _Text, label: int) -> _Text | None:
        """The text that `label` makes of `text`; None for none."""
        spelling = self.decoder._spelling
        history: _History | None = text.history
        letters = text.spelling
        if letters and spelling.ends_word[label]:
            history, letters = self.close(text), self.none
        if spelling.letters[label]:
            letters += (label,) if self.decoder._by_pieces else spelling.letters[label]
        return None if history is None else self.text(history, letters)

    def text(self, history: _History, spelling: Any) -> _Text | None:
        """The text of these words and this word under way; None when no word begins so."""
        if spelling not in history.texts:
            worth = self._begun(history, spelling)
            history.texts[spelling] = (
                _Text(history, spelling, history.worth + worth) if worth > -inf else None)
        return history.texts[spelling]

    def _begun(self, history: _History, spelling: Any) -> float:
        """What a word under way adds already: `unknown` when no word begins so, and its share of
        the letters of a hotword. The search would lose otherwise what is judged only at its end."""
        decoder = self.decoder
        known = not spelling or decoder._beginnings is None or (
            decoder._beginnings.any(spelling))
        worth = 0.0 if known else decoder._unknown
        if decoder._boosts:
            letters = spelling if not decoder._by_pieces else "".join(
                decoder._spelling.letters[label] for label in spelling)
            worth += max((decoder._boosts[phrase] * len(begun + letters) / len(phrase)
                          for begun in history.begun if begun + letters
                          for phrase in decoder._phrases.of(begun + letters)), default=0.0)
        return worth

    def close(self, text: _Text) -> _History | None:
        """The history when the word under way ends; None when it is no word."""
        decoder, history, spelling = self.decoder, text.history, text.spelling
        known = decoder._words is None or spelling in decoder._words
        if not known and decoder._unknown == -inf:
            return None
        word = decoder._words[spelling] if decoder._words and decoder._by_pieces else spelling
        if word not in history.after:
            history.after[word] = self._ended(history, word, known)
        return history.after[word]

    def _ended(self, history: _History, word: str, known: bool) -> _History | None:
        decoder = self.decoder
        counted = decoder._word + (0.0 if known else decoder._unknown)
        log_prob, state = self._judged(history.state, word)
        if log_prob == -inf:
            return None
        begun, boost = [], 0.0
        for beginning in history.begun if decoder._boosts else ():
            phrase = beginning + word
            boost += decoder._boosts.get(phrase, 0.0)
            if decoder._phrases.any(phrase + " "):
                begun.append(phrase + " ")
        return _History(state, history.language_model + log_prob, history.counted + counted,
                        history.hotwords + boost, (*begun, ""))

    def _judged(self, state: tuple[int, ...], word: str | None) -> tuple[float, tuple[int, ...]]:
        """(weighted ln p, state after) of a word by the language model; None: the end."""
        model, weight = self.decoder._language_model, self.decoder._weight
        if model is None:
            return 0.0, ()
        if (state, word) not in self.scores:
            if word is not None:
                id = self.decoder._ids.get(word, model.unknown)
            elif (id := model.end) is None:
                return 0.0, ()
            log_prob, after = model.score(state, id)
            self.scores[state, word] = (weight * log_prob if weight else 0.0), after
        return self.scores[state, word]

    def finish(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """The best texts that end here, their words whole."""
        ended: dict[_History, list[tuple[_Text, float]]] = {}
        for text, _ends, total in self.beam:
            history = self.close(text) if text.spelling else text.history
            if history is not None:
                ended.setdefault(history, []).append((text, total))
        ranked: list[tuple[float, Parts, list[_Text]]] = []
        for history, texts in ended.items():
            end, _state = self._judged(history.state, None)
            parts = Parts(_sum(total for _text, total in texts), history.language_model + end,
                          history.counted, history.hotwords)
            if (score := sum(parts)) > -inf:
                ranked.append((score, parts, [text for text, _total in texts]))
        ranked.sort(key=lambda entry: -entry[0])
        blank = self.decoder._blank
        ranked = ranked[: self.decoder._n_best]
        arrivals = self.arrivals({text for _score, _parts, ends in ranked for text in ends})
        found: list[Hypothesis] = []
        for score, parts, ends in ranked:
            path = _best_path(log_probs, self.root, ends, arrivals, blank)
            best = Alignment(log_probs, path, blank).best
            found.append(WordHypothesis(best.tokens, score, best.frames, parts))
        return found or [Hypothesis((), -inf, ())]

    def arrivals(self, ends: set[_Text]) -> _Arrivals:
        """The texts and labels that made each text, of `ends` and of those that the beam had."""
        found: _Arrivals = {self.root: []}
        kept = [self.root]
        for text in kept:  # grows
            for label, after in (text.after or {}).items():
                if after is None or after.after is None and after not in ends:
                    continue
                if after not in found:
                    found[after] = []
                    kept.append(after)
                found[after].append((text, label))
        return found


def _add(ends: dict[int, float], label: int, log_prob: float) -> None:
    """Add a probability to that of `label`, in logs; -inf is left out."""
    before = ends.get(label)
    if before is None:
        if log_prob > -inf:
            ends[label] = log_prob
    elif before >= log_prob:
        ends[label] = before + log1p(exp(log_prob - before))
    else:
        ends[label] = log_prob + log1p(exp(before - log_prob))


def _sum(values: Iterable[float]) -> float:
    """log of the sum of the exponentials."""
    total = -inf
    for value in values:
        if value > total:
            total, value = value, total
        if value > -inf:
            total += log1p(exp(value - total))
    return total


def _best_path(
    log_probs: np.ndarray, root: _Text, ends: Sequence[_Text], arrivals: _Arrivals, blank: int
) -> np.ndarray:
    """The label of every frame, (T,) uint32, in the most probable single alignment of one of `ends`
    by the labels that the search tried, from `root` on, the empty text.

    The states are the steps from text to text, each in its label, and then the texts, each in
    blank. A step follows itself, its text in blank, and the steps to its text by other labels.
    """
    texts, steps = _on_the_way(ends, arrivals)
    into: list[list[int]] = [[] for _ in texts]
    for number, (_source, _label, target) in enumerate(steps):
        into[target].append(number)
    before = [[number, len(steps) + source,
               *(other for other in into[source] if steps[other][1] != label)]
              for number, (source, label, _target) in enumerate(steps)]
    before += [[len(steps) + at, *into[at]] for at in range(len(texts))]
    nowhere = len(before)
    width = max(map(len, before))
    table = np.array([states + [nowhere] * (width - len(states)) for states in before])
    labels = np.array([label for _, label, _ in steps] + [blank] * len(texts))

    scores = np.full(nowhere + 1, -inf)
    scores[len(steps) + texts.index(root)] = 0.0
    came_from = np.empty((len(log_probs), nowhere), np.intp)
    rows = np.arange(nowhere)
    for frame, emitted in enumerate(log_probs[:, labels].astype(np.float64)):
        candidates = scores[table]
        best = candidates.argmax(axis=1)
        came_from[frame] = table[rows, best]
        scores[:-1] = candidates[rows, best] + emitted
    last = [state for at in range(len(ends)) for state in (len(steps) + at, *into[at])]
    state = max(last, key=lambda state: scores[state])
    path = np.empty(len(log_probs), np.uint32)
    for frame in reversed(range(len(path))):
        path[frame] = labels[state]
        state = came_from[frame, state]
    return path


def _on_the_way(
    ends: Sequence[_Text], arrivals: _Arrivals
) -> tuple[list[_Text], list[tuple[int, int, int]]]:
    """The texts from which the search came to `ends`, these first, and the steps between them:
    (index of a text, label, index of the text that it makes)."""
    texts, place = list(ends), {text: at for at, text in enumerate(ends)}
    steps = []
    for target, text in enumerate(texts):  # grows
        for source, label in arrivals[text]:
            if source not in place:
                place[source] = len(texts)
                texts.append(source)
            steps.append((place[source], label, target))
    return texts, steps
