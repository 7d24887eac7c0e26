"""How fast a loaded model runs here: medians of every stage and exit (`ee-ref bench`).

`benchmarks/` measures with the same functions.
"""

from __future__ import annotations

import io
import os
import platform
import re
import time
import wave
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from . import audio as audio_stage
from .checks import check_count
from .clock import StageClock
from .errors import ArgumentError, shown_limit
from .info import native_status
from .model import Model
from .plan import multiply_accumulates

WARM_UP = 2
"""Runs before those that count."""

DEMO = Path(__file__).parent / "assets" / "demo.wav"


def measure(model: Model, seconds: float = 10.0, runs: int = 10,
            now: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Time `runs` utterances of `seconds` from the bytes of a WAV file to words.

    The demo clip is repeated to that length. now: what tells the time, in seconds: wall time, or
    `time.process_time` for CPU time. Returns plain types:
    seconds, runs, mel_frames, backend, peak_memory_bytes (of the process so far, None where the
    system does not tell);
    stages: {"audio", "features", "exit 1", ..., "decode": `spread`}, where an exit is the work from
    the exit before it;
    exits: for each, up to and including it: `exit`, `encoder` (a `spread`), `total_ms` (the medians
    of audio, features and decode added), `real_time_factor` (total_ms by the length of the audio),
    `gop_per_s` (two operations a multiply-accumulate, over the encoder's time).
    Raises ArgumentError for seconds that the model has no positions for, or fewer than 2 runs.
    """
    config = model.config
    macs = multiply_accumulates(config, seconds) if seconds > 0 else None
    if macs is None:
        raise ArgumentError(
            f"seconds: expected more than 0 and at most {shown_limit(config.max_seconds)}, "
            f"found {seconds:g}"
        )
    check_count("runs", runs, 2)
    wav = demo_wav(seconds)
    stages: dict[str, list[float]] = {}
    encoder: list[list[float]] = [[] for _ in range(config.exits)]
    for run in range(WARM_UP + runs):
        clock = StageClock(now)
        samples = audio_stage.read(io.BytesIO(wav), config.sample_rate)
        clock.lap("audio")
        features = model.features(samples)
        clock.lap("features")
        passed = model.run(features, clock=clock)
        model.decode(passed.out.log_probs)
        clock.lap("decode")
        if run >= WARM_UP:
            times = clock.timing()
            of_exits = {f"exit {number}": spent
                        for number, spent in enumerate(passed.encoder_seconds, start=1)}
            for stage, spent in {"audio": times["audio"], "features": times["features"],
                                 **of_exits, "decode": times["decode"]}.items():
                stages.setdefault(stage, []).append(spent)
            for values, reached in zip(encoder, accumulate(passed.encoder_seconds)):
                values.append(reached)
    around = sum(median(stages[stage]) for stage in ("audio", "features", "decode"))
    exits = []
    for number, (values, work) in enumerate(zip(encoder, macs), start=1):
        total = around + median(values)
        exits.append({
            "exit": number, "encoder": spread(values), "total_ms": milliseconds(total),
            "real_time_factor": round(total / seconds, 5),
            "gop_per_s": round(2e-9 * work / median(values), 2),
        })
    return {
        "seconds": seconds, "runs": runs, "mel_frames": len(features), "backend": model.backend,
        "stages": {stage: spread(values) for stage, values in stages.items()},
        "exits": exits, "peak_memory_bytes": peak_memory(),
    }


def demo_wav(seconds: float) -> bytes:
    """A WAV file of the demo clip, repeated or cut to `seconds`."""
    with wave.open(str(DEMO)) as demo:
        rate = demo.getframerate()
        clip = np.frombuffer(demo.readframes(demo.getnframes()), "<i2")
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.resize(clip, round(seconds * rate)).tobytes())
    return memory.getvalue()


def machine() -> dict[str, Any]:
    """The machine and the build: cpu, cores (that this process may use), isa and isas of the C
    library, compiler, python, numpy, system."""
    native = native_status()
    return {
        "cpu": cpu(), "cores": cores(), "isa": native.get("isa"), "isas": native.get("isas", []),
        "compiler": compiler(), "python": platform.python_version(), "numpy": np.__version__,
        "system": platform.system(),
    }


def cpu() -> str:
    """The name of the CPU, where the system tells it."""
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compiler() -> str | None:
    """The compiler that made the C library, by the comment it leaves there; None without one."""
    for library in sorted((Path(__file__).parent / "native").glob("_kernels*")):
        found = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", library.read_bytes())
        if found:
            return found[0].decode()
    return None


def peak_memory() -> int | None:
    """The most memory that this process has had resident, in bytes; None where it is unknown.

    The kernel's own count is preferred: that of getrusage starts at the peak of the parent process.
    """
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return 1024 * int(found[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds to four digits."""
    return float(f"{1e3 * seconds:.4g}")


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and least of two or more times, in milliseconds."""
    low, middle, high = quantiles(seconds, n=4, method="inclusive")
    return {"median_ms": milliseconds(middle),
            "quartiles_ms": [milliseconds(low), milliseconds(high)],
            "least_ms": milliseconds(min(seconds))}
