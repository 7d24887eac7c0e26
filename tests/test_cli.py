"""The command line: what goes to stdout, what to stderr, and the exit codes."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref import bench, cli
from ee_ref.cli import main
from weights_io import files

RATE = 16000
PACKAGE = Path(ee_ref.__file__).parent

# The package under test, whichever folder the tests run in.
COMMAND = [
    sys.executable, "-c",
    f"import sys; sys.path[0] = {str(PACKAGE.parent)!r}\n"
    "from ee_ref.cli import main; sys.exit(main())",
]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    samples = np.random.default_rng(5).uniform(-0.5, 0.5, 2 * RATE)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def run(model_path, capsys):
    """Run `ee-ref transcribe --model SMALL ...`: (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main(["transcribe", "--model", str(model_path), *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


def test_the_words_and_nothing_else_on_stdout(run, clip, model_path):
    code, out, err = run(clip)
    assert code == 0 and err == ""
    assert out == ee_ref.load(model_path).transcribe(clip).text + "\n"


def test_json(run, clip):
    code, out, _ = run(clip, clip, "--format", "json", "--exit", "2", "--backend", "numpy")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(lines) == 2
    assert lines[0]["exit"] == 2 and lines[0]["path"] == str(clip)
    assert lines[0]["words"] == lines[1]["words"]


def test_policies(run, clip):
    _, out, _ = run(clip, "--format", "json", "--policy", "entropy", "--threshold", "9")
    assert json.loads(out)["exit"] == 1
    _, out, _ = run(clip, "--format", "json", "--policy", "posterior", "--threshold", "1")
    assert json.loads(out)["margin"] <= 0


def test_a_deadline_is_in_seconds(run, clip):
    _, out, _ = run(clip, "--format", "json", "--deadline", "0")
    found = json.loads(out)
    assert found["exit"] == 1 and found["score"] > 0
    code, _, err = run(clip, "--deadline", "30")
    assert code == 2 and "expected seconds, at most 10, found 30" in err


def test_beam_and_n_best(run, clip):
    code, out, _ = run(clip, "--beam", "6", "--n-best", "3", "--format", "json")
    assert code == 0 and len(json.loads(out)["n_best"]) == 3


@pytest.fixture
def hear(capsys):
    """Run `ee-ref transcribe` on the demo clip with the bundled model of commands."""

    def hear(*arguments):
        code = main(["transcribe", "--model", "commands", str(bench.DEMO), *map(str, arguments)])
        return (code, *capsys.readouterr())

    return hear


@pytest.mark.parametrize("n_best", ["0", "9"])
def test_n_best_of_phrases_needs_no_beam(hear, tmp_path, n_best):
    file = tmp_path / "c.phrases"
    file.write_text("computer\n")
    code, _, err = hear("--phrases", file, "--n-best", n_best)
    assert code == 2
    assert f"--n-best with --phrases: expected an integer in 1..8, found {n_best}" in err
    assert hear("--phrases", file, "--n-best", 8)[0] == 0


def test_a_language_model_a_lexicon_and_hotwords(hear, tmp_path):
    code, out, _ = hear("--lm", "english", "--n-best", "2", "--format", "json")
    found = json.loads(out)["n_best"]
    assert code == 0 and len(found) == 2
    for alternative in found:
        parts = alternative["parts"]
        assert list(parts) == ["acoustic", "language_model", "words", "hotwords"]
        assert sum(parts.values()) == pytest.approx(alternative["score"], abs=1e-6)
    assert hear("--exit", "1", "--beam", "20")[1] == "COMPUTER GO FORWARD NINE STAP\n"
    (tmp_path / "words.txt").write_text("computer\ngo\nforward\nnine\nstop\n")
    code, out, _ = hear("--exit", "1", "--lexicon", tmp_path / "words.txt")
    assert code == 0 and out == "COMPUTER GO FORWARD NINE STOP\n"
    (tmp_path / "hot.txt").write_text("stop = 8\n")
    for hotwords in ("stop", tmp_path / "hot.txt", "learn, stop=8"):
        code, out, _ = hear("--exit", "1", "--hotwords", hotwords, "--beam", "20")
        assert code == 0 and "STOP" in out


@pytest.mark.parametrize("arguments, message", [
    (["--lm", "none.arpa"], "none.arpa"), (["--lexicon", "none.txt"], "none.txt"),
    (["--hotwords", "no.file9"], "spell, found 'NO.FILE9' with ., 9"),
    (["--hotwords", "stop = high"], "boost"), (["--lm-weight", "1"], "--lm-weight 1 needs --lm F"),
    (["--word-score", "1"], "--word-score 1 needs --lm, --lexicon or --hotwords"),
    (["--lm", "english", "--lm-weight", "nan"], "lm_weight"),
    (["--lm", "english", "--phrases", "x"], "expected --lm or --phrases, found both"),
    (["--beam", "3", "--phrases", "x"], "expected --beam or --phrases, found both"),
    (["--lm", "english", "--n-best", "41"], "expected 1 <= n-best <= beam"),
])
def test_decoders_that_cannot_be(hear, arguments, message):
    code, out, err = hear(*arguments)
    assert code != 0 and out == "" and message in err and "Traceback" not in err


def test_stdin(run, clip, monkeypatch):
    _, expected, _ = run(clip)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip.read_bytes())))
    assert run("-") == (0, expected, "")


