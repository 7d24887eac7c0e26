"""ee-ref calibrate: fits, the proof of a bound, operating points in a model file, the command."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ee_ref
from ee_ref import calibration, cli, exits, model_file
from ee_ref.calibration import fit, points, risk
from ee_ref.calibration.streams import stream_point
from ee_ref.encoder import ExitOutput
from ee_ref.errors import ArgumentError, ModelFileError
from ee_ref.evaluation import figures
from ee_ref.exits.policy import Course
from ee_ref.exits.scores import POSTERIORS
from tests.test_evaluation import recordings, table


def simulated(n=400, seed=0, noise=0.3):
    """A table in which hard utterances need depth, and the scores say so but for some noise."""
    rng = np.random.default_rng(seed)
    need = rng.choice(4, n, p=(0.5, 0.25, 0.15, 0.1))  # the exit from which on all is right
    errors = (np.arange(4)[None, :] < need[:, None]).astype(int)
    sure = np.arange(4)[None, :] - need[:, None] + noise * rng.standard_normal((n, 4))
    sure = 1 / (1 + np.exp(-sure))
    scores = {name: 1 - sure if name.startswith("entropy") else sure
              for name in ("entropy", *exits.FEATURES)}
    scores["same"] = (sure > 0.6).astype(float)
    return table(errors, np.ones(n, int), seconds=rng.uniform(0.5, 3, n), layers=[2, 3, 4, 5],
                 scores=scores)


def test_every_family_gets_shallower_as_depth_gets_dearer():
    part = simulated()
    for name in ("fixed", "patience", "entropy", "entropy, per exit", "learned"):
        path = fit.families(part)[name](part, fit.prices(part))
        depth = [figures.figures(part, fit.choices(policy, part), draws=2)["depth"]
                 for policy in path]
        if name not in ("learned", "patience"):  # the exact minimisers
            assert all(a >= b - 1e-9 for a, b in zip(depth, depth[1:])), name
        assert depth[0] > depth[-1] or name == "patience", name
        assert depth[-1] >= 2


def test_a_threshold_for_each_exit_is_no_worse_than_one_for_all():
    part = simulated(seed=1)
    rows = np.arange(len(part))
    families = fit.families(part)
    for price in fit.prices(part)[::8]:
        loss = part.word_errors + price * part.layers * part.seconds[:, None]
        for score in ("entropy", "least_confidence"):
            one, several = (loss[rows, fit.choices(families[name](part, [price])[0], part)].sum()
                            for name in (score, f"{score}, per exit"))
            assert several <= one * 1.02 + 1e-9


@pytest.mark.parametrize("name", ["learned", "worth", "least_confidence, per exit", "entropy"])
def test_good_scores_beat_fixed_exits_on_utterances_not_fitted_to(name):
    part, other = simulated(seed=2), simulated(seed=3)
    gained = []
    for policy in fit.families(part)[name](part, fit.prices(part)[10:30:4]):
        choice = fit.choices(policy, other)
        gained.append(figures.against_mixture(other, choice)["relative"][0])
    assert max(gained) > 40 and min(gained) > -15


def test_learned_never_goes_on_because_it_is_more_confident():
    [policy] = fit.families(simulated())["learned"](simulated(), fit.prices(simulated())[20:21])
    for row in policy.weights:
        for name, weight in zip(exits.FEATURES, row):
            assert weight <= 0 if name.startswith("entropy") else weight >= 0
    assert any(any(row) for row in policy.weights)


def log_probs_of(seed, sharpness):
    x = np.random.default_rng(seed).standard_normal((9, 6)) * sharpness
    return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)


def measured(runs):
    """A table of utterances by their log-probabilities at each exit."""
    scores = []
    for run in runs:
        course = Course(exits.Fixed(9), exits.Utterance(), measures=True)
        for number, rows in enumerate(run, start=1):
            course(ExitOutput(number, 0, rows, rows))
            scores.append(course.measured[0])
    shape = len(runs), len(runs[0])
    named = {name: np.reshape([getattr(s, name) for s in scores], shape).astype(float)
             for name in exits.Scores._fields}
    for number, name in enumerate(POSTERIORS):
        named[name] = np.array([[exits.n_best_posterior(rows)[number] for rows in run]
                                for run in runs])
    return table(np.zeros(shape, int), np.ones(len(runs), int), seconds=np.arange(1, len(runs) + 1),
                 scores=named)


@pytest.fixture(scope="module")
def runs():
    found = [[log_probs_of(10 * n + k, 1 + 2 * k) for k in range(4)] for n in range(30)]
    for run in found[::3]:
        run[2] = run[1]
    return found


class Twice:
    """A policy of a user's own: the second exit at which the path is probable."""

    def decide(self, at, state):
        times = (0 if state is None else state) + (at.scores.path > 0.6)
        return exits.Decision(times >= 2, times, times - 2), times


