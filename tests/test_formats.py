"""Every output format against its grammar."""

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import formats
from ee_ref.errors import ArgumentError, FileError
from ee_ref.tokens import Word


def result(words, **changes):
    words = [Word(*word) for word in words]
    fields = {
        "text": " ".join(word.word for word in words), "exit": 2, "score": -3.5, "margin": 0.25,
        "confidence": 0.5, "words": words,
        "n_best": [SimpleNamespace(text="A", score=-3.5, tokens=(3, 4), parts=None)],
        "timing": {"audio": 0.01, "total": 0.02}, "duration": 4.0,
        "intent": "TurnOn", "slots": {"level": 3},
    }
    return SimpleNamespace(**{**fields, **changes})


HELLO = result([("HELLO", 0.09, 0.25, 0.5), ("WORLD", 0.41, 0.45, 0.9876543)])
EMPTY = result([], confidence=1.0, n_best=[
    SimpleNamespace(text="", score=0.0, tokens=(), parts=None)])

# Words that hold what the grammars reserve; the tokens of a model can be anything but white space.
word_texts = st.text(
    st.characters() | st.sampled_from("<>&-()[]{};/@"), min_size=1, max_size=50
).map(lambda text: re.sub(r"[\s\x00-\x1f\x7f-\x9f]", "x", text))


@st.composite
def results(draw):
    texts = draw(st.lists(word_texts, max_size=20))
    words, time = [], 0.0
    for text in texts:
        start = time + draw(st.sampled_from([0.0, 0.0001, 0.04, 0.6, 0.7, 4000.0]))
        time = start + draw(st.sampled_from([0.0, 0.0004, 0.04, 0.5]))
        words.append((text, start, time, draw(st.floats(0, 1))))
    return result(words)


def test_txt():
    assert formats.render("txt", "a.wav", HELLO) == "HELLO WORLD\n"
    assert formats.render("txt", "a.wav", EMPTY) == "\n"


def test_json():
    text = formats.render("json", "dir/a.wav", HELLO)
    assert text.count("\n") == 1 and text.endswith("\n")
    found = json.loads(text)
    assert list(found) == ["path", "text", "exit", "score", "margin", "confidence", "duration",
                           "intent", "slots", "words", "n_best", "timing"]
    assert (found["intent"], found["slots"]) == ("TurnOn", {"level": 3})
    assert found["path"] == "dir/a.wav" and found["text"] == "HELLO WORLD"
    assert (found["exit"], found["score"], found["margin"]) == (2, -3.5, 0.25)
    assert found["words"][0] == {"word": "HELLO", "start": 0.09, "end": 0.25, "confidence": 0.5}
    assert found["n_best"] == [{"text": "A", "score": -3.5, "tokens": [3, 4]}]
    assert found["timing"] == {"audio": 0.01, "total": 0.02} and found["duration"] == 4.0


def test_json_is_strict():
    odd = result(
        [("É\u2028", np.float32(0.5), 1.0, np.float64(1.0))], margin=math.nan, score=-math.inf,
        exit=np.int64(3), confidence=np.float32(0.5),
    )
    text = formats.render("json", "\udcff.wav", odd)
    assert text.isascii()

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert found["margin"] is None and found["score"] is None
    assert found["exit"] == 3 and found["confidence"] == 0.5 and found["words"][0]["start"] == 0.5


@given(results())
def test_json_lines_of_anything(any_result):
    text = formats.render("json", "a", any_result)
    assert text.count("\n") == 1
    assert json.loads(text)["text"] == any_result.text


SRT_CUE = re.compile(
    r"(\d+)\n(\d\d+):([0-5]\d):([0-5]\d),(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d),(\d{3})\n(.+)\n"
)
VTT_CUE = re.compile(
    r"\n(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})\n(.+)\n"
)


def milliseconds(hours, minutes, seconds, thousandths):
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(thousandths)


def check_cues(cues, words):
    """cues: (start, end, words) of each. In order, apart, as long as allowed, and complete."""
    previous = 0
    for start, end, texts in cues:
        assert previous <= start < end
        previous = end
        assert len(texts) <= formats.CUE_WORDS
        assert len(texts) == 1 or len(" ".join(texts)) <= formats.CUE_CHARACTERS
    assert [text for _, _, texts in cues for text in texts] == words


@given(results())
def test_srt_of_anything(any_result):
    text, cues, position = formats.render("srt", "a", any_result), [], 0
    for number in range(1, 1 + text.count(" --> ")):
        if number > 1:
            assert text[position] == "\n"
            position += 1
        match = SRT_CUE.match(text, position)
        assert match and int(match[1]) == number
        position = match.end()
        assert "-->" not in match[10]
        cues.append((milliseconds(*match.groups()[1:5]), milliseconds(*match.groups()[5:9]),
                     match[10].split(" ")))
    assert position == len(text)
    check_cues(cues, [word.word.replace("-->", "->") for word in any_result.words])


@given(results())
def test_vtt_of_anything(any_result):
    text, cues = formats.render("vtt", "a", any_result), []
    assert text.startswith("WEBVTT\n")
    position = len("WEBVTT\n")
    while position < len(text):
        match = VTT_CUE.match(text, position)
        assert match
        position = match.end()
        assert "<" not in match[9] and "-->" not in match[9]
        assert not re.search(r"&(?!amp;|lt;|gt;)", match[9])
        plain = match[9].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append((milliseconds(*match.groups()[:4]), milliseconds(*match.groups()[4:8]),
                     plain.split(" ")))
    check_cues(cues, [word.word for word in any_result.words])


