"""CTC prefix beam search that adds up alignments.

A *prefix* is a token sequence with blanks and repeats removed. Many alignments (one label a frame)
collapse to the same prefix, and its probability is the sum over them: the search keeps, for each
prefix, log p of the alignments that end in blank and of those that end in its last token, because a
repeat of the last token is a new token only after a blank (Hannun et al., arXiv:1408.2873).

Beside the sums each prefix keeps its best single alignment (Viterbi), which says at which frame
each token was emitted.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np

from ..checks import check_count
from ..errors import ArgumentError
from .hypothesis import Hypothesis, checked_log_probs

MAX_BEAM_WIDTH = 10_000
"""Prefixes kept, of some hundred bytes each; no model gains by more than a hundred."""

_NO_TOKEN = -1


class _Path(NamedTuple):
    """A best alignment so far: its log-probability and where it emitted its tokens.

    emissions is a linked list (frame, earlier emissions), newest first. peak is the log-probability
    of the newest token at its frame.
    """

    score: float
    emissions: tuple | None
    peak: float = -inf


_NO_PATH = _Path(-inf, None)


class _Prefix:
    """A token sequence as a node of a trie, so that equal sequences are one object.

    blank_path, token_path: its best alignments that end in blank and in its last token.
    """

    __slots__ = ("parent", "token", "children", "blank_path", "token_path")
    blank_path: _Path
    token_path: _Path

    def __init__(self, parent: _Prefix | None, token: int):
        self.parent, self.token = parent, token
        self.children: dict[int, _Prefix] = {}

    def child(self, token: int) -> _Prefix:
        if token not in self.children:
            self.children[token] = _Prefix(self, token)
        return self.children[token]

    def tokens(self) -> tuple[int, ...]:
        tokens, prefix = [], self
        while prefix.parent is not None:
            tokens.append(prefix.token)
            prefix = prefix.parent
        return tuple(reversed(tokens))

    def best_path(self) -> _Path:
        return _better(self.token_path, self.blank_path)


def beam_search(
    log_probs: np.ndarray,
    beam_width: int = 10,
    n_best: int = 1,
    blank: int = 0,
    token_threshold: float | None = None,
    top_tokens: int | None = None,
) -> list[Hypothesis]:
    """The most probable token sequences, best first; at most `n_best`, at least one.

    log_probs: (T, V) natural logs; -inf is allowed.
    beam_width: prefixes kept after each frame. The search is exact when no prefix is ever dropped.
    n_best: hypotheses returned, at most beam_width. Fewer come back when fewer have a probability.
    token_threshold: in each frame only labels within this natural-log distance of the frame's best
    are considered. top_tokens: in each frame only this many labels, the most probable ones, are.
    The others, blank included, count as impossible in that frame; the best label never does.

    score is the log of the sum over the alignments kept (added in float64, not the maximum of
    them), so the exponentials of the scores sum to at most 1. Ties go to sequences already in the
    beam before new ones, then to the one that was (or whose beginning was) ahead a frame earlier,
    then to the lower token.

    T = 0 gives [Hypothesis((), 0.0, ())]. When every alignment is impossible (a frame all -inf) the
    result is [Hypothesis((), -inf, ())]. Raises ArgumentError for NaN, values above 0, another
    shape or arguments out of range.
    """
    log_probs = checked_log_probs(log_probs, blank)
    check_count("beam_width", beam_width, 1, MAX_BEAM_WIDTH)
    check_count("n_best", n_best, 1, beam_width)
    if top_tokens is not None:
        check_count("top_tokens", top_tokens, 1)
    if token_threshold is not None and not token_threshold >= 0:
        raise ArgumentError(f"token_threshold: expected at least 0, found {token_threshold!r}")

    empty = _Prefix(None, _NO_TOKEN)
    empty.blank_path, empty.token_path = _Path(0.0, None), _NO_PATH
    # The beam, best first: prefixes, and the log-probability of their alignments by how they end.
    prefixes = [empty]
    in_blank, in_token = np.zeros(1), np.full(1, -inf)

    for frame, row in enumerate(log_probs.astype(np.float64)):
        row = _pruned(row, token_threshold, top_tokens)
        prefixes, in_blank, in_token = _advance(
            frame, row, blank, beam_width, prefixes, in_blank, in_token
        )
        if not prefixes:
            return [Hypothesis((), -inf, ())]

    scores = np.logaddexp(in_blank, in_token)
    return [
        Hypothesis(prefix.tokens(), float(score), _frames(prefix.best_path()))
        for prefix, score in zip(prefixes[:n_best], scores)
    ]


def _pruned(row: np.ndarray, threshold: float | None, top: int | None) -> np.ndarray:
    """`row` (V,) with the labels that the search is not to consider at -inf."""
    if threshold is not None:
        row = np.where(row >= row.max() - threshold, row, -inf)
    if top is not None and top < len(row):
        kept = np.argsort(-row, kind="stable")[:top]
        pruned = np.full_like(row, -inf)
        pruned[kept] = row[kept]
        row = pruned
    return row


def _advance(
    frame: int,
    row: np.ndarray,
    blank: int,
    beam_width: int,
    prefixes: list[_Prefix],
    in_blank: np.ndarray,
    in_token: np.ndarray,
) -> tuple[list[_Prefix], np.ndarray, np.ndarray]:
    """The beam after one more frame. row: (V,) float64; in_blank, in_token: (B,)."""
    total = np.logaddexp(in_blank, in_token)
    last = np.array([prefix.token for prefix in prefixes])
    row_last = np.where(last == _NO_TOKEN, -inf, row[last])

    # Staying: one more blank, or the last token held for one more frame.
    stay_blank = total + row[blank]
    stay_token = in_token + row_last

    # Growing by a token. The beam_width + 1 most probable labels are enough: for each of them, but
    # perhaps the last token, some candidate is ahead of the growths by less probable labels (for
    # blank, the prefix itself).
    tokens = np.argsort(-row, kind="stable")[: beam_width + 1]
    grown = total[:, None] + row[tokens]
    grown[:, tokens == blank] = -inf
    repeats = last[:, None] == tokens
    grown[repeats] = np.broadcast_to((in_blank + row_last)[:, None], grown.shape)[repeats]

    # Where a prefix grows into another one of the beam, both are the same sequence: they merge.
    position: dict[_Prefix | None, int] = {prefix: i for i, prefix in enumerate(prefixes)}
    parents = [position.get(prefix.parent) for prefix in prefixes]
    for index, parent in enumerate(parents):
        if parent is not None:
            repeat = last[parent] == last[index]
            source = in_blank[parent] if repeat else total[parent]
            stay_token[index] = np.logaddexp(stay_token[index], source + row_last[index])
            grown[parent, tokens == last[index]] = -inf

    scores = np.concatenate([np.logaddexp(stay_blank, stay_token), grown.ravel()])
    chosen = np.argsort(-scores, kind="stable")[:beam_width]
    chosen = chosen[scores[chosen] > -inf]

    kept, paths = [], []
    next_blank, next_token = np.full(len(chosen), -inf), scores[chosen]
    for slot, choice in enumerate(chosen.tolist()):
        if choice < len(prefixes):
            prefix, parent = prefixes[choice], parents[choice]
            next_blank[slot], next_token[slot] = stay_blank[choice], stay_token[choice]
            best = prefix.best_path()
            blank_path = _Path(best.score + row[blank], best.emissions)
            token_path = _held(prefix.token_path, frame, row_last[choice])
            if parent is not None:
                emitted = _emitted(prefixes[parent], prefix.token, frame, row_last[choice])
                token_path = _better(token_path, emitted)
        else:
            index, column = divmod(choice - len(prefixes), len(tokens))
            token = int(tokens[column])
            prefix = prefixes[index].child(token)
            blank_path = _NO_PATH
            token_path = _emitted(prefixes[index], token, frame, row[token])
        kept.append(prefix)
        paths.append((blank_path, token_path))
    # Stored only now: until here the alignments of the frame before were needed.
    for prefix, (blank_path, token_path) in zip(kept, paths):
        prefix.blank_path, prefix.token_path = blank_path, token_path
    return kept, next_blank, next_token


def _better(first: _Path, second: _Path) -> _Path:
    """The more probable of two alignments, the first of equals."""
    return second if second.score > first.score else first


def _held(path: _Path, frame: int, log_prob: float) -> _Path:
    """`path` with its newest token held at `frame`: its emission frame, if it peaks there."""
    if log_prob > path.peak and path.emissions is not None:
        return _Path(path.score + log_prob, (frame, path.emissions[1]), log_prob)
    return _Path(path.score + log_prob, path.emissions, path.peak)


def _emitted(parent: _Prefix, token: int, frame: int, log_prob: float) -> _Path:
    """The best alignment of `parent` that may be followed by a new `token`, with it at `frame`."""
    path = parent.blank_path if parent.token == token else parent.best_path()
    return _Path(path.score + log_prob, (frame, path.emissions), log_prob)


def _frames(path: _Path) -> tuple[int, ...]:
    frames, emissions = [], path.emissions
    while emissions is not None:
        frame, emissions = emissions
        frames.append(frame)
    return tuple(reversed(frames))
