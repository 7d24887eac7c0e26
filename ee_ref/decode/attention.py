"""Searches for the labels that an attention decoder says, each from those before it.

A decoder is asked in steps: the newest label of every hypothesis goes in, the log-probabilities of
the next one come out. Greedy decoding is a beam of one. Beside the decoder the CTC head of the same
exit may be asked what it thinks of each sentence (Watanabe et al., doi:10.1109/JSTSP.2017.2763455).
docs/decoding.md has the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..checks import check_count, check_number
from ..errors import ArgumentError
from .hypothesis import AttentionHypothesis, checked_log_probs

if TYPE_CHECKING:
    from ..families.aed import Steps

MAX_PENALTY = 10.0
MAX_BEAM_WIDTH = 100
"""Hypotheses side by side: each has keys and values of its own."""

END, AUTHORS = "end", "authors"
RULES = (END, AUTHORS)
"""When a sentence is over: at its end, or as the authors' search has it."""

AUTHORS_LEAST = 300
"""Steps before which the authors' search lets no sentence end."""


class SpecialLabels(NamedTuple):
    """Labels that are no text: what begins a sentence, what ends one, what follows the end, and the
    CTC blank."""

    start: int
    end: int
    pad: int
    blank: int


@dataclass(frozen=True)
class AttentionSearch:
    """How sentences are searched for.

    beam_width: hypotheses side by side; 1 is greedy decoding. n_best: how many to give, at most
    beam_width. rule: of RULES. With "end" a hypothesis is over with the label of the end, or of
    padding, and its score is the sum of its log-probabilities by ((5 + labels) / 6) **
    length_penalty (Wu et al., arXiv:1609.08144). The search is over when no
    hypothesis that goes on can come before the n_best that are over. With "authors" the
    log-probabilities of step i, from 1, are divided by ((5 + i) / 6) ** length_penalty, no sentence
    ends before AUTHORS_LEAST steps, and labels behind an end are part of the result, of which those
    that are special give no text. length_penalty: None for `penalty`.
    ctc_weight: 0..1, how much the CTC head's log-probability of a sentence counts, and the
    decoder's the rest; with "end" alone.
    """

    beam_width: int = 1
    n_best: int = 1
    rule: str = END
    length_penalty: float | None = None
    ctc_weight: float = 0.0

    def __post_init__(self) -> None:
        check_count("beam_width", self.beam_width, 1, MAX_BEAM_WIDTH)
        check_count("n_best", self.n_best, 1, self.beam_width)
        if self.rule not in RULES:
            raise ArgumentError(f"rule: expected one of {RULES}, found {self.rule!r:.40}")
        check_number("length_penalty", self.penalty, 0, MAX_PENALTY)
        check_number("ctc_weight", self.ctc_weight, 0, 1)
        if self.rule == AUTHORS and self.ctc_weight:
            raise ArgumentError(f"ctc_weight: expected 0 with the rule {AUTHORS!r}, found "
                                f"{self.ctc_weight}")

    @property
    def penalty(self) -> float:
        """`length_penalty`, or that of the rule: 0.6 of "end", 1 of "authors"."""
        if self.length_penalty is not None:
            return self.length_penalty
        return 1.0 if self.rule == AUTHORS else 0.6

    def limit(self, rows: int, inputs: int) -> int:
        """The most labels of a sentence of so many encoder rows and frames of features: 12.5 a
        second and 8 more, or what the authors allow, 8.3 a second and more for short ones."""
        if self.rule == END:
            return rows // 2 + 8
        return inputs // 12 if inputs >= 200 else math.floor(30 - inputs / 40)


class _Sentence(NamedTuple):
    """A hypothesis: its labels, their log-probabilities, and what the search goes by."""

    labels: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float = 0.0

    def by(self, label: int, log_prob: float, score: float) -> _Sentence:
        """Itself with one label more."""
        return _Sentence((*self.labels, label), (*self.log_probs, log_prob), score)


