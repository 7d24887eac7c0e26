"""Phrases from audio to intent: in a model, in evaluation and calibration, on the command line."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref import cli, decode, exits, model_file, phrases
from ee_ref.calibration.phrases import accepted, fit_confidence, phrase_table
from ee_ref.errors import ArgumentError, FileError, ModelFileError, PhraseError
from ee_ref.evaluation.phrases import Outcomes, same
from ee_ref.exits import Confidence
from ee_ref.exits.phrase import phrase_scores
from tests.test_evaluation import RATE, table

TEMPLATES = """
Low: {letter} d [e]
{letter} = a | b b -> double | c
High: m n {tone}
{tone} = k -> 1 | l -> 2
"""
ALWAYS, NEVER = Confidence(0.0, 0.0, 0.0, 0.0), Confidence(0.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    path = tmp_path_factory.mktemp("said") / "letters.phrases"
    path.write_text(TEMPLATES)
    return path


@pytest.fixture(scope="module")
def letters(said):
    return phrases.load(said)


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(3)
    return [(rng.uniform(-0.4, 0.4, RATE + 1600 * number) * np.sin(np.arange(RATE + 1600 * number)
             / (200 + 90 * number))).astype(np.float32) for number in range(8)]


def with_point(model_path, path, point):
    """The model with an operating point `phrases`."""
    model_file.store_operating_points(model_file.read(model_path), path, {"phrases": point},
                                      overwrite=True)
    return path


@pytest.fixture(scope="module")
def accepting(model_path, tmp_path_factory):
    """A model that takes the best phrase whatever its confidence."""
    return with_point(model_path, tmp_path_factory.mktemp("point") / "accepting.gguf",
                      {"policy": exits.to_plain(exits.Fixed(3)),
                       "confidence": dataclasses.asdict(ALWAYS)})


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("filler", [None, 1.5])
def test_a_result_is_what_the_search_finds(accepting, letters, noise, backend, filler):
    model = ee_ref.load(accepting, backend=backend)
    decoder = model.phrase_decoder(letters, filler)
    seen = set()
    for samples in noise:
        for exit in (1, 3):
            result = model.transcribe(samples, exit=exit, phrases=decoder)
            [log_probs] = [out.log_probs for out in model.exits(model.features(samples))
                           if out.exit == exit]
            found = decode.graph.search(letters.compile(model.tokens), log_probs, 2, filler)
            words = letters.sentence(found[0][1])
            assert result.text.upper() == " ".join(words)
            assert [(h.text.upper().split(), h.score) for h in result.n_best] == [
                (letters.sentence(key), score) for score, key in found]
            assert (result.intent, result.slots) == letters.meaning(words)
            assert result.confidence == phrase_scores(
                [score for score, _ in found], sum(map(len, words)), ALWAYS).confidence
            assert [word.word.upper() for word in result.words] == words
            times = [time for word in result.words for time in (word.start, word.end)]
            assert times == sorted(times) and 0 <= times[0] and times[-1] <= result.duration
            seen.add((result.intent, *result.slots.items()))
    assert len(seen) > 1
    if filler is None:
        assert model.transcribe(noise[0], phrases=letters) == model.transcribe(
            noise[0], phrases=decoder)


def test_a_phrase_that_is_not_sure_enough_is_rejected(model_path, tmp_path, letters, noise):
    path = with_point(model_path, tmp_path / "m.gguf", {
        "policy": exits.to_plain(exits.Fixed(2)), "confidence": dataclasses.asdict(NEVER)})
    result = ee_ref.load(path).transcribe(noise[0], phrases=letters)
    assert result.exit == 2  # by the operating point
    assert (result.text, result.words, result.intent, result.slots) == ("", [], None, {})
    assert 0 <= result.confidence < 1 and len(result.n_best) == 2
    assert all(h.text and h.score <= 0 and h.tokens for h in result.n_best)


def test_a_recording_too_short_for_any_phrase(accepting, tmp_path):
    path = tmp_path / "long.phrases"
    path.write_text("a b c d e f g h i j k l m n\n")
    result = ee_ref.load(accepting).transcribe(np.zeros(1600, np.float32), phrases=path)
    assert (result.text, result.n_best, result.confidence, result.intent) == ("", [], 0.0, None)


def test_the_rule_stops_as_soon_as_the_phrase_is_sure(model_path, letters, noise):
    model = ee_ref.load(model_path)
    decoder = model.phrase_decoder(letters)
    for samples in noise:
        scores = [decoder(out.log_probs).scores for out in model.exits(model.features(samples))]
        for exit, at in enumerate(scores, start=1):
            rule = exits.Phrase(max(at.free, -1e30), at.margin)
            result = model.transcribe(samples, policy=rule, phrases=letters)
            first = next(number for number, other in enumerate(scores, start=1)
                         if other.free >= at.free and other.margin >= at.margin)
            assert result.exit == first <= exit and result.margin >= 0
            assert result == dataclasses.replace(
                model.transcribe(samples, exit=first, phrases=letters), score=result.score,
                margin=result.margin)


@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_as_many_phrases_are_told_as_asked_for(model_path, letters, noise, n_best):
    model = ee_ref.load(model_path)
    two, some = model.phrase_decoder(letters), model.phrase_decoder(letters, n_best=n_best)
    most = 0
    for samples in noise:
        for out in model.exits(model.features(samples)):
            heard = some(out.log_probs)
            expected = decode.graph.search(some.graph, out.log_probs, max(n_best, 2))
            assert list(heard.found) == expected[:n_best]
            assert heard.scores == two(out.log_probs).scores
            most = max(most, len(heard.found))
    assert most == n_best


def test_phrases_are_compiled_once_for_a_model(model_path, letters, noise, monkeypatch):
    calls = []
    compiled = phrases.Phrases.compile
    monkeypatch.setattr(phrases.Phrases, "compile",
                        lambda self, *rest: calls.append(self) or compiled(self, *rest))
    model = ee_ref.load(model_path)
    for samples in noise[:3]:
        model.transcribe(samples, phrases=letters)
    assert calls == [letters]


def test_what_cannot_be_asked_for(model_path, letters, noise, tmp_path):
    model = ee_ref.load(model_path)
    with pytest.raises(ArgumentError, match="goes by phrases: expected phrases, found none"):
        model.transcribe(noise[0], policy=exits.Phrase(-1, 1))
    with pytest.raises(ArgumentError, match="expected a decoder or phrases, found both"):
        model.transcribe(noise[0], phrases=letters, decoder=decode.greedy)
    for filler in (-1, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="filler: expected .*, found "):
            model.phrase_decoder(letters, filler)
    with pytest.raises(FileError):
        model.transcribe(noise[0], phrases=tmp_path / "none.phrases")
    unspeakable = tmp_path / "unspeakable.phrases"
    unspeakable.write_text("a z\n")  # no label of the model has a z
    with pytest.raises(PhraseError, match="unspeakable.phrases.*1"):
        model.transcribe(noise[0], phrases=unspeakable)


@pytest.mark.parametrize("confidence", [
    3, {}, {"bias": 0}, {"bias": 0, "free": 1, "margin": 1, "threshold": 2},
    {"bias": 0, "free": 1, "margin": 1, "threshold": 0.5, "more": 1},
    {"bias": "0", "free": 1, "margin": 1, "threshold": 0.5}])
def test_a_stored_confidence_that_makes_no_sense(model_path, tmp_path, letters, noise, confidence):
    path = with_point(model_path, tmp_path / "m.gguf", {
        "policy": exits.to_plain(exits.Fixed(1)), "confidence": confidence})
    model = ee_ref.load(path)
    assert model.transcribe(noise[0]).intent is None
    with pytest.raises(ModelFileError, match="operating point phrases: confidence"):
        model.transcribe(noise[0], phrases=letters)


def test_sentences_of_one_meaning_are_the_same(said, tmp_path):
    path = tmp_path / "p.phrases"
    path.write_text(
        "Light: [the] {room} light\n{room} = hall | lobby -> hall | attic\nstop\nhalt\n")
    found = phrases.load(path)

    def alike(a, b):
        return same(found, a.upper().split(), b.upper().split())

    assert alike("the hall light", "lobby light") and alike("stop", "stop")
    assert not alike("hall light", "attic light")
    assert not alike("stop", "halt")  # without an intent only the words count
    assert not alike("stop", "") and not alike("stop here", "stop here")


# ---- Calibration ----


def outcomes_of(seed=0, n=600, exits_=3):
    """Scores that tell right phrases from others but for some noise, in a table, and outcomes."""
    rng = np.random.default_rng(seed)
    said = rng.random(n) < 0.6
    right = said[:, None] & (rng.random((n, exits_)) < 0.95)
    free = -np.abs(rng.normal(np.where(right, 0.3, 3.0), 0.6)).astype(np.float32)
    margin = np.clip(rng.normal(np.where(right, 9, 2), 2.5), 0, 10).astype(np.float32)
    free[~said & (rng.random(n) < 0.1)] = -np.inf
    part = table(np.zeros((n, exits_), int), np.ones(n, int), scores={
        "phrase_free": free, "phrase_margin": margin})
    return part, Outcomes(said, right, np.zeros_like(right))


def test_confidence_is_fitted_and_its_threshold_balances_the_errors():
    part, outcomes = outcomes_of()
    by = fit_confidence(part, outcomes)
    assert by.free > 0 and by.margin > 0
    held, others = outcomes_of(seed=1)
    took = accepted(held, by)
    rejected = (others.right & ~took).sum() / (3 * others.said.sum())
    taken = took[~others.said].mean()
    assert rejected < 0.03 and taken < 0.03 and abs(rejected - taken) < 0.015
    assert not took[held.scores["phrase_free"] == -np.inf].any()
    rule_table = phrase_table(held, dataclasses.replace(others, accepted=took))
    assert len(rule_table) == others.said.sum() and (rule_table.words == 1).all()
    assert rule_table.word_errors.mean() == pytest.approx(
        1 - (others.right & took)[others.said].mean())


@pytest.mark.parametrize("said", [True, False])
def test_confidence_needs_phrases_and_other_speech(said):
    part, outcomes = outcomes_of()
    chosen = outcomes.said == said
    with pytest.raises(ArgumentError, match="calibration set: expected recordings that say"):
        fit_confidence(part.rows(chosen), outcomes.rows(chosen))


# ---- The command line ----


@pytest.fixture(scope="module")
def manifest(accepting, letters, noise, tmp_path_factory):
    """Recordings of which most say what the model's last exit finds, and two say something else."""
    folder = tmp_path_factory.mktemp("recordings")
    model = ee_ref.load(accepting)
    lines = []
    for number, samples in enumerate(noise):
        soundfile.write(folder / f"{number}.wav", samples, RATE, subtype="FLOAT")
        text = model.transcribe(samples, phrases=letters).text
        lines.append({"path": f"{number}.wav", "text": "hello there" if number < 2 else text,
                      "speaker": f"s{number}", "source": "others" if number < 2 else "phrases"})
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(capsys, *arguments):
    code = cli.main([*map(str, arguments)])
    return code, *capsys.readouterr()


