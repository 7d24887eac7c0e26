"""Synthetic English speech of many voices: hours of words that no recording at hand has.

    python synthesize_english.py --texts books.txt --hours 200 --out OUT [--engine kokoro]
        [--apart DATA/dev.jsonl --apart DATA/test.jsonl]

The texts are read sentences, one a line, of books without copyright, and a share of short orders
(orders.py). OUT gets Ogg Opus files and train.jsonl, a corpus for `--manifest`. Engines are
packages to install beside this one:
- hibari: `hibari-tts`, 20 to 130 times real time on a core; other voices are made of its few by
  moving pitch and formants together.
- kokoro: `kokoro`, on a GPU; every utterance is said by a mixture of its 28 English voices.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

import corpora
import orders
from ee_ref.errors import ArgumentError
from ee_ref.evaluation.manifest import MAX_BYTES
from synthesize import RATE, spoken_by, write_manifest
from weights_io.text import filled_lines, read_text
from words import WORDS

SHORT = 0.15            # share of the texts that are orders and words alone
COMMON = 8000           # most frequent words that are said alone
LONGEST = 36            # words of an utterance
LENGTHS = ((0.25, 2, 8), (0.45, 8, 20), (0.3, 20, LONGEST))  # share of utterances, words
SHARED = 6              # words in a row that no sentence has in common with a text kept apart
SPEED = (0.75, 1.3)
VOCAL_TRACT = (0.84, 1.2)  # factor on a voice's own
LOUDNESS = (-20.0, -2.0)   # peak, dB

Speak = Callable[[str, random.Random], tuple[np.ndarray, int, str]]
"""Samples, their rate and a name of the voice, of a text as it is written."""

KOKORO = ("af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river "
          "af_sarah af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck "
          "am_santa bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis"
          ).split()


def hibari() -> Speak:
    from hibari import SAMPLE_RATE, Hibari
    engine = Hibari()

    def speak(text: str, rng: random.Random) -> tuple[np.ndarray, int, str]:
        return engine(text, speed=rng.uniform(*SPEED)), SAMPLE_RATE, "hibari"

    return speak


def kokoro() -> Speak:
    from kokoro import KPipeline
    engine = KPipeline(lang_code="a", repo_id="hexgrad/Kokoro-82M")

    def speak(text: str, rng: random.Random) -> tuple[np.ndarray, int, str]:
        voices = ",".join(sorted(rng.sample(KOKORO, rng.choice((1, 2, 3)))))
        # split_pattern: the text is one utterance.
        parts = engine(text, voice=voices, speed=rng.uniform(*SPEED), split_pattern=None)
        return np.concatenate([part.audio.numpy() for part in parts]), 24000, voices

    return speak


ENGINES: dict[str, Callable[[], Speak]] = {"hibari": hibari, "kokoro": kokoro}


class Text(NamedTuple):
    said: tuple[str, ...]
    """Sentences, in the alphabet of the labels."""
    short: bool


def sentences(paths: Sequence[Path], apart: Iterable[str]) -> list[str]:
    """The different lines of text files, normalised, but for those that share SHARED words in a row
    with a text kept apart, or are one.

    Raises FileError, ArgumentError when no line can be used.
    """
    is_known = corpora.known_from((text.split() for text in apart), SHARED)
    lines = (corpora.normalised(line) for path in paths
             for _, line in filled_lines(read_text(path, MAX_BYTES, ArgumentError)))
    found = [line for line in dict.fromkeys(lines)
             if line and not is_known(line.split())]
    if not found:
        raise ArgumentError("texts: expected lines of A-Z, spaces and punctuation, found none")
    return found


def texts(lines: Sequence[str], rng: np.random.Generator) -> Iterator[Text]:
    """Endless texts: sentences joined and cut to random lengths, and orders among them.

    The sentences come in a random order, and again from the first when all are used.
    """
    counts = collections.Counter(word for line in lines for word in line.split())
    common = [word for word, _ in counts.most_common(COMMON)]
    waiting: collections.deque[list[str]] = collections.deque()
    while True:
        if rng.random() < SHORT:
            # The most frequent ones most often.
            frequent = [common[int(len(common) * rng.random() ** 2)] for _ in range(8)]
            yield Text((orders.draw(rng, frequent),), True)
            continue
        _, least, most = LENGTHS[rng.choice(len(LENGTHS), p=[share for share, *_ in LENGTHS])]
        wanted, said, length = int(rng.integers(least, most + 1)), [], 0
        while length < wanted:
            if not waiting:
                waiting.extend(lines[index].split() for index in rng.permutation(len(lines)))
            words = waiting.popleft()
            room = LONGEST - length
            if words[room:]:
                waiting.appendleft(words[room:])
            said.append(" ".join(words[:room]))
            length += len(words[:room])
        yield Text(tuple(said), False)


_PAUSE_BEFORE = frozenset(
    "AND AS BECAUSE BUT FOR IF OR SAID SO THAT THEN UNTIL WHEN WHERE WHICH WHILE WHO WITH".split())


def written(text: Text, rng: random.Random) -> str:
    """The text as an engine reads it best: small letters, commas and an end to each sentence."""
    words_alone = text.short and set(text.said[0].split()) <= set(WORDS)
    return " ".join(_written(said.split(), words_alone, rng) for said in text.said)


def _written(words: Sequence[str], words_alone: bool, rng: random.Random) -> str:
    apart = words_alone and rng.random() < 0.5
    parts: list[str] = []
    for number, word in enumerate(words):
        if apart or (number > 2 and word in _PAUSE_BEFORE and rng.random() < 0.25):
            parts[-1:] = [part + "," for part in parts[-1:]]
        capital = number == 0 or word.partition("'")[0] == "I"
        parts.append("TV" if word == "TV" else word.capitalize() if capital else word.lower())
    return " ".join(parts) + rng.choices((".", "", "?", "!"), (78, 10, 7, 5))[0]


_speak: Speak


def _start(engine: str) -> None:
    global _speak
    _speak = ENGINES[engine]()


def _make(job: tuple[int, Text, str, Path, int]) -> dict[str, Any]:
    """Say one (number, text, engine, folder, seed) and return its line."""
    number, text, engine, out, seed = job
    rng = random.Random(f"{seed}-{number}")
    samples, rate, voice = _speak(written(text, rng), rng)
    vocal_tract = rng.uniform(*VOCAL_TRACT)
    samples = spoken_by(vocal_tract, samples, rate) * 10 ** (rng.uniform(*LOUDNESS) / 20)
    path = Path(f"{number // 1000:04d}") / f"{engine}-{number:07d}.opus"
    (out / path.parent).mkdir(exist_ok=True)
    soundfile.write(out / path, samples, RATE, format="OGG", subtype="OPUS")
    return {"id": path.stem, "path": str(path), "text": " ".join(text.said),
            "speaker": f"{voice}-{vocal_tract:.2f}", "source": "synthetic", "licence": "generated",
            "seconds": round(len(samples) / RATE, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, action="append", required=True, metavar="FILE",
                        help="sentences, one a line")
    parser.add_argument("--apart", type=Path, action="append", default=[], metavar="JSONL",
                        help="manifest of a split whose texts must not be said")
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="hibari")
    parser.add_argument("--processes", type=int, help="default: one a core; one for kokoro")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    apart = [line["text"] for path in args.apart
             for line in corpora.manifest(path.parent, path.name)]
    found = sentences(args.texts, apart)
    args.out.mkdir(parents=True, exist_ok=True)
    processes = args.processes or (1 if args.engine == "kokoro" else os.cpu_count())
    jobs = ((number, text, args.engine, args.out, args.seed)
            for number, text in enumerate(texts(found, np.random.default_rng(args.seed))))
    lines, seconds = [], 0.0
    with ProcessPoolExecutor(processes, initializer=_start, initargs=(args.engine,)) as pool:
        while seconds < args.hours * 3600:
            made = list(pool.map(_make, itertools.islice(jobs, 20 * processes), chunksize=10))
            lines += made
            seconds += sum(line["seconds"] for line in made)
            print(f"{seconds / 3600:.2f} h", flush=True)
    write_manifest(args.out / "train.jsonl", lines)


if __name__ == "__main__":
    main()