ALIKE = exits.Fixed(3), exits.Budget(2, costs=(1, 2, 4, 5))
"""Rules that choose the same exit for every utterance."""
WEIGHTS = tuple(np.linspace(-2, 2, len(exits.FEATURES)))
WORTH = (1, -2, 0.5, -0.1, 1, -0.5, 1, 0, 2, 0, 0.1, -0.1)


@pytest.mark.parametrize("policy", [
    *ALIKE, exits.Patience(1), exits.Learned((WEIGHTS,) * 3, (-1.0,) * 3),
    exits.Worth(("path", "entropy"), "frames", (WORTH,) * 3, (-1.5, -1.0, -0.5)),
    exits.Worth(("posterior",), None, ((1.0, 1.0, 1.0),) * 3, (-0.2, 0.1, 0.0)),
    exits.Threshold("path", 0.8), exits.Threshold("path", (None, 0.8, 0.0)), exits.Entropy(0.1),
    exits.Posterior(0.6), exits.Threshold("posterior_per_token", 0.8), exits.Budget(500.0),
    exits.Within(exits.Patience(1), 2, 4),
    exits.Within(exits.Entropy(0.1), floor=2), exits.FirstOf(exits.Fixed(4), exits.Patience(1)),
    exits.FirstOf(exits.Threshold("path", 0.8), exits.Within(exits.Patience(1), 3)), Twice(),
    lambda out: (out.scores.path + out.exit > 3.7, out.scores.path),
], ids=lambda policy: repr(policy).split(" at 0x")[0])
def test_a_table_chooses_as_the_running_policy(policy, runs):
    part = measured(runs)
    found = []
    for number, run in enumerate(runs):
        course = Course(policy, exits.Utterance(4, costs=tuple(part.costs[number])))
        stops = [course(ExitOutput(k + 1, 0, rows, rows)).stop for k, rows in enumerate(run)]
        found.append(stops.index(True) if True in stops else 3)
    assert fit.choices(policy, part).tolist() == found
    assert (len(set(found)) == 1) == (policy in ALIKE)


@pytest.mark.parametrize("policy, what", [
    (exits.Deadline(5), "a clock"), (exits.Posterior(0.5, n_best=3), "n_best=3"),
    (lambda out: (out.log_probs.max() > 0, 0.0), "log-probabilities"),
])
def test_what_a_table_does_not_hold(policy, what, runs):
    with pytest.raises(ArgumentError, match=f"scores measured, found one that asks for .*{what}"):
        fit.choices(policy, measured(runs))


def test_a_score_that_was_not_measured():
    with pytest.raises(ArgumentError, match="asks for path"):
        fit.choices(exits.Threshold("path", 0.5), table([[0, 0]], [1]))


@settings(max_examples=30)
@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=10, max_size=80))
def test_folds_keep_groups_together(groups):
    fold = fit.folds(groups)
    for group in set(groups):
        assert len({f for f, g in zip(fold, groups) if g == group}) == 1
    if len(set(groups)) >= 5:
        assert len(set(fold)) == 5