def search(
    steps: Steps, special: SpecialLabels, limit: int, how: AttentionSearch,
    ctc: CtcPrefixes | None = None,
) -> list[AttentionHypothesis]:
    """The best sentences by an attention decoder, best first: at most `how.n_best`, at least one.

    limit: the most labels, 0 or more. ctc: the CTC head's opinion, where `how.ctc_weight` is not 0.
    Of equal scores the hypothesis ahead a step earlier comes first, then the lower label. Raises as
    `steps.step` does.
    """
    if how.rule == AUTHORS:
        found = _by_the_authors(steps, special, limit, how)
    else:
        found = _to_the_end(steps, special, limit, how, ctc)
    found.sort(key=lambda sentence: -sentence.score)
    return [_hypothesis(sentence, special) for sentence in found[: how.n_best]]


class Greedy:
    """Greedy decoding, no further than it is asked for: the best label after each, of equals the
    lowest, until the end, padding, or the limit."""

    def __init__(self, steps: Steps, special: SpecialLabels, limit: int) -> None:
        self._steps, self._special, self._limit = steps, special, limit
        self._entropies: list[float] = []
        self._labels: list[int] = []
        self._log_probs: list[float] = []

    def _go_on(self, steps: int | None = None) -> None:
        """To so many steps from the first one, or all."""
        most = self._limit if steps is None else min(steps, self._limit)
        ends = (self._special.end, self._special.pad)
        while len(self._labels) < most and not (self._labels and self._labels[-1] in ends):
            newest = self._labels[-1] if self._labels else self._special.start
            (row,) = self._steps.step([newest]).astype(np.float64)
            best = int(row.argmax())
            self._labels.append(best)
            self._log_probs.append(float(row[best]))
            finite = row[row > -math.inf]
            self._entropies.append(-float(np.exp(finite) @ finite) / math.log(len(row)))

    def entropy(self, steps: int) -> float:
        """Mean over the first steps, so many or as many as there are, of the entropy of the next
        label by the logarithm of their number: in [0, 1], 0 without steps."""
        self._go_on(steps)
        known = self._entropies[:steps]
        return max(0.0, sum(known) / len(known)) if known else 0.0

    def path(self) -> float:
        """exp of the mean log-probability of all labels, the end included: in [0, 1], 1 for none.
        """
        self._go_on()
        count = len(self._log_probs)
        return min(1.0, math.exp(sum(self._log_probs) / count)) if count else 1.0

    def best(self, how: AttentionSearch) -> AttentionHypothesis:
        """What `search` with such a beam of one finds."""
        self._go_on()
        score = sum(self._log_probs)
        sentence = _Sentence(tuple(self._labels), tuple(self._log_probs), score)
        return _hypothesis(_by_length(sentence, len(self._labels), how), self._special)


def _by_length(sentence: _Sentence, length: int, how: AttentionSearch) -> _Sentence:
    return sentence._replace(score=sentence.score / ((5 + length) / 6) ** how.penalty)


def _hypothesis(sentence: _Sentence, special: SpecialLabels) -> AttentionHypothesis:
    said = [(label, log_prob) for label, log_prob in zip(sentence.labels, sentence.log_probs)
            if label not in special]
    return AttentionHypothesis(tuple(label for label, _ in said), sentence.score, (),
                               sentence.labels, tuple(log_prob for _, log_prob in said))


