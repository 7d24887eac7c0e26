"""training/corpora.py on trees as the corpora have them, and on broken ones."""

from __future__ import annotations

import argparse
import re
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ee_ref.errors import ArgumentError, FileError
from tests.conftest import ROOT

sys.path.append(str(ROOT / "training"))

import corpora  # noqa: E402

NAMES = "client_id\tpath\tsentence\tup_votes"


def audio(path, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(16000 * seconds), np.int16), 16000)


@pytest.fixture
def librispeech(tmp_path):
    for part, speaker, text in (("train-clean-100", 19, "CHAPTER ONE"), ("dev-clean", 84, "IT IS"),
                                ("train-other-500", 20, "HE SAID IT'S LATE")):
        folder = tmp_path / "LibriSpeech" / part / str(speaker) / "198"
        audio(folder / f"{speaker}-198-0000.flac")
        (folder / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 {text}\n")
    return tmp_path / "LibriSpeech"


@pytest.fixture
def common_voice(tmp_path):
    folder = tmp_path / "en"
    rows = {"validated": (("ann", "a", "“It’s late,” he said."), ("ann", "b", "Room 12"),
                          ("bob", "c", "A café"), ("cem", "d", "No more"), ("ann", "e", " ")),
            "dev": (("bob", "c", "A café"),), "test": (("cem", "d", "No more"),)}
    for name, lines in rows.items():
        text = "".join(f"\n{speaker}\t{clip}.wav\t{said}\t2" for speaker, clip, said in lines)
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.tsv").write_text(NAMES + text + "\n", encoding="utf-8")
        for _, clip, _ in lines:
            audio(folder / "clips" / f"{clip}.wav")
    return folder


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    corpora.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_librispeech_by_its_splits(librispeech):
    lines = corpora.read(parsed("--librispeech", librispeech), "train")
    assert [(line["id"], line["text"], line["speaker"], line["source"], line["seconds"])
            for line in lines] == [
        ("19-198-0000", "CHAPTER ONE", "ls-19", "librispeech-train-clean-100", 2.0),
        ("20-198-0000", "HE SAID IT'S LATE", "ls-20", "librispeech-train-other-500", 2.0)]
    dev = corpora.read(parsed("--librispeech", librispeech), "dev")
    assert [line["speaker"] for line in dev] == ["ls-84"]


def test_common_voice_trains_on_validated_clips_of_other_speakers(common_voice, capsys):
    lines = corpora.read(parsed("--common-voice", common_voice), "train")
    assert [(line["id"], line["text"], line["speaker"]) for line in lines] == [
        ("a", "IT'S LATE HE SAID", "cv-ann")]
    assert "1 of 2 recordings left out" in capsys.readouterr().err
    dev = corpora.read(parsed("--common-voice", common_voice), "dev")
    assert [(line["text"], line["seconds"]) for line in dev] == [("A CAFE", 2.0)]


def test_durations_of_a_list_are_taken_without_opening_the_clips(common_voice):
    (common_voice / "clip_durations.tsv").write_text("clip\tduration[ms]\nc.wav\t3500\n")
    (common_voice / "clips" / "c.wav").unlink()
    line, = corpora.read(parsed("--common-voice", common_voice), "dev")
    assert line["seconds"] == 3.5


def test_corpora_are_joined(librispeech, common_voice, tmp_path):
    (tmp_path / "train.jsonl").write_text(
        '{"id": "x", "path": "x.wav", "text": "", "speaker": "s", "source": "t", "seconds": 1}\n')
    lines = corpora.read(parsed("--librispeech", librispeech, "--common-voice", common_voice,
                                "--manifest", tmp_path), "train")
    assert [line["id"] for line in lines] == ["x", "19-198-0000", "20-198-0000", "a"]
    assert lines[0]["path"] == str(tmp_path / "x.wav")
    dev = corpora.read(parsed("--librispeech", librispeech, "--manifest", tmp_path), "dev")
    assert [line["id"] for line in dev] == ["84-198-0000"]


def test_what_cannot_be_used_is_left_out_and_named(librispeech, capsys):
    folder = librispeech / "train-clean-100" / "19" / "198"
    names = {"19-198-0001": "SHORT", "19-198-0002": "BROKEN", "19-198-0003": "FAR TOO MANY " * 9}
    audio(folder / "19-198-0001.flac", seconds=0.1)
    (folder / "19-198-0002.flac").write_bytes(b"fLaC, but no more")
    audio(folder / "19-198-0003.flac")
    with open(folder / "19-198.trans.txt", "a") as file:
        file.write("".join(f"{id} {text}\n" for id, text in names.items()))
    lines = corpora.read(parsed("--librispeech", librispeech), "train")
    assert [line["id"] for line in lines] == ["19-198-0000", "20-198-0000"]
    assert "3 of 5 recordings left out" in capsys.readouterr().err


def broken_durations(librispeech, common_voice):
    (common_voice / "clip_durations.tsv").write_text("clip\tduration[ms]\na.wav\tlong\n")
    return ["--common-voice", common_voice], ArgumentError, "whole milliseconds"


def fewer_fields(librispeech, common_voice):
    with open(common_voice / "validated.tsv", "a") as file:
        file.write("ann\tf.wav\n")
    return ["--common-voice", common_voice], ArgumentError, "line 7: expected 4 fields, found 2"


def other_columns(librispeech, common_voice):
    (common_voice / "test.tsv").write_text("speaker\tpath\n")
    return ["--common-voice", common_voice], ArgumentError, "found no client_id"


def other_encoding(librispeech, common_voice):
    (common_voice / "dev.tsv").write_bytes(NAMES.encode() + b"\n\xff\ta\tb\t1\n")
    return ["--common-voice", common_voice], ArgumentError, "UTF-8"


def no_list(librispeech, common_voice):
    (common_voice / "validated.tsv").unlink()
    return ["--common-voice", common_voice], FileError, "validated.tsv"


def one_part_too_deep(librispeech, common_voice):
    return ["--librispeech", librispeech / "train-clean-100"], ArgumentError, "found 19"


def no_folder(librispeech, common_voice):
    return ["--librispeech", librispeech / "nowhere"], FileError, "nowhere: expected a folder"


def a_transcript_without_audio(librispeech, common_voice):
    (librispeech / "train-clean-100" / "19" / "198" / "19-198-0000.flac").unlink()
    return ["--librispeech", librispeech], ArgumentError, "expected 19-198-0000.flac"


def no_manifest(librispeech, common_voice):
    return ["--manifest", librispeech], FileError, "expected a manifest train.jsonl"


def a_line_of_a_manifest_without_text(librispeech, common_voice):
    (librispeech / "train.jsonl").write_text('{"path": "a.wav", "text": "A"}\n{"path": "b.wav"}\n')
    return (["--manifest", librispeech], ArgumentError,
            "train.jsonl, line 2: expected an object with the strings path and text")


def nothing(librispeech, common_voice):
    return [], ArgumentError, "found none that can be used"


@pytest.mark.parametrize("case", [
    broken_durations, fewer_fields, other_columns, other_encoding, no_list, one_part_too_deep,
    no_folder, a_transcript_without_audio, no_manifest, a_line_of_a_manifest_without_text,
    nothing])
def test_bad_corpora(case, librispeech, common_voice):
    arguments, error, message = case(librispeech, common_voice)
    with pytest.raises(error, match=re.escape(message)):
        corpora.read(parsed(*arguments), "train")


@pytest.mark.parametrize("written, text", [
    ("It’s a test — really?", "IT'S A TEST REALLY"), ("naïve--co-op", "NAIVE CO OP"),
    ("'Tis the boys' “door”", "TIS THE BOYS DOOR"), ("rock 'n' roll", "ROCK N ROLL"), ("", ""),
    ("Room 12", None), ("Ω", None), ("50 %", None), ("a_b", None), ("dom@home", None)])
def test_normalised(written, text):
    assert corpora.normalised(written) == text


@given(st.text())
def test_normalised_texts_are_of_the_alphabet_and_stay_as_they_are(text):
    found = corpora.normalised(text)
    if found:
        assert re.fullmatch(r"[A-Z]+('+[A-Z]+)*( [A-Z]+('+[A-Z]+)*)*", found)
        assert corpora.normalised(found) == found


def test_corpora_are_packed_for_a_trainer(librispeech, tmp_path, monkeypatch, capsys):
    import packs
    import prepare

    loud = np.random.default_rng(0).integers(-9000, 9000, 48000).astype(np.int16)
    folder = librispeech / "train-clean-100" / "19" / "198"
    soundfile.write(folder / "19-198-0000.flac", loud, 16000)
    whole = (folder / "19-198-0000.flac").read_bytes()
    (folder / "19-198-0001.flac").write_bytes(whole[:len(whole) // 2])
    with open(folder / "19-198.trans.txt", "a") as file:
        file.write("19-198-0001 CUT OFF\n")
    monkeypatch.setattr(prepare, "HOURS", 2.5 / 3600)
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--librispeech", str(librispeech), "--split",
                                      "train", "--out", str(tmp_path / "packs")])
    prepare.main()
    found = {}
    for index in sorted((tmp_path / "packs").glob("train-*.json")):
        samples, clips = packs.read(index)
        for clip in clips:
            found[clip["text"]] = (samples[clip["start"]:clip["start"] + clip["samples"]],
                                   clip["kind"], clip["speaker"])
    assert found.keys() == {"CHAPTER ONE", "HE SAID IT'S LATE"}
    samples, kind, speaker = found["CHAPTER ONE"]
    assert np.abs(samples - loud.astype(int)).max() <= 1
    assert (kind, speaker) == ("sentence", "ls-19")
    assert "left out" in capsys.readouterr().err