def test_a_batch_goes_on_past_bad_files(run, clip, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"")
    code, out, err = run(tmp_path / "missing.wav", clip, tmp_path / "bad.wav", clip)
    assert code == 1
    assert len(out.splitlines()) == 2
    assert len(err.splitlines()) == 2
    assert "missing.wav" in err and "bad.wav" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--exit", "0"],
        ["--exit", "99"],
        ["--exit", "two"],
        ["--exit", "1", "--policy", "entropy", "--threshold", "1"],
        ["--policy", "entropy"],
        ["--threshold", "1"],
        ["--policy", "entropy", "--threshold", "-1"],
        ["--policy", "entropy", "--threshold", "nan"],
        ["--policy", "posterior", "--threshold", "1.5"],
        ["--beam", "0"],
        ["--beam", "-3"],
        ["--n-best", "2"],
        ["--beam", "2", "--n-best", "3"],
        ["--format", "doc"],
        ["--format", "srt", "another.wav"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_2_and_one_line(run, clip, arguments, capsys):
    try:
        code, out, err = run(clip, *arguments)
    except SystemExit as stop:  # argparse
        code, (out, err) = stop.code, capsys.readouterr()
    assert code == 2 and out == ""
    assert "Traceback" not in err and err.strip()


@pytest.mark.parametrize("format", ["txt", "json", "srt", "vtt", "ctm", "trn"])
def test_output_dir(run, clip, tmp_path, format):
    folder = tmp_path / "out"
    code, out, _ = run(clip, "--format", format, "--output-dir", folder)
    assert (code, out) == (0, "")
    assert [path.name for path in folder.iterdir()] == [f"clip.{format}"]


def test_outputs_that_exist_are_kept_unless_forced(run, clip, tmp_path):
    existing = tmp_path / "clip.txt"
    existing.write_text("precious")
    code, _, err = run(clip, "--output-dir", tmp_path)
    assert code == 1 and "clip.txt" in err
    assert existing.read_text() == "precious"
    assert run(clip, "--output-dir", tmp_path, "--force")[0] == 0
    assert existing.read_text() != "precious"


def test_a_folder_that_cannot_be_written(run, clip, tmp_path, monkeypatch):
    def refuse(path, *_):  # root may write anywhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(files, "open", refuse, raising=False)
    code, _, err = run(clip, "--output-dir", tmp_path)
    assert code == 1 and "Permission denied" in err
    assert list(tmp_path.iterdir()) == [clip]


def test_a_file_where_the_folder_should_be(run, clip, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(clip, "--output-dir", tmp_path / "file")
    assert code == 1 and "expected a folder" in err


def test_bad_models(clip, tmp_path, capsys):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(60))
    for model in (tmp_path / "bad.gguf", tmp_path / "missing.gguf", tmp_path):
        assert main(["transcribe", "--model", str(model), str(clip)]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("ee-ref: ") and "Traceback" not in err


def test_info_and_convert_are_there(model_path, capsys):
    assert main(["info", str(model_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["exits"] == 3
    assert main(["convert", str(model_path), "-o", "never.gguf"]) == 1
    assert not Path("never.gguf").exists()


def in_a_process(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, **options
    )


def test_as_a_process(clip, model_path):
    done = in_a_process("transcribe", "--model", model_path, "-", input=clip.read_bytes())
    assert done.returncode == 0 and done.stderr == b""
    assert in_a_process("--version").stdout.startswith(b"ee-ref ")
    assert in_a_process().returncode == 2


def test_a_closed_pipe_is_no_traceback(clip, model_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "transcribe", "--model", model_path, clip], stdout=write, stderr=subprocess.PIPE,
    )
    os.close(write)
    assert done.returncode == 1 and b"Traceback" not in done.stderr


def test_importing_the_package_imports_none_of_the_heavy_modules():
    code = f"""
import sys
sys.path[0] = {str(PACKAGE.parent)!r}
import ee_ref
print([name for name in ("scipy", "soundfile", "cffi") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_transcribing_imports_no_more_than_it_needs(clip, model_path):
    """SciPy only resamples, libsndfile reads other files than this one; the rest belongs to writing
    files, to zipped packages, to phrases, to other families, backends, front ends and commands."""
    unneeded = ("scipy", "soundfile", "secrets", "zipfile", "html", "ee_ref.phrases",
                "ee_ref.phrase_decoder", "ee_ref.native._kernel", "ee_ref.frontend.waveform",
                "ee_ref.families.splitformer", "ee_ref.families.wav2vec2", "ee_ref.cli.eval")
    code = f"""
import sys
sys.path[0] = {str(PACKAGE.parent)!r}
from ee_ref import bench, cli
from ee_ref.cli import main
assert main(["transcribe", "--model", {str(model_path)!r}, {str(clip)!r}]) == 0
print([name for name in {unneeded!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


# ---- Names, and arguments that are empty ----


@pytest.mark.parametrize("format", ["ctm", "trn"])
def test_two_recordings_of_one_id_are_refused_before_any_work(run, clip, tmp_path, format):
    other = tmp_path / "other" / clip.name
    other.parent.mkdir()
    other.write_bytes(clip.read_bytes())
    code, out, err = run(clip, other, "--format", format)
    assert (code, out) == (2, "")
    assert str(clip) in err and str(other) in err and f"one {format} file" in err
    assert run(clip, other, "--format", "json")[0] == 0


def test_outputs_that_exist_are_noticed_before_any_work(run, clip, tmp_path):
    other = tmp_path / "second.wav"
    other.write_bytes(clip.read_bytes())
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "clip.txt").write_text("precious")
    code, _, err = run(other, clip, "--output-dir", folder)
    assert code == 1 and err.count("exists already") == 1
    assert (folder / "clip.txt").read_text() == "precious" and (folder / "second.txt").exists()
    code, _, err = run(clip, "--output-dir", folder, "--model", tmp_path / "none.gguf")
    assert code == 1 and "exists already" in err and "none.gguf" not in err


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_folder_that_cannot_be_is_told_before_any_work(run, clip, tmp_path, monkeypatch, below):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(ee_ref.loading, "load", None)
    code, _, err = run(clip, "--output-dir", tmp_path / "file" / below)
    assert code == 1 and "expected a folder" in err and str(tmp_path / "file") in err


@pytest.mark.parametrize("format", ["ctm", "trn"])
@pytest.mark.parametrize("first, second", [
    ("x/a.wav", "y/a.wav"), ("x/a.wav", "x/a.flac"), ("x/a b.wav", "y/a_b.wav"),
    ("x/a.wav", "x/a.wav"), ("-", "x/stdin.wav"),
])
def test_two_recordings_of_one_id_in_one_output(run, monkeypatch, format, first, second):
    """Refused before any work: nobody could tell whose words are whose."""
    monkeypatch.setattr(ee_ref.loading, "load", None)
    code, out, err = run("z/b.wav", first, second, "--format", format)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{first} and {second} would both be" in err


@pytest.mark.parametrize("format", ["ctm", "trn"])
def test_ids_of_one_output_are_the_names(run, clip, format):
    other = clip.with_name("sp0.9-clip.wav")
    other.write_bytes(clip.read_bytes())
    code, out, _ = run(clip, other, "--format", format)
    ids = {"ctm": {line.split()[0] for line in out.splitlines()},
           "trn": {line.rpartition("(")[2].rstrip(")") for line in out.splitlines()}}[format]
    assert code == 0 and ids == {"clip", "sp0.9-clip"}


@pytest.mark.parametrize("arguments", [
    ["transcribe", "a.wav", "--model", ""], ["transcribe", "a.wav", "--model="],
    ["transcribe", ""], ["transcribe", "a.wav", "--output-dir", ""], ["transcribe", "--", ""],
    ["transcribe", "a.wav", "--policy", ""], ["info", ""],
    ["bench", "--model", ""], ["eval", "--manifest", ""], ["eval", "--manifest="],
    ["eval", "--manifest", "m", "--model", ""], ["eval", "--manifest", "m", "-o", ""],
    ["eval", "--manifest", "m", "--by", ""], ["calibrate", "--manifest", "m", "--group", ""],
    ["calibrate", "--manifest", "m", "-o", ""], ["calibrate", "--manifest", "m", "--json", ""],
    ["calibrate", "--manifest", "m", "--where", ""], ["calibrate", "--manifest", "m", "--plot="],
    ["convert", "c.pt", "-o", ""], ["convert", "c.pt", "-o", "m", "--tokenizer", ""],
    ["convert", "c.pt", "-o", "m", "--tokens", ""], ["convert", "", "-o", "m"],
    ["quantize", "m.gguf", "-o", ""], ["quantize", "m.gguf", "-o", "q", "--manifest", ""],
    ["export", "m.gguf", "-o", ""], ["export", "m.gguf", "-o", "i", "--c-array", ""],
    ["export", "m.gguf", "-o", "i", "--header="], ["conformance", "export", ""],
    ["conformance", "export", "--archive", ""], ["conformance", "list", "--suite", ""],
    ["conformance", "run", "--exe", ""], ["conformance", "run", "--qemu", "b", "--isa", ""],
    ["conformance", "run", "--qemu", "b", "--kernels", ""],
    ["conformance", "run", "--exe", "p", "--waivers", ""],
    ["conformance", "run", "--exe", "p", "--output", ""],
], ids=" ".join)
def test_empty_is_not_taken_for_not_given(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "expected a value, found an empty one" in err
    option = arguments[-2] if arguments[-1] == "" else arguments[-1].rstrip("=")
    assert not option.startswith("-") or option == "--" or option in err
    assert list(tmp_path.iterdir()) == []


def test_what_only_looks_empty(run, tmp_path, clip):
    (tmp_path / "--x=").write_bytes(clip.read_bytes())
    code, _, err = run("--", tmp_path / "--x=")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("threshold", ["inf", "nan", "1.5"])
def test_a_patience_that_is_no_number_of_exits(run, clip, threshold):
    code, out, err = run(clip, "--policy", "patience", "--threshold", threshold)
    assert (code, out) == (2, "") and "exits: expected an integer" in err


def test_a_beam_too_wide_is_refused(run, clip):
    code, _, err = run(clip, "--beam", "100000000")
    assert code == 2 and "--beam: expected an integer in 1..10000, found 100000000" in err


def test_warnings_are_messages_whatever_the_environment_says(clip, tmp_path):
    soundfile.write(tmp_path / "anti.wav", np.stack([np.ones(RATE), -np.ones(RATE)], 1) / 2, RATE)
    done = subprocess.run([*COMMAND, "transcribe", tmp_path / "anti.wav", clip],
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONWARNINGS": "error"})
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    assert done.stderr.startswith("ee-ref: warning: ") and "cancel each other" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_help_shows_a_doubled_percent_sign():
    """argparse formats the help of an option, and a description only where it holds %(prog)."""
    parser = cli._parser()
    commands = next(action for action in parser._actions if action.dest == "command").choices
    nested = [(f"{name} {inner}", sub) for name, command in commands.items()
              for action in command._actions if isinstance(action.choices, dict)
              for inner, sub in action.choices.items()]
    for name, command in [("", parser), *commands.items(), *nested]:
        assert "%%" not in command.format_help(), name


@pytest.mark.parametrize("command", [["info", "commands"], ["bench", "--model", "commands"]],
                         ids=lambda command: command[0])
@pytest.mark.parametrize("seconds", ["39.86", "inf"])
def test_a_limit_and_what_is_beyond_it_look_different(command, seconds, capsys):
    assert main([*command, "--seconds", seconds]) == 2
    assert "at most 39.85" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["export", "m.gguf", "-o", "m.gguf"], ["conformance", "export", "x", "--archive", "./x"],
    ["calibrate", "--manifest", "m", "--model", "m.gguf", "-o", "x", "--json", "x"],
], ids=" ".join)
def test_one_name_for_two_files_is_refused(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "expected files of different names, found one twice" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bundled_models_have_a_name_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for model in ([], ["english"]):
        assert main(["info", "--json", *model]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert main(["info"]) == 0 and ", any number of frames\n" in capsys.readouterr().out
    assert main(["info", "commands"]) == 0 and ", at most 1000 frames\n" in capsys.readouterr().out
    assert main(["export", "commands", "-o", "commands.eeim", "--exits", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["commands.eeim"]
