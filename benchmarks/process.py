"""What a fresh process costs: `ee-ref transcribe` from a cold start, memory of the full shape.

    python benchmarks/process.py --runs 10

Prints one JSON line for the cold start and one for the memory of each dtype.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from common import ROOT, Line, cache, emit, load, machine, model_path, parser_of

from ee_ref.bench import DEMO, spread

TRANSCRIBE = ["-m", "ee_ref", "transcribe", str(DEMO)]

# Prints the peak memory of a process that transcribes.
PEAK_OF_TRANSCRIBE = f"""
import sys
from ee_ref.cli import main
if main({["transcribe", str(DEMO)]!r}):
    sys.exit(1)
from ee_ref.bench import peak_memory
print(peak_memory())
"""

# Prints the peak of the interpreter with NumPy, read without importing more than that needs.
BASELINE = """
import numpy, pathlib, re
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]))
"""

# Prints the peak after each step of one utterance on the model file argv[1].
UTTERANCE = """
import json, sys
import ee_ref
from ee_ref.bench import demo_wav, peak_memory
import numpy as np
found = {}
model = ee_ref.load(sys.argv[1])
found["loaded"] = peak_memory()
rate = model.config.sample_rate
samples = np.frombuffer(demo_wav(float(sys.argv[2])), "<i2", offset=44).astype(np.float32) / 32768
features = model.features(samples)
found["features"] = peak_memory()
for out in model.exits(features):
    pass
found["exits"] = peak_memory()
found["file"] = model.file.size
print(json.dumps(found))
"""


def cold_start(runs: int) -> Iterator[Line]:
    """CPU time of the command on the demo clip, in turn with that of `import numpy` alone, and the
    peak memory. Modules are compiled, as pip leaves them."""
    commands = {"transcribe": TRANSCRIBE, "import_numpy": ["-c", "import numpy"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            start = time_of_children()
            run_python(command)
            if run:  # the first one compiles, and reads from the disk
                times[name].append(time_of_children() - start)
    peak = int(run_python(["-c", PEAK_OF_TRANSCRIBE]).split()[-1])
    yield {"benchmark": "cold_start", "command": "ee-ref transcribe demo.wav", "runs": runs,
           **spread(times["transcribe"]), "import_numpy": spread(times["import_numpy"]),
           "peak_mb": round(1e-6 * peak, 1), **load()}


def memory(seconds: float) -> Iterator[Line]:
    """Peak memory of the full shape above that of the interpreter with NumPy, MB (1e6 bytes); also
    the peak after loading and after the features. Nothing where /proc does not tell."""
    if not os.path.exists("/proc/self/status"):
        print("process.py: no memory without /proc", file=sys.stderr)
        return
    baseline = int(run_python(["-c", BASELINE]))
    for dtype in ("qs8", "f32"):
        command = ["-c", UTTERANCE, str(model_path(dtype)), repr(seconds)]
        found = json.loads(run_python(command))
        above = {name: round(1e-6 * (found[name] - baseline), 1)
                 for name in ("loaded", "features", "exits")}
        yield {"benchmark": "memory", "dtype": dtype, "seconds": seconds,
               "peak_mb": above["exits"], "after_load_mb": above["loaded"],
               "after_features_mb": above["features"],
               "file_mb": round(1e-6 * found["file"], 1),
               "baseline_mb": round(1e-6 * baseline, 1)}


def time_of_children() -> float:
    """CPU seconds of the processes that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_python(arguments: list[str]) -> str:
    """Output of a fresh interpreter in the source tree."""
    environment: dict[str, Any] = {
        **os.environ, "PYTHONPYCACHEPREFIX": str(cache() / "pycache"), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, *arguments], check=True, text=True, cwd=ROOT,
                          stdout=subprocess.PIPE, env=environment)
    return done.stdout


def main() -> None:
    arguments = parser_of(__doc__, runs=10, seconds=10).parse_args()
    emit([machine()])
    emit(cold_start(arguments.runs))
    emit(memory(arguments.seconds))


if __name__ == "__main__":
    main()
