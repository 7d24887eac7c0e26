"""The base shape of wav2vec 2.0 (94.4 M parameters), exit by exit, beside its peers.

    python benchmarks/speech.py
    python benchmarks/speech.py --runs 3 --no-docs

As forward.py, with samples for features. Writes results/speech.json and its table in
docs/performance.md; needs transformers for the peers.
"""

from __future__ import annotations

import json
import sys

import forward
import tables
from common import RESULTS, Line, emit, machine, of, parser_of
from peers import SPEECH

PATH = RESULTS / "speech.json"
LIMITS = (("wav2vec2-f32", "wav2vec2-onnx-f32", 0.85),
          ("wav2vec2-int8", "wav2vec2-onnx-int8", 0.6),
          ("wav2vec2-int8", "wav2vec2-onnx-int8-products", 0.6))
"""What the time of one is at most by that of the other."""


def read() -> list[Line]:
    """The lines of the results file."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def main() -> int:
    parser = parser_of(__doc__, runs=15, seconds=10)
    parser.add_argument("--peers", nargs="+", default=[*SPEECH], metavar="KIND[@N]",
                        help=f"default: {', '.join(SPEECH)}")
    parser.add_argument("--no-docs", action="store_true", help="print, and write nothing")
    arguments = parser.parse_args()
    lines = emit([machine()])
    lines += emit(forward.measure(arguments.peers, arguments.seconds, arguments.runs))
    if not arguments.no_docs:
        text = ",\n ".join(json.dumps(line, ensure_ascii=False) for line in lines)
        PATH.write_text(f"[{text}]\n", encoding="utf-8")
        tables.update()
    missed = [f"{line['above']} / {line['below']}: {line['median']}" for above, below, limit
              in LIMITS for line in of(lines, "ratio", above=above, below=below)
              if line["median"] > limit]
    print("".join(f"above its limit: {line}\n" for line in missed), end="", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