def test_transcribe_gives_intent_and_slots(accepting, said, manifest, capsys):
    clip = manifest.parent / "3.wav"
    result = ee_ref.load(accepting).transcribe(clip, phrases=said)
    code, out, _ = run(capsys, "transcribe", clip, "--model", accepting, "--phrases", said,
                       "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert (found["text"], found["intent"], found["slots"]) == (
        result.text, result.intent, result.slots)
    assert run(capsys, "transcribe", clip, "--model", accepting, "--phrases", said, "--filler",
               "3") == (0, ee_ref.load(accepting).transcribe(
                   clip, phrases=ee_ref.load(accepting).phrase_decoder(said, 3)).text + "\n", "")
    _, out, _ = run(capsys, "transcribe", clip, "--model", accepting, "--format", "json")
    assert (json.loads(out)["intent"], json.loads(out)["slots"]) == (None, {})


@pytest.mark.parametrize("options, message", [
    (("--filler", "3"), "--filler 3 needs --phrases"),
    (("--phrases", "none.phrases"), "none.phrases"),
    (("--phrases", "{said}", "--beam", "4"), "--beam or --phrases"),
    (("--phrases", "{said}", "--filler", "-1"), "filler: expected"),
    (("--phrases", "{broken}"), "broken.phrases"),
])
def test_options_that_do_not_fit(accepting, said, manifest, capsys, tmp_path, options, message):
    broken = tmp_path / "broken.phrases"
    broken.write_text("turn (on | off\n")
    options = [option.format(said=said, broken=broken) for option in options]
    code, out, err = run(capsys, "transcribe", manifest.parent / "1.wav", "--model", accepting,
                         *options)
    assert code in (1, 2) and out == "" and message in err


