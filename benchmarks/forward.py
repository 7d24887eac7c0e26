"""Forward pass of the 31.5 M parameter shape, exit by exit: C kernels, NumPy ops, PyTorch.

    python benchmarks/forward.py --seconds 10 --runs 20 --peers native torch

Every peer runs in a process of its own with one thread, on the same random weights and features,
and the runs alternate, so that what else the machine does falls on all of them. Prints one JSON
line a peer and one a ratio (see benchmarks/README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
PEERS = ("native", "numpy", "torch")
WARM_UP = 2

import numpy as np

from tests.support import FULL, FULL_SEED, random_features, random_state_dict


# In the process of a peer: load, then one run for each line read.


def encoder_peer(kind: str):
    """(run, about) of NativeEncoder or ReferenceEncoder."""
    from ee_ref.encoder import NativeEncoder, ReferenceEncoder
    from weights_io.from_torch import convert_state_dict

    config, tensors = convert_state_dict(random_state_dict(FULL, FULL_SEED))
    if kind == "numpy":
        return ReferenceEncoder(config, tensors).exits, {"numpy": np.__version__}
    from ee_ref.native import _lib

    return NativeEncoder(config, tensors).exits, {"isa": _lib.isa(), "compiler": compiler()}


def torch_peer():
    """(run, about) of torchaudio's Conformer, which gives all exits at once."""
    import torch

    from tests.golden.gen_model import published_model

    torch.set_num_threads(1)
    model = published_model(FULL, random_state_dict(FULL, FULL_SEED))

    def run(features):
        with torch.inference_mode():
            outputs = model(torch.from_numpy(features))
        return [(exit_, out.numpy()) for exit_, out in enumerate(outputs, start=1)]

    return run, {"torch": torch.__version__}


def serve(kind: str, frames: int, outputs: str) -> None:
    """Answer each line on stdin with the seconds that each exit was reached after."""
    run, about = torch_peer() if kind == "torch" else encoder_peer(kind)
    features = random_features(frames, 3)
    np.save(outputs, np.stack([log_probs for _, log_probs in run(features)]))
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        start, seconds = time.perf_counter(), []
        for _ in run(features):
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


# In the first process.


class Peer:
    """A peer's process."""

    def __init__(self, kind: str, frames: int, folder: str):
        self.outputs = f"{folder}/{kind}.npy"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind, str(frames), self.outputs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **ONE_THREAD},
        )
        self.about = self._answer()
        self.runs: list[list[float]] = []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("forward.py: a peer ended early (its error is above)")
        return json.loads(line)

    def run(self) -> list[float]:
        """Seconds until each exit of one more run."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compiler() -> str:
    """The compiler that made the C library, from the comment it leaves there."""
    from ee_ref import native

    for library in Path(native.__file__).parent.glob("_kernels*"):
        found = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", library.read_bytes())
        if found:
            return found[0].decode()
    return "unknown"


def cpu() -> str:
    """The CPU's name for itself, where the system tells."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = re.findall(r"model name\s*: (.*)", info)
    return names[0] if names else platform.machine()


def commit() -> str:
    """Git's name for the checkout, "+" added when it has changes."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    done = subprocess.run(describe, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def milliseconds(values) -> float:
    return round(1e3 * median(values), 2)


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratio of runs that followed each other."""
    ratios = [a / b for a, b in zip(above, below)]
    low, middle, high = quantiles(ratios, n=4)
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}


def measure(kinds: list[str], seconds: float, runs: int) -> None:
    """Print the JSON lines."""
    frames = 1 + round(100 * seconds)
    common = {"benchmark": "forward", "seconds": seconds, "mel_frames": frames, "threads": 1,
              "runs": runs, "cpu": cpu(), "load": round(os.getloadavg()[0], 1),
              "commit": commit(), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        peers = {kind: Peer(kind, frames, folder) for kind in kinds}
        for count in range(WARM_UP + runs):
            for peer in peers.values():
                times = peer.run()
                if count >= WARM_UP:
                    peer.runs.append(times)
        for peer in peers.values():
            peer.close()
        outputs = {kind: np.load(peer.outputs) for kind, peer in peers.items()}

    lasts = {kind: [times[-1] for times in peer.runs] for kind, peer in peers.items()}
    for kind, peer in peers.items():
        low, _, high = quantiles(lasts[kind], n=4)
        line = {**common, "peer": kind, **peer.about,
                "quartiles_ms": [round(1e3 * low, 2), round(1e3 * high, 2)],
                "least_ms": round(1e3 * min(lasts[kind]), 2)}
        if kind == "torch":
            line["exit_ms"] = [None] * (FULL.exits - 1) + [milliseconds(lasts[kind])]
        else:
            line["exit_ms"] = [milliseconds(times) for times in zip(*peer.runs)]
        print(json.dumps(line))
    for kind in kinds:
        if kind != "torch":
            first = [times[0] for times in peers[kind].runs]
            print(json.dumps({**common, "ratio": f"{kind}: exit 1 / exit {FULL.exits}",
                              **ratio(first, lasts[kind])}))
        if kind != kinds[0]:
            difference = float(np.abs(outputs[kinds[0]] - outputs[kind]).max())
            print(json.dumps({**common, "ratio": f"{kinds[0]} / {kind}",
                              **ratio(lasts[kinds[0]], lasts[kind]),
                              "largest_difference_of_log_probs": float(f"{difference:.2g}")}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="length of the audio")
    parser.add_argument("--runs", type=int, default=15, help="of each peer, after a warm-up")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["native", "torch"])
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        kind, frames, outputs = arguments.serve
        serve(kind, int(frames), outputs)
    elif arguments.runs < 2:
        parser.error("--runs: expected at least 2")
    else:
        measure(arguments.peers, arguments.seconds, arguments.runs)


if __name__ == "__main__":
    main()
