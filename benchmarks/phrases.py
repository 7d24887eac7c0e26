"""From a file of phrases to the graph that is searched, and how long a search takes.

    python benchmarks/phrases.py --runs 10 --seconds 4 --model M tests/phrases/house.phrases

Prints one JSON line: times of reading and of spelling in the labels of the model, sizes, and the
time of a search over noise, by the time that the same model takes for its first exit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
from common import Line, emit, load, machine, parser_of

import ee_ref
from ee_ref.bench import spread
from ee_ref.phrases.packed import pack

HOUSE = Path(__file__).resolve().parent.parent / "tests" / "phrases" / "house.phrases"


def measure(path: Path, model: ee_ref.Model, seconds: float, runs: int) -> Iterator[Line]:
    """One line."""
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * model.config.sample_rate))
    features = model.features(samples.astype(np.float32))
    times: dict[str, list[float]] = {"load": [], "compile": [], "exit": [], "search": []}
    for _ in range(1 + runs):
        begun = perf_counter()
        phrases = ee_ref.phrases.load(path)
        times["load"].append(perf_counter() - begun)
        begun = perf_counter()
        decoder = model.phrase_decoder(phrases)
        times["compile"].append(perf_counter() - begun)
        begun = perf_counter()
        first = next(iter(model.exits(features)))
        times["exit"].append(perf_counter() - begun)
        begun = perf_counter()
        decoder(first.log_probs)
        times["search"].append(perf_counter() - begun)
    warm = {name: np.array(of[1:]) for name, of in times.items()}
    by = decoder.confidence
    yield {
        "benchmark": "phrases", "file": path.name, "labels": model.config.vocab, "runs": runs,
        "seconds": seconds, "sentences": phrases.count, "states": decoder.graph.states,
        "arcs": decoder.graph.arcs,
        "section": len(pack(phrases, decoder.graph,
                            (by.bias, by.free, by.margin, by.threshold))),
        **{f"{name}_ms": spread(list(of))["median_ms"] for name, of in warm.items()},
        "search_by_exit": round(float(np.median(warm["search"] / warm["exit"])), 4), **load()}


def main() -> None:
    parser = parser_of(__doc__, runs=10, seconds=4)
    parser.add_argument("--model", metavar="M", help="model file (default: commands, bundled)")
    parser.add_argument("file", type=Path, nargs="?", default=HOUSE, metavar="FILE",
                        help="phrases (default: the house of the tests)")
    arguments = parser.parse_args()
    emit([machine()])
    emit(measure(arguments.file, ee_ref.load(arguments.model), arguments.seconds, arguments.runs))


if __name__ == "__main__":
    main()
