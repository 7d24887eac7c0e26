"""Forward pass of the 31.5 M parameter shape, exit by exit, beside its peers.

    python benchmarks/forward.py --seconds 10 --runs 20 --peers native-f32 native-f32@2 torch

Every peer runs in a process of its own on the same random weights and features, and the runs
alternate, so that what else the machine does falls on all of them. Times are CPU times where every
peer has one thread, and wall times otherwise. Prints one JSON line a peer and
one a pair of peers (see benchmarks/README.md).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from common import Line, emit, load, machine, parser_of, ratio
from peers import KINDS, Peer, features_of, split

from ee_ref.bench import WARM_UP, spread
from ee_ref.quantize import signal_to_noise


def measure(names: list[str], seconds: float, runs: int) -> Iterator[Line]:
    """One line a peer, and one for each two of them: the ratio of the one named first."""
    clock = "cpu" if all(split(name)[1] == 1 for name in names) else "wall"
    common = {"seconds": seconds, "runs": runs, "clock": clock}
    peers: list[Peer] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in names:
                peers.append(Peer(name, seconds, folder, clock))
            for count in range(WARM_UP + runs):
                for peer in peers:
                    times = peer.run()
                    if count >= WARM_UP:
                        peer.runs.append(times)
        finally:
            for peer in peers:
                peer.close()
    for peer in peers:
        ends = list(zip(*peer.runs))
        line = {"benchmark": "forward", "peer": peer.kind, "threads": peer.threads, **common,
                "mel_frames": len(features_of(peer.kind, seconds)), **spread(ends[-1]),
                **peer.about, **load()}
        if len(ends) > 1:
            line["exit_ms"] = [spread(end)["median_ms"] for end in ends]
            line["exit_ratio"] = [ratio(end, ends[-1])["median"] for end in ends]
        yield line
    for above, below in combinations(peers, 2):
        difference = np.abs(above.last_exit - below.last_exit).max()
        noise = signal_to_noise(below.last_exit, above.last_exit)
        yield {"benchmark": "ratio", "above": above.name, "below": below.name, **common,
               **ratio([times[-1] for times in above.runs], [times[-1] for times in below.runs]),
               "largest_difference": float(f"{difference:.2g}"),
               "signal_to_noise_db": None if noise == float("inf") else round(noise, 1)}


def main() -> None:
    parser = parser_of(__doc__, runs=15, seconds=10)
    parser.add_argument("--peers", nargs="+", default=["native-f32", "torch"], metavar="KIND[@N]",
                        help=f"on N threads, default 1: {', '.join(KINDS)}")
    arguments = parser.parse_args()
    emit([machine()])
    emit(measure(arguments.peers, arguments.seconds, arguments.runs))


if __name__ == "__main__":
    main()