def test_eval_counts_phrases(accepting, said, manifest, capsys):
    base = ("eval", "--model", accepting, "--manifest", manifest, "--phrases", said)
    code, out, _ = run(capsys, *base, "--format", "json", "--by", "source")
    report = json.loads(out)
    found = report["phrases"]
    assert code == 0 and (found["recordings"], found["said"]) == (8, 6)
    assert found["exits"][-1] == found["chosen"]
    assert found["chosen"]["right"] == found["chosen"]["accepted"] == [100, 100, 100]
    assert found["chosen"]["rejected"][0] == 0 and report["decoder"] == "phrases"
    parts = {name: part["phrases"] for name, part in report["parts"].items()}
    assert parts["others"]["chosen"]["right"] == [None] * 3 and parts["phrases"]["said"] == 6
    code, out, _ = run(capsys, *base, "--by", "source")
    assert code == 0 and "6 of 8 recordings say one of the phrases" in out and "policy" in out
    code, out, _ = run(capsys, *base, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 24 and float(rows[0]["free"]) <= 0
    code, out, _ = run(capsys, *base, "--format", "trn")
    assert code == 0 and len(out.splitlines()) == 8


def test_calibrate_stores_confidence_and_a_rule(accepting, said, manifest, capsys, tmp_path):
    other = tmp_path / "with_points.gguf"
    model_file.store_operating_points(model_file.read(accepting), other,
                                      {"fast": {"policy": exits.to_plain(exits.Fixed(1))}})
    output = tmp_path / "calibrated.gguf"
    code, out, err = run(capsys, "calibrate", "--model", other, "--manifest", manifest, "--phrases",
                         said, "-o", output, "--target", "best")
    assert code == 0, err
    assert "confidence: sigmoid(" in out and "phrase" in out
    points = model_file.operating_points(model_file.read(output))
    assert set(points) == {"fast", "phrases"}  # what was there stays
    model = ee_ref.load(output)
    assert isinstance(model.policies["phrases"], exits.Phrase)
    assert model.phrase_confidence == Confidence(**points["phrases"]["confidence"])
    assert model.policy(phrases=True) == model.policies["phrases"]
    assert model.policy() == exits.Fixed(3)
    for option, value in (("--confidence", "0.9"), ("--point", "a=best")):
        code, _, err = run(capsys, "calibrate", "--model", other, "--manifest", manifest,
                           "--phrases", said, "--dry-run", option, value)
        assert code == 2 and option in err
    # The rule asks for phrases, and says so before it hears anything.
    for command in (("transcribe", manifest.parent / "1.wav"), ("eval", "--manifest", manifest)):
        code, out, err = run(capsys, *command, "--model", output, "--policy", "phrases")
        assert (code, out) == (2, "") and err.count("goes by phrases: expected phrases") == 1
