"""Phrases: how long a file of them takes to read and to spell in the labels of a model, and the
search for them beside the layers that it follows, as a share of the time of one exit group.

    python benchmarks/phrases.py --runs 10
    python benchmarks/phrases.py --model M.gguf --phrases commands.phrases RECORDING...

Without arguments: the model `english`, tests/phrases/rover.phrases and the demo clip. Recordings
that sound like several phrases take longer than clear ones or than those that are none. Prints one
JSON line of the file, and one an exit, of all recordings together: medians, taken in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from common import ROOT, Line, emit, load, machine, parser_of

import ee_ref
from ee_ref import audio
from ee_ref.native._phrases import PhraseSearch
from ee_ref.phrases import load as load_phrases
from ee_ref.phrases.packed import pack


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(
    model: ee_ref.Model, phrases: Path, recordings: Sequence[Path], runs: int
) -> Iterator[Line]:
    """A line of the file, and a line an exit."""
    said = load_phrases(phrases)
    loaded = [seconds(lambda: load_phrases(phrases)) for _ in range(runs)]
    compiled = [seconds(lambda: said.compile(model.tokens)) for _ in range(runs)]
    decoder = model.phrase_decoder(said)
    graph, by = decoder.graph, decoder.confidence
    yield {"benchmark": "phrases", "file": phrases.name, "labels": model.config.vocab,
           "runs": runs, "sentences": said.count, "states": graph.states, "arcs": graph.arcs,
           "section": len(pack(said, graph, (by.bias, by.free, by.margin, by.threshold))),
           "load_ms": round(1e3 * median(loaded), 4),
           "compile_ms": round(1e3 * median(compiled), 4), **load()}
    search = PhraseSearch(graph, 2)
    rate = model.config.sample_rate
    features = [model.features(audio.read(path, rate)) for path in recordings]
    log_probs = [[np.array(out.log_probs) for out in model.exits(one)] for one in features]
    frames = sum(len(found[0]) for found in log_probs)
    for exit_ in range(1, model.config.exits + 1):
        searched, walked = [], []
        for _ in range(runs):
            searched.append(sum(seconds(partial(search.all, found[exit_ - 1]))
                                for found in log_probs))
            walked.append(sum(_group(model, one, exit_) for one in features))
        yield {"benchmark": "phrase search", "exit": exit_, "frames": frames, "runs": runs,
               "search_ms": round(1e3 * median(searched), 4),
               "group_ms": round(1e3 * median(walked), 4),
               "share": round(median(searched) / median(walked), 4), **load()}


def _group(model: ee_ref.Model, features: np.ndarray, exit_: int) -> float:
    """Seconds from the exit before to this one; the first group also has the stem."""
    times = [time.perf_counter()]
    for out in model.exits(features):
        times.append(time.perf_counter())
        if out.exit == exit_:
            break
    return [end - start for start, end in pairwise(times)][-1]


def main() -> None:
    parser = parser_of(__doc__, runs=10)
    parser.add_argument("--model")
    parser.add_argument("--phrases", type=Path,
                        default=ROOT / "tests" / "phrases" / "rover.phrases")
    parser.add_argument("recordings", nargs="*", type=Path,
                        default=[ROOT / "ee_ref" / "assets" / "demo.wav"])
    arguments = parser.parse_args()
    emit([machine()])
    emit(measure(ee_ref.load(arguments.model), arguments.phrases, arguments.recordings,
                 arguments.runs))


if __name__ == "__main__":
    main()
