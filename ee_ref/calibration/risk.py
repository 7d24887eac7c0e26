"""Bounds on the errors that stopping early adds, without any assumption on their distribution.

The loss of an utterance is what stopping adds to its word error rate, at least 0 and at most 1:

    L = min(1, max(0, errors at the exit chosen - errors at the last exit) / words)

(words at least 1), so its mean is at least what the mean over utterances of the capped rate rises.
"Learn then test" (Angelopoulos et al., arXiv:2110.01052): for each policy of a path the hypothesis
"its mean loss is above alpha" is tested on utterances that the policies were not fitted to, from
the safest policy to the most daring, up to the first that cannot be rejected at level delta. The
chance that the policy so found has a mean loss above alpha is then at most delta, whatever the
distribution, provided that the utterances are drawn independently from the one it is used on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError


def added_loss(word_errors: np.ndarray, words: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """(n,) L of each utterance. word_errors (n, K); words (n,); choice (n,) exits from 0."""
    added = word_errors[np.arange(len(choice)), choice] - word_errors[:, -1]
    return np.clip(added / np.maximum(words, 1), 0.0, 1.0)


def p_value(mean: float, n: int, alpha: float) -> float:
    """The p-value of "the expected loss is above alpha", given n losses in [0, 1] with this mean.

    The smaller of Hoeffding's bound in its form with relative entropy and Bentkus' bound (Bates et
    al., arXiv:2101.02703, section 3.1); valid for every distribution on [0, 1].
    """
    from scipy.special import rel_entr
    from scipy.stats import binom

    if mean >= alpha:
        return 1.0
    hoeffding = math.exp(-n * (rel_entr(mean, alpha) + rel_entr(1 - mean, 1 - alpha)))
    # n * mean is a sum of losses; rounding must not lift a whole number to the next.
    bentkus = math.e * float(binom.cdf(math.ceil(n * mean - 1e-9), n, alpha))
    return min(1.0, hoeffding, bentkus)


def smallest_set(alpha: float, delta: float) -> int:
    """Utterances below which no policy can be proved, not even one that adds no error at all."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def proved(losses: Sequence[np.ndarray], alpha: float, delta: float) -> int:
    """How many policies of a path are proved to add at most alpha, with confidence 1 - delta.

    losses: for each policy, from the safest on, (n,) losses on utterances not used to fit it.
    0 says that none is; full depth adds nothing and needs no proof. Raises ArgumentError for alpha
    or delta outside 0..1, or when there are fewer utterances than `smallest_set`.
    """
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:
            raise ArgumentError(f"{name}: expected a number between 0 and 1, found {value!r}")
    need = smallest_set(alpha, delta)
    for number, loss in enumerate(losses):
        if len(loss) < need:
            raise ArgumentError(
                f"calibration set too small: to prove an added error of at most {100 * alpha:g} % "
                f"with confidence {1 - delta:g} expected at least {need} utterances that no policy "
                f"was fitted to, found {len(loss)}")
        if p_value(float(np.mean(loss)), len(loss), alpha) > delta:
            return number
    return len(losses)
