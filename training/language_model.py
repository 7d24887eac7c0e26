"""The English 3-gram of the package: counts of books, Kneser-Ney, pruned until the file is small.

    python training/language_model.py books.txt.xz ee_ref/assets/english.lm --bytes 3000000

The text has one sentence a line, words separated by spaces, as the labels of the model write them.

Source: interpolated modified Kneser-Ney (Chen and Goodman 1998), relative-entropy pruning (Stolcke
1998) with the probability of a history from its counts, as Kneser-Ney's own lower orders are no
probabilities of histories (Chelba et al. 2010).
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora import known_from
from ee_ref.decode import language_model
from ee_ref.errors import ArgumentError
from ee_ref.evaluation import manifest
from weights_io import files

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
SHARED_RUN = 7
"""Words in a row that a sentence may not share with a transcript that is kept apart."""


def sentences(path: Path) -> list[list[str]]:
    """The words of every line of a text, plain or compressed by xz."""
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [words for line in file if (words := line.split())]


def left_out(texts: Sequence[list[str]], kept_apart: Iterable[list[str]]) -> list[list[str]]:
    """`texts` but for those that are, or share SHARED_RUN words in a row with, one kept apart."""
    is_known = known_from(kept_apart, SHARED_RUN)
    return [words for words in texts if not is_known(words)]


@dataclass
class Order:
    """The n-grams of one order, sorted. All arrays (n,) but `backoff`, which is of the order below.

    word: id of the last word. context, suffix: rows, in the order below, of the n-gram without its
    last word and without its first. count: how often it is in the text. p: its probability.
    backoff: of each row below, what is left for words that do not follow it here.
    """

    word: np.ndarray
    context: np.ndarray
    suffix: np.ndarray
    count: np.ndarray
    p: np.ndarray
    backoff: np.ndarray

    def rows(self, which: np.ndarray) -> Order:
        """The n-grams of a mask; `suffix` and `context` still count the rows below."""
        return Order(self.word[which], self.context[which], self.suffix[which], self.count[which],
                     self.p[which], self.backoff)


def trigrams(texts: Sequence[list[str]], least: int) -> tuple[list[str], np.ndarray, Order, Order]:
    """Words, their probabilities, and the 2- and 3-grams of the text, before pruning.

    least: words seen less often are unknown.
    """
    seen = Counter(word for words in texts for word in words)
    words = [UNKNOWN, BEGIN, END, *sorted(w for w, n in seen.items() if n >= least)]
    ids = {word: id for id, word in enumerate(words)}
    stream = np.array([id for text in texts for id in (1, *(ids.get(w, 0) for w in text), 2)])

    size = len(words)
    inside = stream[:-1] != 2
    pairs, pair_of, pair_count = np.unique(
        (stream[:-1] * size + stream[1:])[inside], return_inverse=True, return_counts=True)
    place = np.full(len(stream), -1)
    place[np.flatnonzero(inside)] = pair_of  # row of the pair that begins here
    first, second = place[:-1], place[1:]
    both = (first >= 0) & (second >= 0)
    triples, triple_count = np.unique((first * len(pairs) + second)[both], return_counts=True)
    context, suffix = triples // len(pairs), triples % len(pairs)

    # Below the highest order Kneser-Ney counts in how many ways an n-gram is continued to the left;
    # nothing stands left of the beginning of a sentence.
    left_of_pair = np.bincount(suffix, minlength=len(pairs))
    begins = pairs // size == 1
    left_of_word = np.bincount(pairs % size, minlength=size)

    uniform = np.full(1, 1 / (size - 1))
    zero = np.zeros(size, int)
    p1, _ = _interpolated(left_of_word, zero, uniform[zero])
    p1[1] = 0.0  # <s> is never predicted
    p2, backoff2 = _interpolated(np.where(begins, pair_count, left_of_pair), pairs // size,
                                 p1[pairs % size], size)
    p3, backoff3 = _interpolated(triple_count, context, p2[suffix], len(pairs))
    return (words, p1,
            Order(pairs % size, pairs // size, pairs % size, pair_count, p2, backoff2),
            Order(pairs[suffix] % size, context, suffix, triple_count, p3, backoff3))


def _interpolated(
    count: np.ndarray, context: np.ndarray, lower: np.ndarray, contexts: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """(p of each n-gram, what each context leaves for the order below).

    count: of each n-gram, (n,). context: its context, 0..contexts-1. lower: p of its suffix.
    """
    n = np.bincount(count, minlength=5)[:5].astype(float)
    discount = np.array([0.0, 0.5, 0.5, 0.5])  # where a small text cannot tell
    if n[1:].all():
        y = n[1] / (n[1] + 2 * n[2])
        estimated = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        discount[1:] = np.clip(estimated, 0.01, [1, 2, 3])
    taken = discount[np.minimum(count, 3)]
    total = np.bincount(context, count, contexts)
    with np.errstate(invalid="ignore"):
        backoff = np.where(total > 0, np.bincount(context, taken, contexts) / total, 1.0)
    return (count - taken) / total[context] + backoff[context] * lower, backoff


def without(order: Order, cost: float, lower: np.ndarray, history: np.ndarray,
            needed: np.ndarray) -> Order:
    """`order` without the n-grams that are missed least, its back-offs made to fit.

    cost: nats of relative entropy that an n-gram must save to stay. lower: p of each suffix by the
    order below. history: how probable each context is. needed: n-grams that must stay.
    """
    contexts = len(order.backoff)
    kept = np.bincount(order.context, order.p, contexts)
    kept_lower = np.bincount(order.context, lower, contexts)
    left, left_lower = (np.maximum(1 - total, 1e-9) for total in (kept, kept_lower))
    before = np.log(left / left_lower)
    c = order.context
    after = np.log((left[c] + order.p) / (left_lower[c] + lower))
    missed = -history[c] * (order.p * (np.log(lower) + after - np.log(order.p))
                            + (after - before[c]) * left[c])
    return _fitted(order.rows((missed > cost) | needed), lower[(missed > cost) | needed])


def _fitted(order: Order, lower: np.ndarray) -> Order:
    """`order` with back-offs that make the probabilities after each context sum to 1."""
    contexts = len(order.backoff)
    left, left_lower = (np.maximum(1 - np.bincount(order.context, p, contexts), 1e-9)
                        for p in (order.p, lower))
    order.backoff = left / left_lower
    return order


def pruned(p1: np.ndarray, two: Order, three: Order, cost: float) -> tuple[Order, Order]:
    """The 2- and 3-grams that save more than `cost`."""
    total = two.count.sum()
    three = without(three, cost, two.p[three.suffix], two.count / total,
                    np.zeros(len(three.p), bool))
    needed = np.zeros(len(two.p), bool)
    needed[three.context] = True
    history = np.bincount(two.context, two.count, len(p1)) / total
    kept = without(two, cost, p1[two.suffix], history, needed)
    # Rows of 2-grams that stay, and what a 3-gram's suffix is worth where it does not.
    stays = np.flatnonzero(np.isin(two.context * len(p1) + two.word,
                                   kept.context * len(p1) + kept.word))
    row = np.full(len(two.p), -1)
    row[stays] = np.arange(len(stays))
    by_backing_off = kept.backoff[two.context] * p1[two.suffix]
    lower = np.where(row >= 0, two.p, by_backing_off)[three.suffix]
    three = Order(three.word, row[three.context], three.suffix, three.count, three.p,
                  np.ones(len(stays)))
    return kept, _fitted(three, lower)


def write_arpa(path: Path, words: list[str], p1: np.ndarray, two: Order, three: Order) -> None:
    """The model as ARPA text."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"\\data\\\nngram 1={len(words)}\nngram 2={len(two.p)}\nngram 3={len(three.p)}\n"
                   "\n\\1-grams:\n")
        first, second, third = (np.log10(np.maximum(p, 1e-99)) for p in (p1, two.p, three.p))
        bow1, bow2 = np.log10(two.backoff), np.log10(three.backoff)
        file.writelines(f"{p:.5f}\t{word}\t{bow:.5f}\n"
                        for p, word, bow in zip(first, words, bow1))
        file.write("\n\\2-grams:\n")
        file.writelines(f"{p:.5f}\t{words[a]} {words[b]}\t{bow:.5f}\n"
                        for p, a, b, bow in zip(second, two.context, two.word, bow2))
        file.write("\n\\3-grams:\n")
        begin, middle = two.context[three.context], two.word[three.context]
        file.writelines(f"{p:.5f}\t{words[a]} {words[b]} {words[c]}\n"
                        for p, a, b, c in zip(third, begin, middle, three.word))
        file.write("\n\\end\\\n")


