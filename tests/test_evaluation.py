"""ee-ref eval: manifests, scoring, figures, and the command over a small random model."""

import csv
import dataclasses
import io
import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import ee_ref
from ee_ref import cli, decode, exits
from ee_ref.errors import ArgumentError, AudioFileError, FileError
from ee_ref.evaluation import comparison, figures, manifest, run, scoring
from ee_ref.evaluation.run import Table
from ee_ref.evaluation.scoring import edit_distance

RATE = 16000


def recordings(folder, count=4):
    """A manifest of noise of several lengths, with made-up texts."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(count):
        samples = rng.uniform(-0.4, 0.4, RATE // 2 + 1600 * number).astype(np.float32)
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        lines.append({"path": f"{number}.wav", "text": "ab cd" if number else "",
                      "id": f"u{number}", "source": "even" if number % 2 == 0 else "odd"})
    path = folder / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def table(errors, words, seconds=None, layers=None, scores=None):
    """A table of word errors (n, K); everything else is made up to fit."""
    errors = np.array(errors)
    n, count = errors.shape
    layers = np.arange(1, count + 1) if layers is None else np.array(layers)
    seconds = np.ones(n) if seconds is None else np.array(seconds, float)
    words = np.array(words)
    costs = layers * seconds[:, None]
    return Table(tuple(f"u{i}" for i in range(n)), errors, 2 * errors, words, 3 * words, seconds,
                 layers, 10 * costs, 0.01 * costs, scores or {})


def test_json_lines(tmp_path):
    found = manifest.read(recordings(tmp_path))
    assert [(r.id, r.path, r.text) for r in found][:2] == [
        ("u0", tmp_path / "0.wav", ""), ("u1", tmp_path / "1.wav", "ab cd")]
    assert found[1].fields["source"] == "odd"


def test_a_librispeech_folder(tmp_path):
    chapter = tmp_path / "84" / "121123"
    chapter.mkdir(parents=True)
    (chapter / "84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 X\n")
    for number in range(2):
        (chapter / f"84-121123-000{number}.flac").touch()
    assert [(r.id, r.path.name, r.text) for r in manifest.read(tmp_path)] == [
        ("84-121123-0000", "84-121123-0000.flac", "GO DO YOU HEAR"),
        ("84-121123-0001", "84-121123-0001.flac", "X")]
    (chapter / "84-121123-0001.flac").unlink()
    with pytest.raises(ArgumentError, match="84-121123-0001.flac"):
        manifest.read(tmp_path)


def test_a_kaldi_folder(tmp_path):
    (tmp_path / "wav.scp").write_text("a x/a.wav\nb /abs/b.flac\n")
    (tmp_path / "text").write_text("b TWO WORDS\na\n")
    assert [(r.id, r.path.as_posix(), r.text) for r in manifest.read(tmp_path)] == [
        ("a", (tmp_path / "x/a.wav").as_posix(), ""), ("b", "/abs/b.flac", "TWO WORDS")]


def folder_of(tmp_path, files):
    """A folder of files, text by name; audio is empty."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_a_kaldi_folder_with_tabs_and_speakers(tmp_path):
    found = manifest.read(folder_of(tmp_path, {
        "wav.scp": " a\t x/a b.wav \r\n\n\tb  \t\u00a0b.wav\r\n",
        "text": "b\tTWO\tWORDS \na \t\n", "utt2spk": "a s1\nb\ts 2\n"}))
    assert [(r.id, r.path.name, r.text, r.fields) for r in found] == [
        ("a", "a b.wav", "", {"speaker": "s1"}),
        ("b", "\u00a0b.wav", "TWO\tWORDS", {"speaker": "s 2"})]


KALDI = {"wav.scp": "a a.wav\nb b.wav\n", "text": "a X\nb Y\n", "utt2spk": "a s\nb s\n"}
SPEECH = {"1/1.trans.txt": "a X\nb Y\n", "1/a.flac": "", "1/b.wav": ""}