def test_subtitles():
    assert formats.render("srt", "a.wav", HELLO) == (
        "1\n00:00:00,090 --> 00:00:00,450\nHELLO WORLD\n"
    )
    assert formats.render("vtt", "a.wav", HELLO) == (
        "WEBVTT\n\n00:00:00.090 --> 00:00:00.450\nHELLO WORLD\n"
    )
    assert formats.render("srt", "a.wav", EMPTY) == ""
    assert formats.render("vtt", "a.wav", EMPTY) == "WEBVTT\n"
    late = result([("A", 3723.4567, 3723.5, 1.0)])
    assert "01:02:03,457 --> 01:02:03,500" in formats.render("srt", "a", late)


def cue_texts(words):
    return [match[10] for match in SRT_CUE.finditer(formats.render("srt", "a", result(words)))]


def test_cues_break_at_silence_at_length_and_at_number():
    assert cue_texts([("A", 0, 1, 1.0), ("B", 1.6, 2, 1.0), ("C", 2.7, 3, 1.0)]) == ["A B", "C"]
    assert cue_texts([("W" * 20, 0, 1, 1.0), ("V" * 21, 1, 2, 1.0)]) == ["W" * 20 + " " + "V" * 21]
    assert cue_texts([("W" * 21, 0, 1, 1.0), ("V" * 21, 1, 2, 1.0)]) == ["W" * 21, "V" * 21]
    assert cue_texts([(c, i, i + 1, 1.0) for i, c in enumerate("ABCDEFGHI")]) == [
        "A B C D E F G", "H I"
    ]
    assert cue_texts([("W" * 60, 0, 1, 1.0)]) == ["W" * 60]


CTM_LINE = re.compile(r"[^\s();]+ 1 \d+\.\d{3} \d+\.\d{3} [^\s(){};]+ [01]\.\d{4}")


@given(results())
def test_ctm_of_anything(any_result):
    lines = formats.render("ctm", "x/a (1).wav", any_result).splitlines()
    assert len(lines) == len(any_result.words)
    end = 0.0
    for line, word in zip(lines, any_result.words):
        assert CTM_LINE.fullmatch(line)
        id, _, start, duration, _, _ = line.split()
        assert id == "a__1_"
        assert float(start) >= end - 1e-9
        assert float(start) == pytest.approx(word.start, abs=0.0005001)
        end = float(start) + float(duration)


def test_ctm():
    assert formats.render("ctm", "x/a.wav", HELLO) == (
        "a 1 0.090 0.160 HELLO 0.5000\na 1 0.410 0.040 WORLD 0.9877\n"
    )
    assert formats.render("ctm", "x/a.wav", EMPTY) == ""


@given(results())
def test_trn_of_anything(any_result):
    text = formats.render("trn", "x/a (1).wav", any_result)
    match = re.fullmatch(r"((?:[^\s(){};]+ )*)\(([^\s();]+)\)\n", text)
    assert match and match[2] == "a__1_"
    assert len(match[1].split()) == len(any_result.words)


def test_trn():
    assert formats.render("trn", "a.wav", HELLO) == "HELLO WORLD (a)\n"
    assert formats.render("trn", "a.wav", EMPTY) == "(a)\n"


@pytest.mark.parametrize("name, id", [
    ("dir.d/My file (2).tar.wav", "My_file__2_.tar"), ("-", "stdin"), ("noise;1.wav", "noise_1"),
    (".hidden", ".hidden"), ("/", "_"), ("a\udcff.wav", "a_"), ("é.wav", "é"),
])
def test_utterance_id(name, id):
    assert formats.utterance_id(name) == id


def test_joined_texts_stay_valid():
    for name, joinable in [("txt", True), ("json", True), ("ctm", True), ("trn", True),
                           ("srt", False), ("vtt", False)]:
        assert formats.FORMATS[name].concatenates == joinable
        assert formats.FORMATS[name].extension == f".{name}"


def test_unknown_format():
    with pytest.raises(ArgumentError, match="txt, json, srt, vtt, ctm, trn, found 'xml'"):
        formats.render("xml", "a.wav", HELLO)


def test_write(tmp_path):
    folder = tmp_path / "new" / "folder"
    path = formats.write(folder, "srt", "x/a b.wav", "été\n")
    assert path == folder / "a b.srt" and path.read_bytes() == "été\n".encode()
    assert formats.write(folder, "txt", "-", "x\n").name == "stdin.txt"
    with pytest.raises(FileError, match="a b.srt.*exists"):
        formats.write(folder, "srt", "y/a b.wav", "other")
    assert path.read_bytes() == "été\n".encode()
    formats.write(folder, "srt", "y/a b.wav", "other", overwrite=True)
    assert path.read_text() == "other"
    assert sorted(entry.name for entry in folder.iterdir()) == ["a b.srt", "stdin.txt"]


def test_write_where_it_cannot(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="expected a folder"):
        formats.write(tmp_path / "file", "txt", "a.wav", "x")
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(FileError, match="expected a regular file"):
        formats.write(tmp_path, "txt", "a.wav", "x", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "file"]


@pytest.mark.parametrize("id", ["sp0.9-utt1", "spk/2024.01/utt", "a.wav"])
def test_an_id_is_no_file_name(id):
    assert formats.render("trn", id, HELLO, id=id) == f"HELLO WORLD ({id})\n"
    assert formats.render("ctm", id, HELLO, id=id).startswith(f"{id} 1 ")
