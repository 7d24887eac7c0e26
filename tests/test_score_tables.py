"""Tables of scores measured elsewhere: reading, and eval and calibrate --scores."""

import csv
import io
import itertools
import json
import re

import numpy as np
import pytest

from ee_ref import cli, exits
from ee_ref.calibration import fit, points_file
from ee_ref.errors import ArgumentError, FileError
from ee_ref.evaluation import figures, score_table
from tests.test_evaluation import table

SMALL = """\
utterance,words,speaker,entropy_1,errors_1,errors_2,margin_1,margin_2,entropy_2
a,4,x,0.5,2,0,-1.5,2,0.125
b,2,y,0.25,1,1,-0.5,3,0.0625
"""


def written(folder, text, name="scores.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def made_up(folder, name="scores.csv", n=300, seed=0, more=""):
    """Hard utterances need depth, and scores say so."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        words = int(rng.integers(2, 20))
        need = rng.choice(4, p=(0.4, 0.3, 0.2, 0.1))  # the exit, from 0, from which on it is easy
        row = {"utterance": f"u{number}", "words": words, "speaker": f"s{number % 30}",
               "kind": "long" if words > 10 else "short"}
        for exit in range(1, 5):
            lacking = max(0, need - exit + 1)
            rate = 0.05 + 0.15 * lacking
            row[f"errors_{exit}"] = rng.binomial(words, rate)
            row[f"slow_errors_{exit}"] = rng.binomial(words, rate / 2)
            row[f"entropy_{exit}"] = 0.01 * rate * rng.lognormal(0, 0.3)
            row[f"posterior_{exit}"] = (1 - rate) ** (words / 10) * rng.uniform(0.8, 1)
            row[f"{more or 'guess'}_{exit}"] = rng.standard_normal() - need
        rows.append(row)
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return written(folder, out.getvalue(), name)


def test_what_a_table_says(tmp_path):
    for text in (SMALL, "\ufeff" + SMALL.replace("\n", "\r\n"), SMALL + "\n"):
        found = score_table.read(written(tmp_path, text))
        part = found.table
        assert part.ids == ("a", "b") and found.errors == "errors"
        assert part.word_errors.tolist() == [[2, 0], [1, 1]]
        assert part.words.tolist() == part.seconds.tolist() == [4, 2]
        assert part.scores["entropy"].tolist() == [[0.5, 0.125], [0.25, 0.0625]]
        assert part.scores["margin"].tolist() == [[-1.5, 2], [-0.5, 3]]
        assert part.scores["words"].tolist() == [[4, 4], [2, 2]]
        assert part.layers.tolist() == [1, 2] and dict(found.fields) == {"speaker": ("x", "y")}
        assert found.groups("speaker") == ["x", "y"] and found.groups("room") == ["a", "b"]
        assert found.where("speaker=y,z").table.ids == ("b",)
    deep = score_table.read(written(tmp_path, SMALL), layers=[3, 12]).table
    assert deep.layers.tolist() == [3, 12] and deep.costs.tolist() == [[12, 48], [6, 24]]
    lines = SMALL.splitlines()
    timed = [f"{line},{more}" for line, more in zip(lines, ("seconds", "1.5", "0.5"))]
    timed = score_table.read(written(tmp_path, "\n".join(timed))).table
    assert timed.seconds.tolist() == [1.5, 0.5] and timed.scores["seconds"].tolist() == [
        [1.5, 1.5], [0.5, 0.5]]
    with pytest.raises(ArgumentError, match="line 3, seconds: expected a positive number"):
        score_table.read(written(tmp_path, "\n".join(
            f"{line},{more}" for line, more in zip(lines, ("seconds", "1.5", "0")))))


@pytest.mark.parametrize("old, new, message", [
    ("utterance,", "id,", "line 1: expected a column utterance, found id, words"),
    (",words", ",length", "line 1: expected a column words"),
    ("entropy_2", "entropy_1", "a name for every column, each once, found 'entropy_1'"),
    ("entropy_2", "entropy_3", "entropy: expected exits 1 to 3.* found none for exit 2"),
    ("entropy_2", "room", "entropy: expected exits 1 to 2.* found none for exit 2"),
    ("entropy_2", "words_2", "words: expected one for all exits"),
    ("errors_1,errors_2", "wrong_1,wrong_2", "expected columns errors_1, errors_2"),
    ("errors_1,errors_2", "errors_1,room", "errors: expected exits 1 to 2"),
    ("0.125", "nan", "line 2, entropy_2: expected an entropy, .*found 'nan'"),
    ("0.125", "", "line 2, entropy_2: .*found ''"),
    ("0.0625", "-0.0625", "line 3, entropy_2: .*sign turned.*found '-0.0625'"),
    ("-1.5", "inf", "line 2, margin_1: expected a number of float32, found 'inf'"),
    ("-1.5", "1_5", "line 2, margin_1: expected a number of float32, found '1_5'"),
    ("-1.5", "1e39", "line 2, margin_1: expected a number of float32, found '1e39'"),
    ("b,2", "b,0", "line 3, words: expected a whole number, 1 or more, found '0'"),
    ("b,2", "b,2.5", "line 3, words: expected a whole number"),
    ("0.5,2,0", "0.5,-2,0", "line 2, errors_1: expected a whole number, 0 or more, found '-2'"),
    ("b,2", "a,2", "line 3: utterance 'a': expected once, found before in .*line 2"),
    ("b,2", "b", "line 3: expected 9 fields, as in the first line, found 8"),
    ("x,", '"x,', "expected CSV"),
    (SMALL.partition("\n")[2], "", "expected utterances, found none"),
    (SMALL, "", "line 1: expected a column utterance, found none"),
])
def test_what_is_no_table(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(ArgumentError, match=message):
        score_table.read(written(tmp_path, SMALL.replace(old, new, 1)))


def test_posteriors_are_shares(tmp_path):
    text = SMALL.replace("margin", "posterior")
    with pytest.raises(ArgumentError, match=r"line 2, posterior_1: expected a number in \[0, 1\]"):
        score_table.read(written(tmp_path, text))


def test_a_missing_file_and_choices_that_do_not_fit(tmp_path):
    with pytest.raises(FileError):
        score_table.read(tmp_path / "none.csv")
    path = written(tmp_path, SMALL)
    with pytest.raises(ArgumentError, match="errors: expected one of errors, found 'e_errors'"):
        score_table.read(path, errors="e_errors")
    for layers in ([1], [2, 2], [0, 1], [1, 2, 3]):
        with pytest.raises(ArgumentError, match="layers: expected 2 numbers that rise"):
            score_table.read(path, layers=layers)
    both = written(tmp_path, SMALL.replace("margin", "slow_errors").replace(
        "-1.5,2,", "1,2,").replace("-0.5,3,", "1,3,"))
    with pytest.raises(ArgumentError, match="expected one of errors, slow_errors, found none"):
        score_table.read(both)
    assert score_table.read(both, "slow_errors").table.word_errors.tolist() == [[1, 2], [1, 3]]
    with pytest.raises(ArgumentError, match=r"room: expected a column of text \(speaker\)"):
        score_table.read(both, "errors").values("room")


def test_the_oracle_at_a_depth_is_the_best_of_all_choices():
    rng = np.random.default_rng(0)
    for _ in range(5):
        part = table(rng.integers(0, 4, (5, 3)), [4] * 5, rng.integers(1, 5, 5), [1, 2, 4])
        every = [(np.average(part.layers[list(choice)], weights=part.seconds),
                  part.word_errors[np.arange(5), list(choice)].sum())
                 for choice in itertools.product(range(3), repeat=5)]
        for depth in (1.0, 1.3, 2.0, 3.1, 4.0):
            mixed = min(e1 + (depth - d1) / (d2 - d1) * (e2 - e1) for d1, e1 in every
                        for d2, e2 in every if d1 <= depth <= d2 and d1 < d2)
            fewest = min(errors for found, errors in every if found <= depth)
            found = figures.oracle_errors(part, depth).sum()
            assert found == pytest.approx(min(mixed, fewest))
    alone = table([[1], [2]], [3, 3])
    assert figures.oracle_errors(alone, 1.0).tolist() == [1, 2]


def test_the_share_of_the_way_to_the_oracle():
    """Half of the utterances need exit 2: whoever sends those there is the oracle."""
    part = table([[0, 0], [1, 0]] * 10, [1] * 20)
    perfect, useless, wrong = (np.array(choice * 10) for choice in ([0, 1], [0, 0], [1, 0]))
    assert figures.against_mixture(part, perfect)["closed"][0] == 100
    assert figures.against_mixture(part, wrong)["closed"][0] == -100
    assert figures.against_mixture(part, useless)["closed"] is None, "there is no way to go"


def test_every_family_that_the_scores_allow(tmp_path):
    part = score_table.read(made_up(tmp_path), "errors").table
    assert set(fit.families(part)) == {
        "fixed", "entropy", "entropy, per exit", "posterior", "posterior, per exit", "worth"}
    assert set(fit.parts_of_worth(part)) == {
        "worth, entropy alone", "worth, posterior alone", "worth, guess alone",
        "worth, words unknown"}
    [rule] = fit.families(part)["worth"](part, fit.prices(part)[20:21])
    assert rule.scores == ("entropy", "posterior", "guess") and rule.length == "words"


def test_calibrate_and_judge_another_table(tmp_path, capsys):
    fitted, other = made_up(tmp_path), made_up(tmp_path, "other.csv", seed=1)
    points = tmp_path / "points.json"
    assert cli.main(["calibrate", "--scores", str(fitted), "--errors", "slow_errors", "--layers",
                     "2,4,6,8", "--point", "half=cost 0.5", "-o", str(points), "--json",
                     str(tmp_path / "report.json")]) == 0
    out = capsys.readouterr().out
    assert "worth, words unknown" in out and "% of the way to the oracle" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["levels"]) == {"0.5", "0.6", "0.7"}
    assert report["points"]["half"]["depth"] <= 4
    stored = points_file.read(points)
    assert (stored.errors, stored.layers) == ("slow_errors", (2, 4, 6, 8))
    assert set(stored.policies) == {"fast", "balanced", "accurate", "half"}

    def judged(*arguments):
        assert cli.main(["eval", "--scores", str(other), *arguments]) == 0
        return capsys.readouterr().out

    known = ("--points", str(points))
    found = json.loads(judged(*known, "--policy", "half", "--by", "kind", "--format", "json"))
    assert found["errors"] == "slow_errors" and set(found["parts"]) == {"long", "short"}
    against = found["against_mixture"]
    assert against["depth"] < 5 and against["closed"][0] > 10, "it holds on another table"
    assert against["oracle_wer"] < against["wer"] < against["mixture_wer"]
    rows = list(csv.DictReader(io.StringIO(judged(*known, "--policy", "half", "--format", "csv"))))
    assert len(rows) == 300
    depth = sum(int(r["layers"]) * int(r["words"]) for r in rows) / sum(int(r["words"])
                                                                       for r in rows)
    assert depth == pytest.approx(against["depth"])
    assert sum(int(r["word_errors"]) for r in rows) == found["chosen"]["word_errors"]
    assert "of the way to the oracle" in judged(*known)  # balanced is the default
    text = judged("--errors", "errors", "--policy", "entropy", "--threshold", "0.002", "--floor",
                  "2", "--by", "kind")
    assert "CER" not in text and "kind long" in text
    choice = fit.choices(exits.Within(exits.Entropy(0.002), 2),
                         score_table.read(other, "errors").table)
    assert " ".join(map(str, np.bincount(choice, minlength=4))) in text
    assert "policy" not in judged("--errors", "errors", "--exit", "all")
    fixed = json.loads(judged("--errors", "errors", "--exit", "2", "--format", "json"))
    assert fixed["chosen"]["histogram"] == [0, 300, 0, 0]


def test_the_rules_of_the_paper_need_no_score_but_their_own(tmp_path):
    part = score_table.read(made_up(tmp_path), "errors").table
    assert "posterior_per_token" not in part.scores
    for rule, stops in ((exits.Posterior(0.8), part.scores["posterior"] >= 0.8),
                        (exits.Entropy(0.002), part.scores["entropy"] <= 0.002)):
        stops[:, -1] = True
        assert 0 < stops[:, :-1].mean() < 1
        assert fit.choices(rule, part).tolist() == stops.argmax(axis=1).tolist()
    with pytest.raises(ArgumentError, match="asks for posterior_per_token"):
        fit.choices(exits.Threshold("posterior_per_token", 0.8), part)


def test_a_bound_is_proved_on_a_part_of_a_table(tmp_path, capsys):
    path = made_up(tmp_path)
    assert cli.main(["calibrate", "--scores", str(path), "--errors", "errors", "--where",
                     "kind=long", "--target", "wer+10", "--confidence", "0.8", "--dry-run"]) == 0
    out = capsys.readouterr().out
    long = score_table.read(path, "errors").where("kind=long").table
    assert f"{len(long)} utterances" in out and "at most 10 % on average" in out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("arguments, message", [
    (["eval", "--scores", "S"], "errors: expected one of errors, slow_errors"),
    (["eval", "--scores", "S", "--points", "P", "--policy", "slow"], "expected one of balanced"),
    (["eval", "--scores", "OTHER", "--points", "P"], "asks for guess"),
    (["eval", "--scores", "SMALL", "--points", "P", "--layers", "1,2"],
     "expected points for 2 exits"),
    (["eval", "--scores", "S", "--points", "P", "--errors", "x"], "errors: expected one of"),
    (["eval", "--scores", "S", "--points", "P", "--exit", "5"], "--exit 5: expected 1..4"),
    (["eval", "--scores", "S", "--points", "P", "--model", "m"], "--model or --scores"),
    (["eval", "--scores", "S", "--points", "P", "--deadline", "1"], "--deadline or --scores"),
    (["eval", "--scores", "S", "--points", "P", "--format", "ctm"], "no transcripts"),
    (["eval", "--scores", "S", "--errors", "errors", "--format", "csv"], "needs --policy"),
    (["eval", "--scores", "S", "--errors", "errors", "--floor", "2"], "--floor 2 needs --policy"),
    (["eval", "--scores", "S", "--errors", "errors", "--by", "room"], "expected a column of text"),
    (["eval", "--scores", "S", "--points", "S"], "expected operating points that"),
    (["eval", "--manifest", "S", "--points", "P"], "--points .* needs --scores"),
    (["calibrate", "--manifest", "S", "--layers", "1,2"], "--layers 1,2 needs --scores"),
    (["calibrate", "--scores", "S", "--errors", "errors"], "--output POINTS.json or --dry-run"),
    (["calibrate", "--scores", "S", "--dry-run", "--layers", "a"], "whole numbers with commas"),
    (["calibrate", "--scores", "S", "--dry-run", "--posterior"], "--posterior or --scores"),
    (["calibrate", "--scores", "SMALL", "--dry-run"], "5 groups or more, found 2"),
    (["calibrate", "--scores", "S", "--errors", "errors", "-o", "P"], "exists"),
])
def test_wrong_usage(tmp_path, capsys, arguments, message):
    scores = {"S": made_up(tmp_path, n=20), "SMALL": written(tmp_path, SMALL, "small.csv"),
              "OTHER": made_up(tmp_path, "other.csv", 20, more="whim"), "P": tmp_path / "p.json"}
    rule = exits.Worth(("guess",), "words", ((0.0,) * 7,) * 3, (1.0,) * 3)
    stored = points_file.dump("errors", [1, 2, 3, 4], {
        "balanced": {"policy": exits.to_plain(rule)}})
    scores["P"].write_bytes(stored)
    code = cli.main([str(scores.get(word, word)) for word in arguments])
    error = capsys.readouterr().err
    assert code in (1, 2) and error.count("ee-ref:") == 1
    assert re.search(message, error), error
    assert scores["P"].read_bytes() == stored


@pytest.mark.parametrize("points", [
    "", "[]", "{}", '{"errors": 1, "layers": [1], "points": {}}',
    '{"errors": "errors", "layers": 2, "points": {}}',
    '{"errors": "errors", "layers": [true], "points": {}}',
    '{"errors": "errors", "layers": [1, 2], "points": {"a": {}}}',
    '{"errors": "e", "layers": [1, 2], "points": {"a": {"policy": {"kind": "fixed", "n": 3}}}}',
])
def test_what_is_no_file_of_points(tmp_path, points):
    with pytest.raises(ArgumentError, match="p.json: expected operating points that ee-ref"):
        points_file.read(written(tmp_path, points, "p.json"))