@pytest.mark.parametrize("files, expected", [
    ({**KALDI, "text": "a X\nb Y\na Z\n"}, ["text, line 3", "id 'a'", "text, line 1"]),
    ({**KALDI, "wav.scp": "a a.wav\n\na c.wav\nb b.wav"}, ["wav.scp, line 3", "wav.scp, line 1"]),
    ({**KALDI, "utt2spk": "a s\nb s\nb t\n"}, ["utt2spk, line 3", "utt2spk, line 2"]),
    ({**KALDI, "text": "a X\n"}, ["text: expected a line for 'b'", "wav.scp, line 2"]),
    ({**KALDI, "wav.scp": "b b.wav\n"}, ["text, line 1: id 'a': expected in wav.scp too"]),
    ({**KALDI, "utt2spk": "b s\n"}, ["utt2spk: expected a line for 'a'"]),
    ({**KALDI, "utt2spk": "a s\nb s\nc s\n"}, ["utt2spk, line 3: id 'c'"]),
    ({**KALDI, "segments": "a-1 a 0 1\n"}, ["segments: expected one utterance a recording"]),
    ({**SPEECH, "1/1.trans.txt": "a X\nb Y\na X\n"},
     ["1.trans.txt, line 3", "1.trans.txt, line 1"]),
    ({**SPEECH, "2/2.trans.txt": "a X\n", "2/a.flac": ""},
     ["2.trans.txt, line 1", "id 'a'", "1.trans.txt, line 1"]),
    ({**SPEECH, "1/1.trans.txt": "a X\n"}, ["b.wav: expected a line for it in a *.trans.txt"]),
    ({**SPEECH, "2/c.flac": ""}, ["c.flac: expected a line"]),
    ({**SPEECH, "1/1.trans.txt": "a X\nb Y\nc Z"}, ["1.trans.txt, line 3: expected c.flac"]),
])
def test_a_set_does_not_shrink(tmp_path, files, expected):
    """Whatever stands in one list and not in another, or twice in one, is an error."""
    with pytest.raises(ArgumentError) as caught:
        manifest.read(folder_of(tmp_path, files))
    for part in expected:
        assert part in str(caught.value)


def test_an_id_twice_in_json_lines_names_both_lines(tmp_path):
    lines = ['{"path": "a.wav", "text": ""}', "", '{"path": "b.wav", "text": "", "id": "a"}']
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ArgumentError, match="m.jsonl, line 3: id 'a'.*m.jsonl, line 1"):
        manifest.read(path)


def test_what_is_not_of_a_librispeech_folder_is_left_alone(tmp_path):
    found = manifest.read(folder_of(tmp_path, {
        **SPEECH, "1/a.wav": "", "1/._a.flac": "", "1/._1.trans.txt": "\0", ".git/x.flac": "",
        "README.txt": "a X"}))
    assert [(r.id, r.path.name) for r in found] == [("a", "a.flac"), ("b", "b.wav")]