@given(st.floats(0, 0.2), st.integers(1, 2000), st.floats(0.001, 0.5))
def test_p_values_fall_with_less_loss_and_more_utterances(mean, n, alpha):
    p = risk.p_value(mean, n, alpha)
    assert 0 <= p <= 1 and (mean < alpha or p == 1)
    assert risk.p_value(mean / 2, n, alpha) <= p + 1e-12
    assert risk.p_value(mean, 4 * n, alpha) <= p + 1e-12


@pytest.mark.parametrize("draw", [
    lambda rng, n: rng.binomial(1, 0.05, n),  # exactly at the bound, all or nothing
    lambda rng, n: rng.uniform(0, 0.1, n),
    lambda rng, n: 0.5 * rng.binomial(1, 0.1, n),
])
def test_a_loss_at_the_bound_is_seldom_called_below_it(draw):
    """p <= delta at most a share delta of the time, for three distributions of mean alpha."""
    rng = np.random.default_rng(0)
    called = [risk.p_value(float(draw(rng, 300).mean()), 300, 0.05) <= 0.1 for _ in range(2000)]
    assert np.mean(called) <= 0.1


def test_a_path_is_proved_up_to_its_first_failure():
    good, bad = np.zeros(500), np.full(500, 0.5)
    assert risk.proved([good, good, bad, good], 0.02, 0.1) == 2
    assert risk.proved([bad], 0.02, 0.1) == 0 and risk.proved([good], 0.02, 0.1) == 1


def test_too_few_utterances_to_prove_anything():
    need = risk.smallest_set(0.005, 0.1)
    assert need == 460
    assert risk.proved([np.zeros(need)], 0.005, 0.1) == 1
    with pytest.raises(ArgumentError, match="at least 460 utterances .*found 459"):
        risk.proved([np.zeros(need - 1)], 0.005, 0.1)
    for wrong in ((0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, 1.0)):
        with pytest.raises(ArgumentError):
            risk.proved([np.zeros(1000)], *wrong)


def test_the_proved_bound_holds_as_often_as_stated():
    """Calibrate on many samples of one population and look at its true loss each time."""
    population = simulated(4000, seed=9, noise=1.5)
    rng = np.random.default_rng(4)
    broken, early = 0, 0
    for split in range(20):
        own = population.rows(rng.integers(len(population), size=400))
        point = points.guaranteed_point(
            own, points.Target("wer", 5.0), [str(i) for i in range(400)], 0.8,
            {name: fit.families(own)[name] for name in ["least_confidence, per exit"]}, seed=split)
        choice = fit.choices(exits.from_plain(point["policy"]), population)
        loss = risk.added_loss(population.word_errors, population.words, choice).mean()
        broken += loss > 0.05
        early += choice.mean() < 2.9
    assert early > 10  # it does stop early
    assert broken <= 20 * 0.2


def test_added_loss_is_capped_and_never_negative():
    errors = np.array([[3, 1], [0, 2], [9, 0]])
    assert risk.added_loss(errors, np.array([4, 2, 3]), np.array([0, 0, 0])).tolist() == [0.5, 0, 1]


@pytest.mark.parametrize("text, target", [
    ("wer+0.5", points.Target("wer", 0.5)), ("cost 0.5", points.Target("cost", 0.5)),
    (" best ", points.Target("best", 1.0)), ("wer+0", points.Target("wer", 0.0)),
])
def test_targets(text, target):
    assert points.Target.parse(text) == target == points.Target.parse(str(target))


@pytest.mark.parametrize("text", ["", "wer", "wer+", "wer-1", "cost", "cost 0", "cost 2", "cost x"])
def test_what_is_no_target(text):
    with pytest.raises(ArgumentError, match="target"):
        points.Target.parse(text)


