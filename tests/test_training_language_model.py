"""The recipe of the bundled 3-gram: probabilities sum to one, before and after pruning."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from ee_ref.decode import language_model
from ee_ref.errors import ArgumentError

RECIPE = Path(__file__).parent.parent / "training" / "language_model.py"


@pytest.fixture(scope="module")
def recipe():
    if not RECIPE.exists():
        pytest.skip("no training/ beside the tests")
    spec = importlib.util.spec_from_file_location("recipe_of_the_language_model", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(RECIPE.parent))  # of the modules that it imports
    spec.loader.exec_module(module)
    return module


def texts(count=4000):
    """Sentences of words that depend on the word before."""
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(40)]
    found = []
    for _ in range(count):
        at, sentence = 0, []
        for _ in range(rng.integers(1, 9)):
            at = (at * 3 + int(rng.zipf(1.6))) % len(words)
            sentence.append(words[at])
        found.append(sentence)
    return found


@pytest.mark.parametrize("cost", [0.0, 1e-5, 1e-4])
def test_probabilities_sum_to_one(recipe, tmp_path, cost):
    words, p1, two, three = recipe.trigrams(texts(), 2)
    path = tmp_path / "model.arpa"
    recipe.write_arpa(path, words, p1, *recipe.pruned(p1, two, three, cost))
    model = language_model.read(path)
    rng = np.random.default_rng(1)
    for _ in range(60):
        state = model.start
        for _ in range(rng.integers(0, 4)):
            state = model.score(state, int(rng.integers(3, len(words))))[1]
        total = sum(math.exp(model.score(state, id)[0]) for id in range(len(words)) if id != 1)
        assert total == pytest.approx(1, abs=2e-3)


def test_pruning_leaves_less_that_says_almost_as_much(recipe, tmp_path):
    train, held_out = texts()[:3600], texts()[3600:]
    words, p1, two, three = recipe.trigrams(train, 2)
    sizes, found = [], []
    for cost in (0.0, 1e-4):
        path = tmp_path / "model.arpa"
        kept = recipe.pruned(p1, two, three, cost)
        recipe.write_arpa(path, words, p1, *kept)
        model = language_model.read(path)
        sizes.append(len(kept[0].p) + len(kept[1].p))
        found.append(sum(map(model.log_prob, held_out)))
    assert sizes[1] < sizes[0] / 2
    assert found[1] > found[0] * 1.05


def test_a_model_that_fits(recipe, tmp_path):
    found = recipe.trigrams(texts(), 2)
    data = recipe.fitting(*found, 20_000)
    assert 19_000 < len(data) <= 20_000
    (tmp_path / "model.lm").write_bytes(data)
    assert set(language_model.read(tmp_path / "model.lm").words) == set(found[0])
    with pytest.raises(ArgumentError, match=r"bytes: expected \d+ or more .* found 500"):
        recipe.fitting(*found, 500)


def test_what_is_kept_apart_is_left_out(recipe):
    line = "a b c d e f g h".split()
    apart = [["x", *line[:7]], ["whole", "sentence"]]
    assert recipe.left_out([line, line[1:], ["whole", "sentence"], ["whole"]], apart) == [
        line[1:], ["whole"]]