def _to_the_end(steps: Steps, special: SpecialLabels, limit: int, how: AttentionSearch,
                ctc: CtcPrefixes | None) -> list[_Sentence]:
    """Sentences that are over, their scores by length."""
    live, over = [_Sentence()], list[_Sentence]()
    labels, parents = [special.start], [0]
    own = np.zeros(1)  # the decoder's sums, of which `score` is one share
    ends = (special.end, special.pad)

    for _ in range(limit):
        log_probs = steps.step(labels, parents).astype(np.float64)
        sums = own[:, None] + log_probs
        scores = sums if ctc is None else ctc.joined(sums, how, ends)
        going, parents, labels = [], [], []
        for row, label in _best(scores, how.beam_width):
            sentence = live[row].by(label, float(log_probs[row, label]), float(scores[row, label]))
            if label in ends:
                over.append(_by_length(sentence, len(sentence.labels), how))
            else:
                going.append(sentence)
                parents.append(row)
                labels.append(label)
        if not going and not over:  # the CTC head has no frames for another label
            break
        live = going
        best = sorted((sentence.score for sentence in over), reverse=True)
        if not live or (len(best) >= how.n_best and best[how.n_best - 1] >= _by_length(
                live[0], limit, how).score):
            return over
        own = sums[parents, labels]
        if ctc is not None:
            ctc.go_on(parents, labels)
    return over + [_by_length(sentence, len(sentence.labels), how) for sentence in live]


def _by_the_authors(steps: Steps, special: SpecialLabels, limit: int, how: AttentionSearch
                    ) -> list[_Sentence]:
    """Sentences of `limit` steps, and those that ended after AUTHORS_LEAST."""
    live, over = [_Sentence()], list[_Sentence]()
    labels, parents = [special.start], [0]
    for number in range(limit):
        log_probs = steps.step(labels, parents).astype(np.float64)
        before = np.array([sentence.score for sentence in live])
        scores = before[:, None] + log_probs / ((6 + number) / 6) ** how.penalty
        going, parents, labels = [], [], []
        for row, label in _best(scores, how.beam_width - len(over)):
            sentence = live[row].by(label, float(log_probs[row, label]), float(scores[row, label]))
            if label == special.end and number > AUTHORS_LEAST:
                over.append(sentence)
            else:
                going.append(sentence)
                parents.append(row)
                labels.append(label)
        live = going
        if not live:
            break
    return over + live