@pytest.mark.parametrize("scp", ["a sox a.wav -t wav - |", "a touch owned |"])
def test_commands_in_a_kaldi_folder_are_refused(tmp_path, scp):
    (tmp_path / "wav.scp").write_text(scp + "\n")
    (tmp_path / "text").write_text("a X\n")
    with pytest.raises(ArgumentError, match="path of an audio file"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("text", [
    "", "x", "[]", '{"path": "a.wav"}', '{"path": 1, "text": "a"}',
    '{"path": "a", "text": "", "id": 1}',
    '{"path": "a", "text": "a"}\n{"path": "b/a", "text": "b"}', "[" * 10000,
])
def test_what_is_no_manifest(tmp_path, text):
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    with pytest.raises(ArgumentError):
        manifest.read(path)


def test_a_missing_or_empty_manifest(tmp_path):
    with pytest.raises(FileError):
        manifest.read(tmp_path / "none.jsonl")
    with pytest.raises(ArgumentError, match="found none"):
        manifest.read(tmp_path)


def test_normalisers():
    plain = scoring.normaliser("plain")
    assert plain("  Don\u2019t stop, it's 3\u00a0o'clock_now! ") == "DON'T STOP IT'S 3 O'CLOCK NOW"
    assert scoring.normaliser("none")(" a  B ") == "a B"
    with pytest.raises(ArgumentError, match="normaliser"):
        scoring.normaliser("whisper")


@pytest.mark.parametrize("text, expected", [
    ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902\u0964",  # Hindi: vowel signs, virama
     "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902"),
    ("\u0e17\u0e35\u0e48 \u0e19\u0e31\u0e48\u0e19!", "\u0e17\u0e35\u0e48 \u0e19\u0e31\u0e48\u0e19"),
    ("\u0633\u064e\u0644\u0645\u064c\u060c \u0646\u064e\u0639\u064e\u0645\u061f",  # Arabic, harakat
     "\u0633\u064e\u0644\u0645\u064c \u0646\u064e\u0639\u064e\u0645"),
    ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd\u05be\u05dc\u05da",  # Hebrew, points; maqaf joins
     "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05dc\u05da"),
    ("cafe\u0301 m\u0303", "CAF\u00c9 M\u0303"),  # with a letter of its own, and without
    ("Vie\u0302\u0323t, Vie\u0323\u0302t", "VI\u1ec6T VI\u1ec6T"),
    ("co\u00adoperate \ufeffa\u2060b\u200e", "COOPERATE AB"),
    ("\u0915\u094d\u200d\u0937 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # joiners
     "\u0915\u094d\u0937 \u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
    ("e\u200d\u0301", "\u00c9"),
    ("a\u200bb", "A B"),  # a space without width
    ("\u845b\U000e0100 1\ufe0f \u2764\ufe0f", "\u845b 1"),  # selectors of variants
    ("\ufb01ne \uff21\u00b2 \u0390", "FINE A2 \u03aa\u0301"),  # NFKC; upper() takes the last apart
    ("\u0301a '\u0301b", "A ' B"),  # marks without a letter
], ids=["hindi", "thai", "arabic", "hebrew", "latin", "vietnamese", "soft hyphen", "joiners",
        "joiner before a mark", "zero width space", "variants", "compatibility", "lone marks"])
def test_marks_belong_to_letters_and_format_characters_vanish(text, expected):
    plain = scoring.normaliser("plain")
    assert plain(text) == expected
    for form in ("NFC", "NFD"):
        assert plain(unicodedata.normalize(form, text)) == expected
    assert plain(expected) == expected


def test_every_letter_and_mark_survives_and_every_format_character_vanishes():
    plain = scoring.normaliser("plain")
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category == "Cf" and character != "\u200b":
            assert plain(f"a{character}b") == "AB", hex(ord(character))
        elif unicodedata.category(unicodedata.normalize("NFKC", character)[0])[0] in "LN":
            assert plain(character), hex(ord(character))
        elif category in ("Mn", "Mc", "Me"):
            assert len(plain(f"x{character}y").split()) == 1, hex(ord(character))


def test_a_wrong_vowel_sign_is_an_error():
    found, = scoring.count(["\u0915\u093f \u0939\u0948"], ["\u0915\u0940 \u0939\u0948"])
    assert found == (1, 1, 2, 5)


def test_errors_are_edits():
    found = scoring.count(["GO LEFT", "", "stop", "A B C"], ["go right left", "X Y", "STOP", "A C"])
    assert [(e.words, e.reference_words) for e in found] == [(1, 2), (2, 0), (0, 1), (1, 3)]
    assert [(e.characters, e.reference_characters) for e in found] == [
        (6, 7), (3, 0), (0, 4), (2, 5)]


@pytest.mark.parametrize("reference, hypothesis, errors", [
    ("", "", 0), ("a b c", "a b c", 0), ("a b c", "a x c", 1), ("a b c", "a c", 1),
    ("a b c", "a b x c", 1), ("a b c", "", 3), ("", "a b", 2), ("a b c d", "b c d e", 2),
])
def test_edit_distance(reference, hypothesis, errors):
    assert edit_distance(reference.split(), hypothesis.split()) == errors


WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@given(WORDS, WORDS, WORDS)
def test_edit_distance_is_a_distance(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


@given(WORDS, WORDS)
def test_edit_distance_is_that_of_the_table(a, b):
    """Cell by cell, as textbooks have it."""
    row = list(range(len(b) + 1))
    for i, expected in enumerate(a, start=1):
        above, row = row, [i]
        for j, found in enumerate(b, start=1):
            row.append(min(above[j - 1] + (expected != found), above[j] + 1, row[j - 1] + 1))
    assert edit_distance(a, b) == row[-1]


def test_jiwer_counts_the_same():
    jiwer = pytest.importorskip("jiwer")
    rng = np.random.default_rng(1)
    for _ in range(60):
        a, b = (" ".join(rng.choice(list("ABC"), rng.integers(low, 40))) for low in (1, 0))
        found, = scoring.count([a], [b])
        for count, judged in ((found.words, jiwer.process_words(a, b)),
                              (found.characters, jiwer.process_characters(a, b))):
            assert count == judged.substitutions + judged.insertions + judged.deletions


def test_figures_weigh_depth_by_audio_and_errors_by_words():
    part = table([[3, 1], [0, 0], [2, 2]], [4, 1, 5], seconds=[1, 2, 7], layers=[2, 6])
    found = figures.figures(part, np.array([1, 0, 0]))
    assert found["wer"][0] == pytest.approx(100 * 3 / 10)
    assert found["cer"][0] == pytest.approx(100 * 6 / 30)
    assert found["minus_full"][0] == pytest.approx(0)
    assert found["depth"] == pytest.approx((6 * 1 + 2 * 2 + 2 * 7) / 10)
    assert found["cost"] == found["time"] == pytest.approx(24 / 60)
    assert found["histogram"] == [2, 1]
    assert found["wer"][1] <= found["wer"][0] <= found["wer"][2]


def test_intervals_cover_the_rate_they_are_of():
    """Bootstrap intervals of samples of a known population hold its rate about 95 times in 100."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        errors = rng.binomial(4, 0.3, size=(150, 1))
        low, high = figures.figures(table(errors, np.full(150, 4)), np.zeros(150, int),
                                    draws=300)["wer"][1:]
        covered += low <= 30 <= high
    assert covered >= 87


def test_drawing_whole_groups_widens_the_interval():
    errors = np.repeat(np.random.default_rng(0).binomial(1, 0.5, 10), 30)
    groups = np.repeat(np.arange(10), 30)
    alone, together = (figures.interval(errors, np.ones(300), g) for g in (None, groups))
    whole = figures.figures(table(errors[:, None], np.ones(300, int)), np.zeros(300, int))
    assert alone == whole["wer"] and together[0] == alone[0]
    assert together[2] - together[1] > 2 * (alone[2] - alone[1])


def test_the_oracle_is_the_earliest_exit_as_good_as_the_last():
    assert figures.oracle(table([[2, 1, 1], [0, 1, 1], [3, 2, 1]], [3, 3, 3])).tolist() == [1, 0, 2]


def test_mixtures_lie_on_the_hull_of_the_fixed_exits():
    part = table([[40, 35, 10]], [100], layers=[2, 4, 6])
    assert figures.mixture(part, 2) == (40, (0, 0, 0.0))
    assert figures.mixture(part, 1)[0] == 40
    assert figures.mixture(part, 4) == (25, (0, 2, 0.5))  # better than exit 2 by itself
    assert figures.mixture(part, 9)[0] == 10


def test_against_a_mixture():
    part = table([[2, 0], [0, 0], [2, 2], [0, 0]] * 30, [4] * 120, layers=[1, 3])
    found = figures.against_mixture(part, np.tile([1, 0, 0, 0], 30))
    assert found["depth"] == pytest.approx(1.5) and found["mixture_wer"] == pytest.approx(21.875)
    assert found["wer"] == pytest.approx(12.5)
    assert found["relative"][0] == pytest.approx(100 * (1 - 12.5 / 21.875))
    assert found["relative"][1] > 0


def test_run_measures_every_exit_and_follows_the_policy(tmp_path, model_path):
    model = ee_ref.load(model_path)
    found = manifest.read(recordings(tmp_path))
    policy = exits.Within(exits.Entropy(0.0), ceiling=2)
    for threads in (1, 2):
        utterances = run.run(model, found, policy, threads=threads)
        assert [u.recording.id for u in utterances] == ["u0", "u1", "u2", "u3"]
        for utterance in utterances:
            result = model.transcribe(str(utterance.recording.path), policy=policy)
            assert (utterance.exit, utterance.text) == (result.exit, result.text)
            assert result.exit == 2
            assert len(utterance.texts) == 3 and utterance.texts[1] == utterance.text
            assert list(utterance.costs) == sorted(utterance.costs)
            assert utterance.times[0] < utterance.times[-1]
            assert utterance.seconds_used > utterance.score_seconds > 0
    with pytest.raises(ArgumentError, match="threads"):
        run.run(model, found, threads=0)


def test_run_decodes_every_exit_as_it_is_told(tmp_path, model_path):
    model = ee_ref.load(model_path)
    found = manifest.read(recordings(tmp_path))
    word = "ab"
    decoder = decode.WordDecoder(model.tokens, lexicon=decode.Lexicon([word]))
    for utterance in run.run(model, found, exits.Fixed(2), decoder=decoder):
        result = model.transcribe(utterance.recording.path, exit=2, decoder=decoder)
        assert utterance.text == utterance.texts[1] == result.text
        assert set(" ".join(utterance.texts).split()) <= {word}


@pytest.mark.parametrize("policy, most", [(None, [3]), (exits.Fixed(1), [3, 1])])
def test_the_encoder_runs_once_and_once_more_for_a_policy(tmp_path, model_path, monkeypatch,
                                                          policy, most):
    model, ran = ee_ref.load(model_path, backend="numpy"), []
    encode = model._encoder.exits

    def counted(features):
        ran.append(0)
        for out in encode(features):
            ran[-1] += 1
            yield out

    monkeypatch.setattr(model._encoder, "exits", counted)
    found = manifest.read(recordings(tmp_path, 1))
    run.run(model, found, policy)
    assert ran == most
    ran.clear()
    run.rendered(model, found, "trn", policy)
    assert ran == most[-1:]


def test_models_are_compared_exit_by_exit(tmp_path, model_path):
    """A model with itself, and with one whose labels are the other way round."""
    model, other = (ee_ref.load(model_path, backend="numpy") for _ in range(2))
    found = manifest.read(recordings(tmp_path))
    words = sum(len(recording.text.split()) for recording in found)
    alone = run.table(model, run.run(model, found), "plain").word_errors.sum(axis=0)
    for exit, errors in zip(comparison.compare(model, other, found, threads=2), alone):
        assert exit == (errors, errors, words, 0, exit.signal, 0) and exit.signal > 0
    encode = model._encoder.exits
    other._encoder.exits = lambda features: (
        out._replace(output=out.log_probs[:, ::-1]) for out in encode(features))
    different = comparison.compare(model, other, found)
    assert all(exit.changed and exit.noise > 0 for exit in different)
    lines = comparison.text(different, 3, left_out=1).splitlines()
    assert lines[0].startswith(f"3 recordings, {words} words")
    assert lines[1].startswith("1 of 4 recordings left out")
    assert [line.split()[0] for line in lines[-3:]] == ["1", "2", "3"]


def test_questions_to_a_manifest():
    found = [manifest.Recording(id, Path(id), "", fields) for id, fields in (
        ("a", {"source": "x", "speaker": "ann"}), ("b", {"source": "y", "speaker": "unknown"}),
        ("c", {"source": "z"}))]
    assert [r.id for r in manifest.where(found, "source=x,z")] == ["a", "c"]
    for condition in ("source", "source=w", "other=x"):
        with pytest.raises(ArgumentError, match=f"^{condition}: expected FIELD=VALUE"):
            manifest.where(found, condition)
    assert [manifest.group(r) for r in found] == ["ann", "b", "c"]
    assert [manifest.group(r, "source") for r in found] == ["x", "y", "z"]


def run_eval(capsys, *arguments):
    code = cli.main(["eval", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_the_reports_of_the_command(tmp_path, model_path, capsys):
    path = recordings(tmp_path)
    base = ("--manifest", path, "--model", model_path, "--threads", "2")
    code, out = run_eval(capsys, *base, "--format", "json", "--policy", "entropy", "--threshold",
                         "0", "--ceiling", "2", "--by", "source")
    report = json.loads(out)
    assert code == 0 and report["utterances"] == 4 and report["normaliser"] == "plain"
    assert report["chosen"]["histogram"] == [0, 4, 0]
    assert report["chosen"]["wer"][0] == report["exits"][1]["wer"][0]
    assert set(report["parts"]) == {"even", "odd"} and len(report["exits"]) == 3
    assert report["times_real_time"] > 0 and 0 < report["policy_run"]["rule_of_groups"]

    assert report["decoder"] == "greedy"

    code, out = run_eval(capsys, *base, "--exit", "all")
    assert code == 0 and "exit 3" in out and "oracle" in out and "policy" not in out
    assert "normaliser plain, decoder greedy\n" in out
    code, out = run_eval(capsys, *base, "--exit", "all", "--beam", "3", "--hotwords", "ab=2")
    assert code == 0 and "normaliser plain, decoder beam 3, hotwords ab=2\n" in out
    code, out = run_eval(capsys, *base, "--exit", "2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 12 and [row["chosen"] for row in rows[:3]] == ["0", "1", "0"]
    code, out = run_eval(capsys, *base, "--exit", "1", "--format", "trn")
    assert [line.split()[-1] for line in out.splitlines()] == ["(u0)", "(u1)", "(u2)", "(u3)"]
    output = tmp_path / "out.ctm"
    assert run_eval(capsys, *base, "--format", "ctm", "-o", output) == (0, "")
    assert all(len(line.split()) == 6 for line in output.read_text().splitlines())
    assert run_eval(capsys, *base, "-o", output)[0] == 1  # it exists


def spoil(tmp_path):
    """Make two of four recordings unusable: one is missing, one is no audio."""
    (tmp_path / "1.wav").unlink()
    (tmp_path / "2.wav").write_bytes(b"no audio at all")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_bad_recording_is_left_out_and_told(tmp_path, model_path, capsys, threads):
    path = recordings(tmp_path)
    spoil(tmp_path)
    base = ["eval", "--manifest", str(path), "--model", str(model_path), "--threads", threads]
    assert cli.main([*base, "--format", "json", "--policy", "entropy", "--threshold", "0"]) == 1
    streams = capsys.readouterr()
    report = json.loads(streams.out)
    assert (report["utterances"], report["left_out"], report["words"]) == (2, 2, 2)
    lines = streams.err.splitlines()
    assert "1.wav" in lines[0] and "2.wav" in lines[1]
    assert lines[2] == "ee-ref: 2 of 4 recordings left out"
    assert cli.main(base) == 1
    assert "2 of 4 recordings left out" in capsys.readouterr().out
    for format, told in (("csv", ["u0"] * 3 + ["u3"] * 3), ("trn", ["(u0)", "(u3)"])):
        assert cli.main([*base, "--format", format]) == 1
        out = capsys.readouterr().out.splitlines()
        found = ([line.split(",")[0] for line in out[1:]] if format == "csv"
                 else [line.split()[-1] for line in out])
        assert found == told


def test_without_any_usable_recording_there_is_no_report(tmp_path, model_path, capsys):
    path = recordings(tmp_path, 1)
    (tmp_path / "0.wav").unlink()
    assert cli.main(["eval", "--manifest", str(path), "--model", str(model_path)]) == 1
    streams = capsys.readouterr()
    assert streams.out == "" and "found none of 1" in streams.err


def test_a_bad_recording_is_an_error_where_nobody_takes_it(tmp_path, model_path):
    path = recordings(tmp_path)
    spoil(tmp_path)
    for threads in (1, 2):
        with pytest.raises(AudioFileError, match="1.wav"):
            run.run(ee_ref.load(model_path), manifest.read(path), threads=threads)


def test_rates_without_reference_words_are_undefined():
    part = table([[5, 2], [0, 1]], [0, 0])
    found = figures.figures(part, np.zeros(2, int))
    assert found["wer"] == found["cer"] == found["minus_full"] == [None, None, None]
    assert (found["word_errors"], found["character_errors"]) == (5, 10)
    assert figures.mixture(part, 1)[0] is None
    assert figures.against_mixture(part, np.zeros(2, int))["wer"] is None


def test_intervals_do_not_count_draws_without_words():
    """One utterance of four has the words; the insertions of the others are no rate of 500 %."""
    found = figures.figures(table([[1], [5], [5], [5]], [10, 0, 0, 0]), np.zeros(4, int))
    assert found["wer"][0] == 160
    assert found["wer"][2] <= 100 * (1 + 3 * 5) / 10
    alone = figures.against_mixture(table([[0, 0], [2, 0]], [3, 3]), np.array([0, 0]))
    assert alone["relative"] == [0, 0, 0]


def test_shares_of_nothing_are_undefined():
    part = dataclasses.replace(table([[1, 0]], [1], seconds=[0]), times=np.zeros((1, 2)))
    found = figures.figures(part, np.zeros(1, int))
    assert found["cost"] is None and found["time"] is None and found["depth"] == 1


@pytest.mark.filterwarnings("error")
def test_a_set_without_words_is_reported_without_rates(tmp_path, model_path, capsys):
    path = recordings(tmp_path, 2)
    path.write_text(path.read_text().replace("ab cd", " -- "))
    base = ("--manifest", path, "--model", model_path, "--policy", "entropy", "--threshold", "0")
    code, out = run_eval(capsys, *base, "--format", "json", "--by", "source")
    report = json.loads(out, parse_constant=pytest.fail)
    assert code == 0 and report["words"] == 0
    for part in (report, *report["parts"].values()):
        assert part["exits"][0]["wer"] == [None] * 3 and part["exits"][0]["word_errors"] > 0
    code, out = run_eval(capsys, *base)
    line, = (line for line in out.splitlines() if line.startswith("  exit 1"))
    assert code == 0 and f"- ({report['exits'][0]['word_errors']} inserted)" in line
    (tmp_path / "0.wav").write_bytes((tmp_path / "1.wav").read_bytes()[:44])  # no samples either
    assert run_eval(capsys, *base)[0] == 0


@pytest.mark.parametrize("arguments", [
    ["--exit", "9"], ["--policy", "guess"], ["--policy", "path"], ["--policy", "fast"],
    ["--floor", "0"], ["--floor", "3", "--ceiling", "2"], ["--threshold", "1"],
    ["--policy", "patience", "--threshold", "1.5"], ["--deadline", "-1"], ["--threads", "0"],
])
def test_wrong_usage(tmp_path, model_path, capsys, arguments):
    code, _ = run_eval(
        capsys, "--manifest", recordings(tmp_path), "--model", model_path, *arguments)
    assert code == 2


@pytest.mark.parametrize("render", ["ctm", "trn"])
def test_ids_are_as_the_manifest_has_them_or_refused(tmp_path, model_path, render):
    samples = np.zeros(8000, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    model = ee_ref.load(model_path)

    def measured(*ids):
        lines = [json.dumps({"path": "a.wav", "text": "a", "id": id}) for id in ids]
        (tmp_path / "set.jsonl").write_text("\n".join(lines) + "\n")
        return run.rendered(model, manifest.read(tmp_path / "set.jsonl"), render)

    found = measured("sp0.9-utt1", "sp0.9-utt2", "spk/utt3")
    if render == "trn":
        ids = [text.rpartition("(")[2].rstrip(")\n") for text in found]
        assert ids == ["sp0.9-utt1", "sp0.9-utt2", "spk/utt3"]
    with pytest.raises(ArgumentError, match="'a b' and 'a_b' would both be a_b"):
        measured("a b", "a_b")