def test_points_keep_their_targets():
    part = simulated()
    fold = fit.folds(list(part.ids))
    families = {name: fit.families(part)[name]
                for name in ("learned", "least_confidence, per exit", "fixed")}
    found = points.curves(part, fold, families)
    full = 100 * part.word_errors[:, -1].sum() / part.words.sum()
    bounded = points.point(part, points.Target("wer", 2.0), families, found, full)
    assert bounded["wer"] <= full + 2.0 + 1e-3 and bounded["depth"] < 4.5
    cheap = points.point(part, points.Target("cost", 0.5), families, found, full)
    assert cheap["depth"] <= 2.5 + 1e-3
    best = points.point(part, points.Target("best", 1.0), families, found, full)
    word = 100 / part.words.sum()
    fewest = min(point["wer"] for path in found.values() for point in path)
    assert fewest <= best["wer"] + 1e-3 and best["wer"] <= fewest + word + 1e-3
    assert best["depth"] >= bounded["depth"], "of what no set tells apart, the deepest"
    # Where nothing else keeps a word error rate, the full depth does.
    none = {"fixed": [point for point in found["fixed"] if point["wer"] > full + 2.0]}
    assert none["fixed"]
    kept = points.point(part, points.Target("wer", 0.0), families, none, full)
    assert kept["policy"] == {"kind": "fixed", "n": part.word_errors.shape[1]}
    assert kept["depth"] == part.layers[-1]
    assert kept["wer"] == pytest.approx(full, abs=1e-3)
    with pytest.raises(ArgumentError, match="least depth"):
        points.point(part, points.Target("cost", 0.1), families, found, full)
    with pytest.raises(ArgumentError, match="guarantee"):
        points.guaranteed_point(part, points.Target("cost", 0.5), list(part.ids), 0.9, families)


def test_the_calibrator_is_an_estimator():
    part = simulated()
    shown = []

    def progress(items, total):
        shown.append(total)
        return items

    found = calibration.Calibrator({"fast": "cost 0.5", "deep": "best"}, progress=progress)
    assert found.fit(part, part.ids) is found and shown == [len(fit.families(part))]
    assert list(found.points_) == ["fast", "deep"]
    assert set(found.curves_) == set(fit.families(part)) >= set(calibration.CHOSEN_FROM)
    assert found.points_["fast"]["family"] in calibration.CHOSEN_FROM
    assert found.report_["points"] is found.points_ and found.report_["utterances"] == len(part)
    only = calibration.Calibrator({"fast": "cost 0.5"}, families=("patience", "fixed"))
    assert only.fit(part, part.ids).points_["fast"]["family"] in ("patience", "fixed")
    own = {"from exit 2": fit.cheapest(
        lambda _: [exits.Within(exits.Fixed(n), floor=2) for n in (2, 1)])}
    point = calibration.Calibrator({"fast": "cost 0.6"}, ("patience",), own=own).fit(
        part, part.ids).points_["fast"]
    assert exits.from_plain(point["policy"]) == exits.Within(exits.Fixed(2), floor=2)
    with pytest.raises(ArgumentError, match="family: expected one of .*, found 'luck'"):
        calibration.Calibrator(families=("luck",)).fit(part, part.ids)
    with pytest.raises(ArgumentError, match="5 groups or more, found 2"):
        only.fit(part, ["a", "b"] * 200)
    with pytest.raises(ArgumentError, match="guarantee"):
        calibration.Calibrator(confidence=0.9)


POINTS = {"balanced": {"policy": {"kind": "fixed", "n": 2}, "target": "wer+0.3"},
          "fast": {"policy": {"kind": "entropy", "threshold": 9.0}}}


