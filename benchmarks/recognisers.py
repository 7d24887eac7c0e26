"""Other recognisers on the same recordings: words right, CPU time, memory, size.

    python benchmarks/recognisers.py --manifest M --where source=librispeech-test-other \\
        ee_ref=english ee_ref=english+english pocketsphinx whisper=tiny.en.pt
    python benchmarks/recognisers.py --manifest M --phrases commands.phrases \\
        ee_ref pocketsphinx

`ee_ref=MODEL` is greedy, `+LM` after it searches with a language model; without a model it takes
`english`. PocketSphinx brings its own
acoustic model, dictionary and language model; `pocketsphinx=FILE` adds words that its dictionary
lacks, as lines like `snowboy S N OW B OY`. Whisper needs the weights. With --phrases, only the
recordings that say one of them count, and ee_ref and PocketSphinx, as a JSGF grammar, hear nothing
else. Prints one JSON line a recogniser, each run in a process of its own on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Line, emit, load, machine, parser_of

import ee_ref
from ee_ref.decode import language_model
from ee_ref.evaluation import manifest, scoring

RATE = 16000

Recogniser = tuple[Callable[[np.ndarray], str], int]
"""Samples (N,), float32 at 16 kHz, to words; and the bytes of the files that it needs."""


def ours(argument: str, phrases: Path | None) -> Recogniser:
    """The model of that name or path; its last exit."""
    name, _, lm = argument.partition("+")
    model = ee_ref.load(name or None)
    options: dict[str, Any] = {"exit": model.config.exits}
    size = model.file.size
    if phrases is not None:
        options["phrases"] = model.phrase_decoder(phrases)
    elif lm:
        options["decoder"] = ee_ref.decode.WordDecoder(
            model.tokens, language_model.read(lm))
        size += language_model.path_of(lm).stat().st_size
    return lambda samples: model.transcribe(samples, **options).text, size


def pocketsphinx(argument: str, phrases: Path | None) -> Recogniser:
    """PocketSphinx with the models that it brings."""
    from pocketsphinx import Decoder, get_model_path

    folder = Path(get_model_path("en-us"))
    words = [line.split(None, 1) for line in Path(argument).read_text().splitlines()] \
        if argument else []
    parts = [folder / "en-us", folder / "cmudict-en-us.dict"]
    options = {"hmm": str(parts[0]), "dict": str(parts[1]), "loglevel": "FATAL"}
    if phrases is None:
        parts.append(folder / "en-us.lm.bin")
        decoder = Decoder(lm=str(parts[2]), **options)
    else:
        decoder = Decoder(lm=None, **options)
        for word, phones in words:
            decoder.add_word(word, phones)
        decoder.add_jsgf_string("phrases", jsgf(ee_ref.phrases.load(phrases)))
        decoder.activate_search("phrases")

    def recognise(samples: np.ndarray) -> str:
        decoder.start_utt()
        decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(),
                            no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return "" if found is None else found.hypstr

    files = (file for part in parts for file in (part.rglob("*") if part.is_dir() else [part]))
    return recognise, sum(file.stat().st_size for file in files if file.is_file())


def jsgf(phrases: ee_ref.phrases.Phrases) -> str:
    """The sentences of phrases as a JSGF grammar: a rule for each state of their automaton."""
    automaton, rules = phrases.automaton, []
    for state, final in enumerate(automaton.final):
        ways = [f"{phrases.words[word].lower()} <s{target}>"
                for word, (target, _skip) in automaton.arcs(state).items()]
        rules.append(f"<s{state}> = {' | '.join(ways + ['<NULL>'] * bool(final))};")
    return "\n".join(["#JSGF V1.0;", "grammar phrases;", "public <phrase> = <s0>;", *rules, ""])


def whisper(argument: str, phrases: Path | None) -> Recogniser:
    """OpenAI's package with these weights; it hears any words."""
    import torch
    import whisper as package

    torch.set_num_threads(1)
    model = package.load_model(argument, device="cpu")
    return (lambda samples: model.transcribe(samples, language="en", fp16=False)["text"],
            Path(argument).stat().st_size)


KINDS = {"ee_ref": ours, "pocketsphinx": pocketsphinx, "whisper": whisper}


def serve(peer: str, phrases: Path | None) -> None:
    """In the process of a recogniser: paths on stdin, then one line with what it found."""
    kind, _, argument = peer.partition("=")
    recognise, size = KINDS[kind](argument, phrases)
    texts, cpu, seconds = [], 0.0, 0.0
    for line in sys.stdin:
        samples = ee_ref.audio.read(line.rstrip("\n"), RATE)
        begun = time.process_time()
        texts.append(recognise(samples))
        cpu += time.process_time() - begun
        seconds += len(samples) / RATE
    print(json.dumps({"texts": texts, "cpu": cpu, "seconds": seconds, "size": size,
                      "peak": ee_ref.bench.peak_memory()}))


def measure(peers: list[str], recordings: list[manifest.Recording], phrases: Path | None
            ) -> Iterator[Line]:
    """A line for each recogniser."""
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = "".join(f"{recording.path.absolute()}\n" for recording in recordings)
    for peer in peers:
        done = subprocess.run(
            [sys.executable, __file__, "--serve", *(["--phrases", phrases] if phrases else []),
             peer], input=paths, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        found = json.loads(done.stdout.splitlines()[-1])
        errors = np.array(scoring.count([r.text for r in recordings], found["texts"], "plain"))
        yield {"benchmark": "recognisers", "recogniser": peer,
               "phrases": phrases and phrases.name, "recordings": len(recordings),
               "seconds": round(found["seconds"], 1),
               "word_error_percent": round(100 * errors[:, 0].sum() / errors[:, 2].sum(), 1),
               "right_percent": round(100 * float(np.mean(errors[:, 0] == 0)), 1),
               "cpu_per_second": round(found["cpu"] / found["seconds"], 4),
               "peak_mb": round(1e-6 * found["peak"], 1), "size_mb": round(1e-6 * found["size"], 1),
               **load()}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("recogniser", nargs="+", metavar="KIND[=MODEL]",
                        help=f"of {', '.join(KINDS)}")
    parser.add_argument("--manifest", type=Path, metavar="M", help="as of `ee-ref eval`")
    parser.add_argument("--where", metavar="FIELD=V[,V...]", help="only these recordings of it")
    parser.add_argument("--phrases", type=Path, metavar="FILE", help="all that may be said")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.recogniser if name.partition("=")[0] not in KINDS]:
        parser.error(f"expected one of {', '.join(KINDS)}, found {unknown[0]!r}")
    if arguments.serve:
        serve(arguments.recogniser[0], arguments.phrases)
        return
    if arguments.manifest is None:
        parser.error("expected --manifest M")
    recordings = manifest.read(arguments.manifest)
    if arguments.where:
        recordings = manifest.where(recordings, arguments.where)
    if arguments.phrases:
        phrases = ee_ref.phrases.load(arguments.phrases)
        recordings = [r for r in recordings
                      if r.text and phrases.number(r.text.split()) is not None]
    if not recordings:
        parser.error("expected recordings, found none left")
    emit([machine()])
    emit(measure(arguments.recogniser, recordings, arguments.phrases))


if __name__ == "__main__":
    main()