def fitting(words: list[str], p1: np.ndarray, two: Order, three: Order, limit: int) -> bytes:
    """The packed model of at most `limit` bytes that keeps most.

    Raises ArgumentError when all that it tries are larger.
    """
    low, high, best = -20.0, -10.0, b""  # log of the cost
    with tempfile.TemporaryDirectory() as folder:
        arpa = Path(folder) / "model.arpa"
        for _ in range(10):
            cost = (low + high) / 2
            write_arpa(arpa, words, p1, *pruned(p1, two, three, float(np.exp(cost))))
            data = language_model.packed(language_model.read(arpa), quantise=True)
            if len(data) > limit:
                low = cost
            else:
                high, best = cost, data
    if not best:
        raise ArgumentError(f"bytes: expected {len(data)} or more for this text, found {limit}")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path, help="one sentence a line, .xz too")
    parser.add_argument("output", type=Path)
    parser.add_argument("--least", type=int, default=2, help="words seen less often are unknown")
    parser.add_argument("--bytes", type=int, default=3_000_000, help="size of the file")
    parser.add_argument("--leave-out", type=Path, nargs="*", default=[], metavar="M",
                        help="manifests (as of `ee-ref eval`) of transcripts that are left out")
    args = parser.parse_args()
    texts = sentences(args.text)
    apart = [recording.text.split() for path in args.leave_out
             for recording in manifest.read(path)]
    kept = left_out(texts, apart)
    print(f"{len(texts)} sentences, {len(texts) - len(kept)} left out")
    data = fitting(*trigrams(kept, args.least), args.bytes)
    files.write_atomic(args.output, [data], overwrite=True)
    model = language_model.read(args.output)
    print(f"{model!r}, {len(data)} bytes")


if __name__ == "__main__":
    main()