def test_operating_points_are_stored_and_change_nothing_else(model_path, tmp_path):
    source = model_file.read(model_path)
    path = tmp_path / "model.gguf"
    model_file.store_operating_points(source, path, POINTS)
    stored = model_file.read(path)
    assert model_file.operating_points(stored) == POINTS
    assert model_file.operating_points(source) == {}
    assert stored.config == source.config and stored.checksums == source.checksums
    model_file.store_operating_points(stored, path, {}, overwrite=True)  # over itself
    assert path.read_bytes() == model_path.read_bytes()


def test_a_prefix_of_a_calibrated_file_is_a_shallower_model(model_path, tmp_path):
    path = tmp_path / "model.gguf"
    model_file.store_operating_points(model_file.read(model_path), path, POINTS)
    size = model_file.read(path).exit_sizes[1]
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:size])
    with pytest.warns(UserWarning, match="ends after exit 2"):
        model = ee_ref.load(cut)
    assert model.transcribe((np.zeros(16000, np.float32), 16000)).exit == 2
    with pytest.raises(ArgumentError, match="whole model file"):
        model_file.store_operating_points(model.file, tmp_path / "again.gguf", POINTS)


def test_the_default_is_balanced_and_names_are_policies(model_path, tmp_path):
    path = tmp_path / "model.gguf"
    model_file.store_operating_points(model_file.read(model_path), path, POINTS)
    model = ee_ref.load(path)
    audio = (np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32), 16000)
    assert model.policies == {"balanced": exits.Fixed(2), "fast": exits.Entropy(9.0)}
    assert model.transcribe(audio).exit == 2
    assert model.transcribe(audio, policy="fast").exit == 1
    assert model.transcribe(audio, exit=3).exit == 3
    with pytest.raises(ArgumentError, match="balanced, fast"):
        model.transcribe(audio, policy="slow")


@pytest.mark.parametrize("points_", [
    {"balanced": {}}, {"balanced": {"policy": {"kind": "shell"}}}, {"balanced": {"policy": 3}},
])
def test_operating_points_that_make_no_sense(model_path, tmp_path, points_):
    path = tmp_path / "model.gguf"
    model_file.store_operating_points(model_file.read(model_path), path, points_)
    model = ee_ref.load(path)
    with pytest.raises(ModelFileError, match="operating points"):
        model.policies


def test_the_bundled_model_is_calibrated():
    model = ee_ref.load()
    assert {"fast", "balanced", "accurate"} <= set(model.policies)


def calibrate(capsys, *arguments):
    code = cli.main(["calibrate", *map(str, arguments)])
    return code, capsys.readouterr()


def test_the_command(tmp_path, model_path, capsys):
    manifest = recordings(tmp_path, 12)
    model = tmp_path / "model.gguf"
    shutil.copy(model_path, model)
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model, "--json",
                              tmp_path / "report.json", "--threads", 2, "--point", "tiny=cost 0.6",
                              "--point", "fast=cost 0.7")
    assert code == 0, streams.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["points"]) == {"fast", "balanced", "accurate", "tiny"}
    assert set(report["curves"]) >= {"fixed", "entropy", "patience", "learned"}
    assert "balanced" in streams.out
    assert set(ee_ref.load(model).policies) == set(report["points"])
    assert cli.main(["transcribe", str(tmp_path / "1.wav"), "--model", str(model), "--policy",
                     "tiny"]) == 0

    before = model.read_bytes()
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model, "--where",
                              "source=odd", "--dry-run", "--point", "fast=cost 1")
    assert code == 0 and "6 utterances" in streams.out and model.read_bytes() == before
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model, "--confidence",
                              "0.9", "--target", "wer+0.5", "--point", "fast=cost 1")
    assert code == 2 and "too small" in streams.err and model.read_bytes() == before


def test_a_bad_recording_is_left_out_and_the_points_are_stored(tmp_path, model_path, capsys):
    manifest = recordings(tmp_path, 9)
    (tmp_path / "3.wav").write_bytes(b"no audio")
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model_path, "--threads", 2,
                              "-o", tmp_path / "out.gguf", "--json", tmp_path / "report.json",
                              "--point", "fast=cost 1")
    assert code == 1 and "1 of 9 recordings left out" in streams.out
    assert streams.err.count("3.wav") == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["utterances"], report["left_out"]) == (8, 1)
    assert set(ee_ref.load(tmp_path / "out.gguf").policies) == {"fast", "balanced", "accurate"}