def _best(scores: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(row, label) of the `count` best scores (rows, vocab), best first; none that is -inf."""
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    return [divmod(int(index), scores.shape[1]) for index in order if flat[index] > -math.inf]


class CtcPrefixes:
    """What a CTC head thinks of the hypotheses of a search: the probability that what it hears
    begins with their labels, summed over alignments.

    log_probs: (T, V) of the head, T at least 1. silent: labels that are no text, which count as
    blanks.
    """

    def __init__(self, log_probs: np.ndarray, blank: int, silent: Collection[int]) -> None:
        log_probs = checked_log_probs(log_probs, blank).astype(np.float64)
        self._silent = sorted({blank, *silent})
        self._blank = np.logaddexp.reduce(log_probs[:, self._silent], axis=1)  # (T,)
        self._labels = log_probs.T  # (V, T)
        # Of each hypothesis: its last label, and for each frame the log-probability of the
        # alignments up to there that end in it, and in a blank.
        self._last = np.array([-1])
        self._in_label = np.full((1, len(log_probs)), -math.inf)
        self._in_blank = np.cumsum(self._blank)[None]
        self._grown: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def joined(self, sums: np.ndarray, how: AttentionSearch, ends: Sequence[int]) -> np.ndarray:
        """(hypotheses, vocab) scores of both; -inf for labels that are too bad for the decoder to
        be tried, as ends always are.

        sums: the decoder's log-probabilities of the same.
        """
        scores = np.full(sums.shape, -math.inf)
        tried = min(sums.shape[1], 2 * how.beam_width + 8)
        self._grown = {}
        for row, own in enumerate(sums):
            labels = np.union1d(np.argsort(-own, kind="stable")[:tried], ends)
            ended = np.isin(labels, ends)
            prefix = np.full(len(labels), -math.inf)
            prefix[ended] = np.logaddexp(self._in_label[row, -1], self._in_blank[row, -1])
            spoken = ~ended & ~np.isin(labels, self._silent)
            if spoken.any():
                prefix[spoken] = self._grow(row, labels[spoken])
            scores[row, labels] = (1 - how.ctc_weight) * own[labels] + how.ctc_weight * prefix
        return scores

    def _grow(self, row: int, labels: np.ndarray) -> np.ndarray:
        """Log-probabilities of the prefixes of a hypothesis and one of `labels` more."""
        emitted = self._labels[labels]  # (n, T)
        frames = emitted.shape[1]
        either = np.logaddexp(self._in_label[row], self._in_blank[row])
        before = np.where((labels == self._last[row])[:, None], self._in_blank[row], either)
        in_label, in_blank = np.full((2, *emitted.shape), -math.inf)
        if self._last[row] < 0:
            in_label[:, 0] = emitted[:, 0]
        for t in range(1, frames):
            in_label[:, t] = np.logaddexp(in_label[:, t - 1], before[:, t - 1]) + emitted[:, t]
            in_blank[:, t] = np.logaddexp(in_label[:, t - 1], in_blank[:, t - 1]) + self._blank[t]
        for place, label in enumerate(labels.tolist()):
            self._grown[row, label] = in_label[place], in_blank[place]
        begun = before[:, :-1] + emitted[:, 1:]
        return np.logaddexp.reduce(np.column_stack([in_label[:, :1], begun]), axis=1)

    def go_on(self, parents: Sequence[int], labels: Sequence[int]) -> None:
        """Each hypothesis becomes one of those tried last, with a label more."""
        found = [self._grown[pair] for pair in zip(parents, labels)]
        self._last = np.array(labels)
        self._in_label = np.array([in_label for in_label, _ in found])
        self._in_blank = np.array([in_blank for _, in_blank in found])


def placed(
    found: AttentionHypothesis, log_probs: np.ndarray, blank: int, silent: Collection[int] = ()
) -> AttentionHypothesis:
    """The hypothesis with a frame for each token: that of its best alignment by the CTC head of the
    same exit where it is most probable. Where there are too few frames for that, they are spread.

    log_probs: (T, V), T at least 1. silent: labels that are no text, which count as blanks.
    """
    tokens, rows = found.tokens, len(log_probs)
    frames: tuple[int, ...] = ()
    if tokens:
        frames = _aligned(tokens, log_probs, sorted({blank, *silent}))
    if tokens and not frames:
        frames = tuple(np.linspace(0, rows - 1, len(tokens)).astype(int).tolist())
    return AttentionHypothesis(tokens, found.score, frames, found.emitted, found.log_probs)


def _aligned(tokens: Sequence[int], log_probs: np.ndarray, silent: Sequence[int]
             ) -> tuple[int, ...]:
    """The frames of the tokens in the best path through blank, token, blank, ...; () for none."""
    rows, places = len(log_probs), 2 * len(tokens) + 1
    scores = np.asarray(log_probs, np.float64)
    emitted = np.empty((rows, places))
    emitted[:, 0::2] = scores[:, silent].max(axis=1)[:, None]
    emitted[:, 1::2] = scores[:, list(tokens)]
    skips = np.zeros(places, bool)  # whether the blank before a token may be left out
    skips[3::2] = np.array(tokens[1:]) != np.array(tokens[:-1])
    best = np.full(places, -math.inf)
    best[:2] = emitted[0, :2]
    came = np.zeros((rows, places), int)
    for t in range(1, rows):
        ways = np.full((3, places), -math.inf)
        ways[0], ways[1, 1:], ways[2, 2:] = best, best[:-1], best[:-2]
        ways[2, ~skips] = -math.inf
        came[t] = ways.argmax(axis=0)
        best = ways.max(axis=0) + emitted[t]
    place = places - 1 - int(best[-1] < best[-2])
    if best[place] == -math.inf:
        return ()
    frames = [-1] * len(tokens)
    for t in range(rows - 1, -1, -1):
        token = place // 2
        if place % 2 and (frames[token] < 0
                          or scores[t, tokens[token]] >= scores[frames[token], tokens[token]]):
            frames[token] = t
        place -= int(came[t, place])
    return tuple(frames)
