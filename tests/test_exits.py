"""Exit scores against their formulas, and the policies."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ee_ref
from ee_ref import decode, exits
from ee_ref.calibration import fit
from ee_ref.errors import ArgumentError
from ee_ref.exits import policy as policies
from ee_ref.exits import stored
from ee_ref.exits.policy import KINDS, Course, Rule
from tests.test_evaluation import table


class Out(NamedTuple):
    exit: int
    log_probs: np.ndarray


def random_log_probs(frames=12, labels=6, seed=0, sharpness=2.0):
    x = np.random.default_rng(seed).standard_normal((frames, labels)) * sharpness
    return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)


def test_entropy_is_the_formula():
    log_probs = random_log_probs()
    expected = 0.0
    for row in log_probs.astype(float):
        for log_p in row:
            expected -= math.exp(log_p) * log_p
    expected /= log_probs.size
    assert exits.frame_entropy(log_probs) == pytest.approx(expected, rel=1e-6)


def test_entropy_of_uniform_and_of_certain_labels():
    uniform = np.full((7, 16), -math.log(16))
    assert exits.frame_entropy(uniform) == pytest.approx(math.log(16) / 16)
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(5))
    assert exits.frame_entropy(certain) == 0.0
    assert math.copysign(1, exits.frame_entropy(certain)) == 1
    assert exits.frame_entropy(np.full((3, 4), -np.inf)) == 0.0
    assert exits.frame_entropy(np.array([[1e-7, -16.0]])) >= 0.0


def test_entropy_of_no_frames():
    assert exits.frame_entropy(np.zeros((0, 256), np.float32)) == 0.0


@pytest.mark.parametrize(
    "log_probs", [np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.zeros(3)]
)
def test_entropy_of_something_else(log_probs):
    with pytest.raises(ArgumentError):
        exits.frame_entropy(log_probs)


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=20))
def test_posterior_is_the_largest_softmax(scores):
    weights = [math.exp(score - max(scores)) for score in scores]
    found = exits.sentence_posterior(scores)
    assert found == pytest.approx(max(weights) / sum(weights))
    assert 1 / len(scores) - 1e-12 <= found <= 1


def test_posterior_of_impossible_hypotheses():
    assert exits.sentence_posterior([0.0, -math.inf]) == 1.0
    assert exits.sentence_posterior([-math.inf, -math.inf]) == 0.0


@pytest.mark.parametrize("scores", [[], [math.nan], [0.0, math.nan], [math.inf], [[0.0]]])
def test_posterior_of_something_else(scores):
    with pytest.raises(ArgumentError):
        exits.sentence_posterior(scores)


def course(policy, **utterance):
    """The rule at work on an utterance of its own."""
    return Course(policy, exits.Utterance(**utterance))


def test_fixed():
    log_probs = random_log_probs()
    assert [exits.Fixed(3)(Out(n, log_probs)) for n in (1, 2, 3, 4)] == [
        (False, 1, -2), (False, 2, -1), (True, 3, 0), (True, 4, 1)]


def test_entropy_policy():
    log_probs = random_log_probs()
    score = exits.frame_entropy(log_probs)
    assert exits.Entropy(score)(Out(1, log_probs)) == (True, score, 0)
    assert exits.Entropy(score * 0.99)(Out(1, log_probs))[:2] == (False, score)
    assert exits.Entropy(score + 0.5)(Out(1, log_probs)).margin == pytest.approx(0.5)
    assert exits.Entropy(0)(Out(1, np.zeros((0, 5)))) == (True, 0, 0)


def test_posterior_policy():
    log_probs = random_log_probs()
    hypotheses = decode.beam_search(log_probs, beam_width=10, n_best=4)
    score = exits.sentence_posterior([hypothesis.score for hypothesis in hypotheses])
    assert exits.Posterior(score, n_best=4)(Out(1, log_probs)) == (True, score, 0)
    assert exits.Posterior(score + 1e-6, n_best=4)(Out(1, log_probs))[:2] == (False, score)
    assert exits.Posterior(0.25, 4)(Out(1, log_probs)).margin == score - 0.25
    assert exits.Posterior(1.0, n_best=1)(Out(1, log_probs)) == (True, 1.0, 0)
    assert exits.Posterior(1.0)(Out(1, np.zeros((0, 5)))) == (True, 1.0, 0)


def test_posterior_policy_of_many_hypotheses_and_another_blank():
    log_probs = random_log_probs()
    hypotheses = decode.beam_search(log_probs, beam_width=30, n_best=30, blank=2)
    score = exits.sentence_posterior([hypothesis.score for hypothesis in hypotheses])
    assert exits.Posterior(0.5, n_best=30, blank=2)(Out(1, log_probs)).score == score
    # Without one, that of the utterance.
    assert course(exits.Posterior(0.5, n_best=30), blank=2)(Out(1, log_probs)).score == score
    assert exits.Posterior(0.5, n_best=30)(Out(1, log_probs)).score != score


@given(st.floats(0, 1), st.integers(0, 50))
def test_stop_means_a_margin_of_at_least_zero(threshold, seed):
    out = Out(2, random_log_probs(5, 4, seed))
    for policy in (exits.Fixed(1 + seed % 3), exits.Entropy(threshold), exits.Posterior(threshold),
                   exits.Threshold("path", threshold), exits.Budget(seed, (10, 20, 30))):
        stop, score, margin = policy(out)
        assert type(stop) is bool and type(score) is type(margin) is float
        assert stop == (margin >= 0)


@pytest.mark.parametrize("make", [
    lambda: exits.Fixed(0), lambda: exits.Fixed(1.5), lambda: exits.Fixed(True),
    lambda: exits.Fixed("2"), lambda: exits.Entropy(-0.1), lambda: exits.Entropy(math.nan),
    lambda: exits.Entropy(math.inf), lambda: exits.Entropy("1"), lambda: exits.Entropy(None),
    lambda: exits.Posterior(1.1), lambda: exits.Posterior(-0.1), lambda: exits.Posterior(math.nan),
    lambda: exits.Posterior(0.5, n_best=0), lambda: exits.Posterior(0.5, n_best=2.0),
    lambda: exits.Posterior(0.5, blank=-1),
])
def test_settings_out_of_range(make):
    with pytest.raises(ArgumentError, match="expected .*, found "):
        make()


def test_policies_show_their_settings():
    assert repr(exits.Posterior(0.5)) == "Posterior(threshold=0.5, n_best=10, blank=None)"
    assert exits.Entropy(0.25) == exits.Entropy(0.25) != exits.Entropy(0.5)


def exits_of(*log_probs):
    return [Out(number, rows) for number, rows in enumerate(log_probs, start=1)]


def spelled(labels, sharpness=4.0, vocab=5):
    """Log-probabilities whose best labels are these."""
    x = np.zeros((len(labels), vocab))
    x[np.arange(len(labels)), labels] = sharpness
    return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)


def test_scores_are_their_definitions():
    before, log_probs = random_log_probs(20, 6, 1), random_log_probs(20, 6, 2)
    _, earlier = exits.measure(before)
    scores, found = exits.measure(log_probs, 0, earlier)
    labels = found.labels
    p = np.exp(log_probs.astype(float))
    entropy = -(p * log_probs).sum(axis=1)
    best = decode.greedy(log_probs)
    confidences = decode.token_confidences(log_probs, best)
    assert labels.tolist() == log_probs.argmax(axis=1).tolist() and len(set(labels)) > 2
    assert scores.entropy == exits.frame_entropy(log_probs)
    assert scores.entropy_normalised == pytest.approx(entropy.mean() / math.log(6), rel=1e-5)
    assert scores.entropy_speech == pytest.approx(
        entropy[labels != 0].mean() / math.log(6), rel=1e-5)
    assert scores.path == pytest.approx(math.exp(best.score / 20), rel=1e-5)
    assert (found.best, found.confidences) == (best, confidences)
    assert scores.least_confidence == min(confidences)
    assert scores.mean_confidence == pytest.approx(np.mean(confidences), rel=1e-5)
    assert scores.blank_share == pytest.approx((labels == 0).mean())
    assert scores.agreement == pytest.approx((labels == earlier.labels).mean())
    assert (scores.tokens, scores.frames, scores.same) == (len(best.tokens), 20, 0)


def test_same_tokens_at_other_frames_are_the_same():
    first, labels = exits.measure(spelled([0, 1, 1, 0, 2]))
    assert (first.same, first.agreement) == (0, 0.0)
    second, _ = exits.measure(spelled([1, 0, 2, 2, 0]), 0, labels)
    assert (second.same, second.agreement) == (1, 0.0)
    third, _ = exits.measure(spelled([0, 1, 0, 1, 2]), 0, labels)
    assert (third.same, third.agreement) == (0, pytest.approx(0.6))


def test_scores_of_no_frames():
    scores, found = exits.measure(np.zeros((0, 5), np.float32))
    assert scores == (0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0) and found.labels.shape == (0,)


@pytest.mark.parametrize("log_probs", [
    np.full((2, 2), np.nan), np.full((2, 2), 0.5), np.zeros(3), np.zeros((2, 1))])
def test_scores_of_something_else(log_probs):
    with pytest.raises(ArgumentError):
        exits.measure(log_probs)


@pytest.mark.usefixtures("native_library")
@given(st.integers(0, 40), st.integers(2, 35), st.integers(0, 2**16), st.floats(0.1, 30))
def test_scores_in_c_are_the_same_bytes(frames, vocab, seed, sharpness):
    from ee_ref.native import _exits

    blank = seed % vocab
    outputs = [random_log_probs(frames, vocab, seed + n, sharpness) for n in range(2)]
    outputs[1][: frames // 2] = outputs[0][: frames // 2]
    if frames:
        outputs[1][-1, 0] = -np.inf
    before = None
    for log_probs in outputs:
        expected, alignment = exits.measure(log_probs, blank, before)
        found, in_c = _exits.measure(log_probs, blank, before)
        assert found == expected
        assert np.array_equal(alignment.labels, in_c.labels)
        assert (alignment.best, alignment.confidences) == (in_c.best, in_c.confidences)
        assert min(in_c.confidences, default=1.0) == found.least_confidence
        before = alignment


@pytest.mark.usefixtures("native_library")
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 3))
def test_patience_in_c_decides_alike(same, patience):
    from tests.firmware import exits as firmware

    rule = course(exits.Patience(patience), measure=lambda rows, blank, before: (
        exits.Scores(*[0.0] * 8, int(rows), 0, 0), rows))
    in_a_row = 0
    for number, agrees in enumerate(same, start=1):
        stop, score, _ = rule(Out(number, agrees))
        in_a_row, stop_in_c = firmware.patience_stop(patience, in_a_row, agrees)
        assert (stop, score) == (stop_in_c, in_a_row)


@pytest.mark.usefixtures("native_library")
@given(st.floats(0, 10, width=32), st.floats(1, 3, width=32), st.floats(0, 10, width=32),
       st.lists(st.tuples(st.floats(0, 1e3, width=32), st.floats(1, 1e9, width=32)), min_size=2,
                max_size=6))
def test_deadline_in_c_decides_alike(limit, safety, reserve, groups):
    from ee_ref.exits.clock import deadline_stop
    from tests.firmware import exits as firmware

    deadline = exits.Deadline(limit, safety, reserve)
    rate = rate_in_c = np.float32(0)
    elapsed = 0.0
    for (time, cost), (_, next_cost) in zip(groups, groups[1:]):
        elapsed += time
        rate, missing = deadline_stop(deadline, elapsed, time, cost, next_cost, rate)
        rate_in_c, stop, missing_in_c = firmware.deadline_stop(
            limit, safety, reserve, elapsed, time, cost, next_cost, rate_in_c)
        assert (rate, missing, missing >= 0) == (rate_in_c, missing_in_c, stop)


def test_a_threshold_for_each_exit():
    out = random_log_probs(10, 5, 3)
    score = exits.measure(out)[0].least_confidence
    policy = exits.Threshold("least_confidence", (None, score, score + 0.01))
    rule = course(policy)
    assert [rule(o).stop for o in exits_of(out, out, out, out)] == [False, True, False, False]
    assert policy(Out(1, out)) == (False, score, -math.inf)
    assert exits.Threshold("least_confidence", score)(Out(9, out)) == (True, score, 0)
    entropy = exits.measure(out)[0].entropy_speech
    assert exits.Threshold("entropy_speech", entropy)(Out(1, out))[0]
    assert not exits.Threshold("entropy_speech", entropy * 0.999)(Out(1, out))[0]


def test_worth_weighs_scores_their_change_and_the_length():
    """The sum written out: at exit 2 of 50 frames, entropy from 0.5 to 0.25 and path 0.8."""
    log, change = math.log(0.25), math.log(0.25) - math.log(0.5)
    features = [0.25, 0.8, log, math.log(0.8), change, 0.0, log / 50, math.log(0.8) / 50,
                change / 50, 0.0, 50.0, math.log(50)]
    weights = tuple(np.linspace(-1, 1, len(features)))
    rule = exits.Worth(("entropy", "path"), "frames", ((0.0,) * 12, weights), (-1.0, 0.5))
    assert rule.needs_scores
    scores = [exits.Scores(e, 0, 0, 0.8, 1, 1, 0, 0, 0, 3, 50) for e in (0.5, 0.25)]
    first, state = rule.decide(exits.Observation(1, None, scores[0], exits.Utterance()))
    assert first == (False, -1.0, -1.0)
    second, state = rule.decide(exits.Observation(2, None, scores[1], exits.Utterance()), state)
    expected = 0.5 + sum(w * x for w, x in zip(weights, features))
    assert second == pytest.approx((expected >= 0, expected, expected))
    third, _ = rule.decide(exits.Observation(3, None, scores[1], exits.Utterance()), state)
    assert third == (False, -math.inf, -math.inf), "an exit without weights never stops"
    assert not exits.Worth(("posterior",), None, (), ()).needs_scores
    zero = exits.Worth(("entropy",), None, ((0.0, 1.0, 0.0),), (0.0,))
    nothing = exits.Observation(1, None, scores[0]._replace(entropy=0.0), exits.Utterance())
    assert zero.decide(nothing)[0].score == pytest.approx(math.log(1e-6))
    with pytest.raises(ArgumentError, match="an exit has, found 'words'"):
        exits.Worth(("entropy",), "words", ((0.0,) * 7,), (0.0,)).decide(nothing)


def test_learned_is_a_weighted_sum():
    out = random_log_probs(10, 5, 4)
    measured, _ = exits.measure(out)
    features = [getattr(measured, name) for name in exits.FEATURES]
    weights = tuple(np.linspace(-1, 2, len(exits.FEATURES)))
    expected = sum(w * x for w, x in zip(weights, features)) + 0.25
    policy = exits.Learned((weights,), (0.25,), threshold=expected - 1)
    stop, score, margin = policy(Out(1, out))
    assert stop and score == pytest.approx(expected) and margin == pytest.approx(1)
    assert policy(Out(2, out)) == (False, -math.inf, -math.inf)


def test_patience_forgets_between_utterances():
    policy = exits.Patience(2)
    same = spelled([1, 0, 2])
    outputs = exits_of(same, same, same, spelled([1, 1, 1]), same)
    for _ in range(2):
        rule = course(policy)
        assert [rule(out) for out in outputs] == [
            (False, 0, -2), (False, 1, -1), (True, 2, 0), (False, 0, -2), (False, 0, -2)]


def test_two_utterances_of_one_policy_do_not_meet():
    policy = exits.Patience(1)
    a, b = course(policy), course(policy)
    x, y = spelled([1, 0]), spelled([2, 0])
    assert [a(Out(1, x)).stop, b(Out(1, y)).stop, a(Out(2, x)).stop, b(Out(2, x)).stop] == [
        False, False, True, False]


def test_scores_compare_with_the_exit_before_also_for_a_rule_that_skips_exits():
    """Whoever looks at odd exits only sees what whoever looks at all of them does."""
    outputs = exits_of(*(spelled(labels) for labels in ([1, 0], [2, 0], [2, 0], [2, 2], [2, 2])))
    seen = {}

    def odd(out):
        if out.exit % 2:
            seen[out.exit] = (out.scores.agreement, out.scores.same)
        return False, 0.0

    for policy in (odd, exits.FirstOf(odd), exits.FirstOf(exits.Deadline(9), odd)):
        seen.clear()
        rule = course(policy)
        for out in outputs:
            rule(out)
        assert seen == {1: (0.0, 0), 3: (1.0, 1), 5: (1.0, 1)}


@pytest.mark.parametrize("policy, needed", [
    (exits.Fixed(2), False), (exits.Budget(2, (1, 2)), False), (exits.Deadline(1), False),
    (exits.Posterior(0.5), False), (exits.Threshold("posterior", 0.5), False),
    (exits.Threshold("path", 0.5), True), (exits.Entropy(0.1), True), (exits.Patience(), True),
    (lambda out: (False, 0.0), True), (exits.Within(exits.Fixed(2)), False),
    (exits.FirstOf(exits.Deadline(1), exits.Fixed(3)), False),
    (exits.FirstOf(exits.Deadline(1), exits.Within(exits.Patience(), 2)), True),
])
def test_scores_are_measured_once_an_exit_where_they_are_needed(policy, needed):
    calls = []

    def measure(*arguments):
        calls.append(arguments)
        return exits.measure(*arguments)

    rule = course(policy, measure=measure)
    for out in exits_of(*[random_log_probs()] * 3):
        rule(out)
    assert len(calls) == 3 * needed


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_deadline_stops_before_the_group_that_would_miss_it():
    clock = Clock()
    rule = course(exits.Deadline(0.06, safety=1.0, reserve=0.0), exits=4, costs=(20, 30, 40, 80),
                  clock=clock)
    reached = []
    for exit, cost in enumerate((20, 10, 10, 40), start=1):
        clock.now += cost * 1e-3
        reached.append(exit)
        if rule(Out(exit, None)).stop:
            break
    assert reached == [1, 2, 3]  # 40 ms used, the last group would take 40 more


@given(st.lists(st.floats(0.2, 5), min_size=6, max_size=6), st.floats(0.02, 0.2))
def test_a_deadline_is_kept_when_no_group_is_slower_than_foretold(slow, limit):
    costs = (20, 30, 40, 50, 60, 70)
    clock = Clock()
    rule = course(exits.Deadline(limit, safety=2.0, reserve=0.0), exits=6, costs=costs, clock=clock)
    slowest = 0.0
    for exit, (cost, factor) in enumerate(zip(np.diff(costs, prepend=0), slow), start=1):
        if exit > 1 and factor > 2 * slowest:
            factor = 2 * slowest
        slowest = max(slowest, factor)
        clock.now += 1e-3 * cost * factor
        if exit == 1 and clock.now > limit:
            return  # exit 1 cannot keep it
        if rule(Out(exit, None)).stop:
            break
    assert clock.now <= limit * (1 + 1e-5)


def test_milliseconds_are_not_taken_for_seconds():
    with pytest.raises(ArgumentError, match=r"seconds: expected seconds, at most 10, found 30: of "
                                            r"milliseconds, write 0\.03"):
        exits.Deadline(30)
    with pytest.raises(ArgumentError, match="reserve: expected seconds"):
        exits.Deadline(0.1, reserve=20)
    assert exits.Deadline(10).reserve == 0.001


def test_budget():
    out = [Out(n, None) for n in (1, 2, 3)]
    of_three = {"exits": 3, "costs": (10, 20, 30)}
    rule = course(exits.Budget(20), **of_three)
    assert [rule(o)[:2] for o in out] == [(False, 0.0), (True, 10.0), (True, 10.0)]
    assert -1e-300 < rule(out[0]).margin < 0  # equal is enough
    table = exits.Budget(2.5, costs=(1, 2.5, 7))
    assert [table(o).stop for o in out] == [False, True, True]
    assert course(exits.Budget(0), **of_three)(out[0]) == (True, 20, 20)
    with pytest.raises(ArgumentError, match="costs"):
        exits.Budget(5)(out[0])


def test_floor_and_ceiling():
    out = [Out(n, random_log_probs()) for n in (1, 2, 3, 4)]
    rule = course(exits.Within(exits.Fixed(1), floor=3))
    assert [rule(o).stop for o in out] == [False, False, True, True]
    rule = course(exits.Within(exits.Entropy(0), ceiling=2))
    assert [rule(o).stop for o in out] == [False, True, True, True]
    assert rule(out[1]).margin == -rule(out[1]).score < 0
    same = spelled([1, 0])
    rule = course(exits.Within(exits.Patience(1), floor=3))
    assert [rule(o).stop for o in exits_of(same, same, same)] == [False, False, True]


def test_first_of_several():
    rule = course(exits.FirstOf(exits.Entropy(0), exits.Fixed(2)))
    out = random_log_probs()
    entropy = exits.frame_entropy(out)
    assert rule(Out(1, out)) == (False, entropy, -entropy)
    assert rule(Out(2, out)) == (True, 2, 0)
    stop, score, margin = exits.FirstOf(lambda out: (out.exit == 1, 7.0))(Out(1, out))
    assert (stop, score) == (True, 7.0) and math.isnan(margin)


def test_the_deepest_exit_that_a_policy_names():
    assert exits.FirstOf(exits.Patience(), exits.Within(exits.Fixed(7), 2)).deepest == 7
    assert exits.FirstOf(lambda out: (True, 0.0)).deepest == exits.Entropy(0.1).deepest == 0


STORABLE = [
    exits.Fixed(2), exits.Entropy(0.01), exits.Posterior(0.5, 4), exits.Posterior(0.5, 4, 3),
    exits.Patience(2),
    exits.Threshold("path", 0.5), exits.Threshold("entropy", (None, 0.25)),
    exits.Learned(((0.5,) * len(exits.FEATURES),), (1.5,), 0.5), exits.Deadline(0.03),
    exits.Budget(5.0, (1, 2)), exits.Phrase(-0.5, 3.0), exits.Within(exits.Patience(1), 2, 4),
    exits.Worth(("path",), None, ((1.0, 2.0, 3.0),), (0.5,)),
    exits.FirstOf(exits.Deadline(0.01), exits.Within(exits.Entropy(0.5), 2)),
]


@pytest.mark.parametrize("policy", STORABLE, ids=repr)
def test_policies_survive_json(policy):
    import json

    assert exits.from_plain(json.loads(json.dumps(exits.to_plain(policy)))) == policy


def test_every_kind_is_stored_exported_and_documented():
    assert {type(policy) for policy in STORABLE} == set(KINDS.values())
    page = (Path(__file__).parent.parent / "docs" / "decoding.md").read_text(encoding="utf-8")
    for rule in KINDS.values():
        assert getattr(exits, rule.__name__) is rule and rule.__name__ in exits.__all__
        assert f"| `{rule.__name__}(" in page


def test_a_rule_is_declared_in_one_place(model_path, monkeypatch):
    """Its class says what model files, the command line and calibration call it."""
    monkeypatch.setattr(policies, "KINDS", kinds := dict(KINDS))
    for module in (stored, fit):
        monkeypatch.setattr(module, "KINDS", kinds)

    @dataclass(frozen=True)
    class Long(Rule, kind="long"):
        """Stop at exit 2 where there are many frames."""

        frames: float
        names = ("frames",)

        def decide(self, at, state=None):
            frames = at.score("frames")
            return exits.Decision((frames >= self.frames) & (at.exit > 1), frames), None

        @classmethod
        def candidates(cls, exits):
            return [cls(10), cls(20)]

    assert exits.from_plain({"kind": "long", "frames": 10}) == Long(10)
    assert policies.named("frames", 10) == Long(10)
    assert exits.to_plain(exits.Within(Long(10)))["policy"] == {"kind": "long", "frames": 10}
    frames = np.array([[5, 5], [15, 15], [25, 25]])
    part = table(frames > 10, [1, 1, 1], scores={"frames": frames})
    assert fit.families(part)["long"](part, [0.0]) == [Long(10)]
    assert fit.choices(Long(20), part).tolist() == [1, 1, 1]
    audio = (np.zeros(16000, np.float32), 16000)
    assert ee_ref.load(model_path).transcribe(audio, policy=Long(10)).exit == 2


@pytest.mark.parametrize("plain", [
    None, [], {}, {"kind": "system"}, {"kind": "fixed"}, {"kind": "fixed", "n": 0},
    {"kind": "fixed", "n": 1, "more": 2}, {"kind": "first_of", "policies": []},
    {"kind": "first_of", "policies": 3}, {"kind": "within", "policy": {"kind": "x"}},
    {"kind": "threshold", "score": "guess", "threshold": 1},
    {"kind": "threshold", "score": "path", "threshold": "1"},
    {"kind": "learned", "weights": [[1]], "bias": [1]},
    {"kind": "learned", "weights": 1, "bias": [1]},
    {"kind": "budget", "limit": 1, "costs": [2, 1]}, {"kind": "deadline", "milliseconds": -1},
    {"kind": "deadline", "milliseconds": "30"}, {"kind": "deadline", "seconds": 30},
    {"kind": "deadline", "milliseconds": 30, "seconds": 30}, {"kind": "within", "policy": "fast"},
    {"kind": "worth", "scores": ["path"], "length": None, "weights": [[1, 2]], "bias": [1]},
    {"kind": "worth", "scores": ["path"], "length": None, "weights": [[1, 2, 3]], "bias": []},
    {"kind": "worth", "scores": [1], "length": None, "weights": [[1, 2, 3]], "bias": [1]},
    {"kind": "worth", "scores": ["path"], "length": 1, "weights": [], "bias": []},
    {"kind": "worth", "scores": 1, "length": None, "weights": [], "bias": []},
    {"kind": "phrase", "free": 1, "margin": 2}, {"kind": "phrase", "free": -1},
    {"kind": "first_of", "policies": [["fixed"]]}, {"kind": "threshold", "score": "path"},
])
def test_what_is_no_policy(plain):
    with pytest.raises(ArgumentError):
        exits.from_plain(plain)


def test_policies_nested_too_deep():
    plain = exits.to_plain(exits.Fixed(1))
    for _ in range(10):
        plain = {"kind": "within", "policy": plain}
    with pytest.raises(ArgumentError):
        exits.from_plain(plain)
    for of_code in (lambda out: (True, 1.0), SecondTime()):
        for policy in (of_code, exits.Within(of_code), exits.FirstOf(exits.Fixed(1), of_code)):
            with pytest.raises(ArgumentError, match="policy: expected one of"):
                exits.to_plain(policy)


def test_deadlines_stored_in_milliseconds_are_understood():
    stored = {"kind": "deadline", "milliseconds": 30.0, "safety": 1.5, "reserve": 2.0}
    assert exits.from_plain(stored) == exits.Deadline(0.03, 1.5, 0.002)
    assert exits.from_plain({"kind": "deadline", "milliseconds": 30}) == exits.Deadline(0.03)
    assert exits.to_plain(exits.Deadline(0.03))["seconds"] == 0.03


def test_a_group_that_costs_nothing_says_nothing_of_the_rate():
    found = []
    for costs in ((), (5, 5, 10), (0, 0, 0)):
        now = iter([0.01, 0.03])
        rule = course(exits.Deadline(0.1, safety=1, reserve=0), exits=3, costs=costs,
                      clock=lambda: next(now))
        found.append([rule(Out(exit, None)).score for exit in (1, 2)])
    # Unknown: the group to come is as slow as the slowest; no work at all: it takes no time.
    expected = [[-0.08, -0.05], [-0.09, -0.06], [-0.09, -0.07]]
    assert np.allclose(found, expected, atol=1e-7)


# ---- What the types admit (tests/typing/user_program.py) ----


class SecondTime:
    """A policy of a user's own that remembers something."""

    def decide(self, at, state):
        seen = (state or 0) + 1
        return exits.Decision(seen == 2, seen), seen