def test_a_set_without_words_cannot_calibrate(tmp_path, model_path, capsys):
    manifest = recordings(tmp_path, 8)
    manifest.write_text(manifest.read_text().replace("ab cd", ""))
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model_path, "--dry-run")
    assert code == 2 and "expected words in the transcripts, found none in 8" in streams.err


def test_the_plot(tmp_path, model_path, capsys):
    pytest.importorskip("matplotlib")
    manifest = recordings(tmp_path, 8)
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"curve{suffix}"
        code, streams = calibrate(capsys, "--manifest", manifest, "--model", model_path,
                                  "--dry-run", "--plot", path, "--point", "fast=cost 1")
        assert code == 0, streams.err
        assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize("arguments", [
    ["--target", "wer"], ["--point", "x"], ["--point", "=cost 1"], ["--where", "source"],
    ["--where", "source=none"], ["--confidence", "1"], ["--confidence", "0.9"],
    ["--plot", "x.pdf"],
])
def test_wrong_usage(tmp_path, model_path, capsys, arguments):
    code, _ = calibrate(capsys, "--manifest", recordings(tmp_path), "--model", model_path,
                        "--dry-run", *arguments)
    assert code == 2


@pytest.mark.parametrize("model", [[], ["--model", "commands"]])
def test_the_bundled_model_is_not_replaced_by_mistake(tmp_path, capsys, model):
    code, streams = calibrate(capsys, "--manifest", recordings(tmp_path), *model)
    assert code == 2 and "--output" in streams.err


def test_the_view_of_streams(tmp_path, model_path, capsys):
    manifest, output = recordings(tmp_path, 6), tmp_path / "out.gguf"
    before = set(model_file.operating_points(model_file.read(model_path)))
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model_path, "--stream",
                              "9", "-o", output, "--json", tmp_path / "report.json")
    assert code == 0, streams.err
    report = json.loads((tmp_path / "report.json").read_text())
    tried, chosen = report["views"], report["point"]
    kept = [row for row in tried if row["wer"] <= 10 * report["wer"]]
    assert len(tried) > 4 and chosen["seconds"] == pytest.approx(
        min(row["seconds"] for row in kept), abs=1e-3)
    assert streams.out.count(" *") == 1
    model = ee_ref.load(output)
    points = model_file.operating_points(model.file)
    assert set(points) == before | {"stream"} and points["stream"]["view"] == chosen["view"]
    assert model.policy(stream=True) == model.policies["stream"]
    assert model.policy() == model.policies.get("balanced", exits.Fixed(model.config.exits))
    code, streams = calibrate(capsys, "--manifest", manifest, "--model", model_path, "--stream",
                              "--target", "best", "--dry-run")
    assert code == 2 and "--target or --stream" in streams.err


@pytest.mark.parametrize("share, expected", [(0.0, 3), (0.1, 2), (0.5, 1)])
def test_the_view_that_waits_least_of_those_that_keep_the_words(share, expected):
    rows = [{"view": {"hop": number}, "policy": {}, "seconds": seconds, "wer": wer,
             "multiply_accumulates": work}
            for number, (seconds, wer, work) in enumerate(
                [(1.0, 14.0, 9), (1.0, 14.0, 5), (2.0, 11.0, 5), (4.0, 10.0, 1)])]
    point = stream_point({"wer": 10.0, "views": rows, "utterances": 1}, share)
    assert point["view"] == {"hop": expected}
    with pytest.raises(ArgumentError, match="at most 5.00 %"):
        stream_point({"wer": 5.0, "views": rows, "utterances": 1}, 0.0)