def test_functions_and_objects_that_decide_are_policies(model_path):
    model = ee_ref.load(model_path)
    audio = (np.zeros(16000, np.float32), 16000)
    for policy, exit in (
            (lambda out: (out.exit == 2, 0.5), 2), (SecondTime(), 2),
            (exits.Within(SecondTime(), floor=3), 3), (exits.FirstOf(SecondTime()), 2),
            (exits.FirstOf(lambda out: (out.exit == 1, 0.0), SecondTime()), 1)):
        for _ in range(2):
            result = model.transcribe(audio, policy=policy)
            assert result.exit == exit and result.margin is None
    decided = model.transcribe(
        audio, policy=lambda out: exits.Decision(out.scores.frames > 0, out.scores.path, 0.25))
    assert (decided.exit, decided.margin) == (1, 0.25)


@pytest.mark.parametrize("policy", [3, "Fixed(2)", object()], ids=["3", "text", "object"])
def test_what_cannot_decide(policy):
    for make in (exits.FirstOf, exits.Within, lambda policy: Course(policy, exits.Utterance())):
        with pytest.raises(ArgumentError, match="policy: expected an object with decide"):
            make(policy)


def test_one_arithmetic_of_confidence(model_path):
    """The score, the result's confidence and its words' are the same numbers on both backends."""
    for backend in ("native", "numpy"):
        model = ee_ref.load(model_path, backend=backend)
        audio = (np.random.default_rng(1).uniform(-0.5, 0.5, 24000).astype(np.float32), 16000)
        result = model.transcribe(audio, policy=exits.Within(
            exits.Threshold("least_confidence", 0.0), floor=2))
        assert result.exit == 2 and result.words
        assert result.confidence == result.score
        by_hand = model.transcribe(audio, exit=2, decoder=lambda log_probs: decode.greedy(
            log_probs, model.config.blank))
        assert by_hand.words == result.words and by_hand.n_best == result.n_best


@pytest.mark.parametrize("samples", [1, 320, 700, 959])
def test_a_deadline_of_an_utterance_without_frames(samples, model_path):
    """Without padding the first convolution may have frames where the encoder has none."""
    model = ee_ref.load(model_path, backend="numpy")
    assert model.config.pad == 0
    result = model.transcribe((np.zeros(samples, np.float32), 16000), policy=exits.Deadline(9))
    assert result.exit == model.config.exits and -9 < result.score < 0
