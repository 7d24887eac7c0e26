"""What is around the encoder: front end, start of a process, opening a file, many small files.

    python benchmarks/around.py --runs 30                       # all of them, JSON lines
    python benchmarks/around.py front_end --runs 30

Each result is a ratio of two things done in turn, counted in CPU time: of one thread, and of a cold
start of the whole process. Only many small files, on two threads, are counted in wall time.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Line, emit, have, load, machine, model_path, parser_of, ratio
from process import run_python, time_of_children

import ee_ref
from ee_ref.bench import DEMO, WARM_UP, demo_wav, spread
from ee_ref.loading import BUNDLED, bundled_model

SECONDS = 10.0
SMALL_FILES = 1000
MORE = 10
"""Times as many runs of what takes a millisecond, and so is at the mercy of what ran before it."""


# Front ends: of samples (N,) at 16 kHz, brought into the form that the front end takes, what makes
# log-mel features like those of `commands` of them.

Task = Callable[[], Any]


def native(samples: np.ndarray) -> Task:
    """In C."""
    return partial(ee_ref.load("commands").features, samples)


def plain(samples: np.ndarray) -> Task:
    """The float one of the NumPy backend."""
    from ee_ref.frontend import plain

    model = ee_ref.load("commands")
    mean, scale = (model.file.tensors[f"frontend.{name}"] for name in ("mean", "scale"))
    return partial(plain.extract, samples, model.config, mean, scale)


def torchaudio(samples: np.ndarray) -> Task:
    """torchaudio's MelSpectrogram and a logarithm."""
    import torch
    from torchaudio.transforms import MelSpectrogram

    torch.set_num_threads(1)
    config = ee_ref.load("commands").config
    mel = MelSpectrogram(
        config.sample_rate, config.n_fft, config.win_length, config.hop_length, n_mels=config.mels,
        pad=config.pad)

    waveform = torch.from_numpy(samples)

    def run() -> Any:
        with torch.inference_mode():
            return torch.log(mel(waveform) + config.log_floor)

    return run


def kaldi_native_fbank(samples: np.ndarray) -> Task:
    """Kaldi's filter bank, with the frames and the window of the others. Its binding takes samples
    as Python numbers, a list most quickly, and gives one frame a call."""
    from kaldi_native_fbank import FbankOptions, OnlineFbank

    config = ee_ref.load("commands").config
    options = FbankOptions()
    frames = options.frame_opts
    frames.samp_freq = config.sample_rate
    frames.frame_length_ms = 1000 * config.win_length / config.sample_rate
    frames.frame_shift_ms = 1000 * config.hop_length / config.sample_rate
    frames.window_type = "hann"
    frames.dither = frames.preemph_coeff = 0
    frames.remove_dc_offset = frames.snip_edges = False
    options.mel_opts.num_bins = config.mels
    numbers = samples.tolist()

    def run() -> Any:
        bank = OnlineFbank(options)
        bank.accept_waveform(config.sample_rate, numbers)
        bank.input_finished()
        return np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])

    return run


FRONT_ENDS = {"native": native, "plain": plain, "torchaudio": torchaudio,
              "kaldi-native-fbank": kaldi_native_fbank}


def front_end(runs: int) -> Iterator[Line]:
    """Each front end that is installed beside torchaudio's."""
    with io.BytesIO(demo_wav(SECONDS)) as wav:
        samples = ee_ref.audio.read(wav, 16000)
    made = {name: make(samples) for name, make in FRONT_ENDS.items()
            if name != "kaldi-native-fbank" or have("kaldi_native_fbank")}
    times = in_turn(made, MORE * runs)
    for name in made:
        yield {"benchmark": "front_end", "peer": name, "seconds": SECONDS, "runs": MORE * runs,
               **spread(times[name]), "by_torchaudio": ratio(times[name], times["torchaudio"]),
               **load()}


def utterance(runs: int) -> Iterator[Line]:
    """A file of the demo clip to words up to the first exit, beside that up to the last."""
    for name in BUNDLED:
        model = ee_ref.load(name)
        last = model.config.exits
        times = in_turn({exit_: partial(model.transcribe, DEMO, exit=exit_)
                         for exit_ in (1, last)}, MORE * runs)
        yield {"benchmark": "utterance", "model": name, "exit": 1, "of": last, "runs": MORE * runs,
               **spread(times[1]), "by_last": ratio(times[1], times[last]), **load()}


def opening(runs: int) -> Iterator[Line]:
    """Opening a model file, checksums and all, beside reading the file into memory once."""
    for path in (model_path("f32"), *map(bundled_model, BUNDLED)):
        times = in_turn({"open": partial(ee_ref.load, path), "read": path.read_bytes}, runs)
        yield {"benchmark": "opening", "file": path.name, "runs": runs,
               "file_mb": round(1e-6 * path.stat().st_size, 1), **spread(times["open"]),
               "by_read": ratio(times["open"], times["read"]), **load()}


def cold(runs: int) -> Iterator[Line]:
    """The command on the demo clip, beside importing NumPy and soundfile."""
    commands = {name: ["-m", "ee_ref", "transcribe", "--model", name, str(DEMO)]
                for name in BUNDLED}
    imports = ["-c", "import numpy, soundfile"]
    times = in_turn({name: partial(run_python, command)
                     for name, command in {**commands, "imports": imports}.items()},
                    runs, time_of_children)
    for name in BUNDLED:
        yield {"benchmark": "cold", "model": name, "runs": runs, **spread(times[name]),
               "by_imports": ratio(times[name], times["imports"]), **load()}


def small_files(runs: int) -> Iterator[Line]:
    """Many files of one second in one process, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, f"{number:04}.wav")) for number in range(SMALL_FILES)]
        for name in names:
            Path(name).write_bytes(demo_wav(1.0))
        for model in BUNDLED:
            command = ["-m", "ee_ref", "transcribe", "--model", model, "--threads", "2", *names]
            # A run takes a hundred times as long as one of the others.
            times = in_turn({model: partial(run_python, command)},
                            max(2, runs // 10), time.perf_counter)[model]
            yield {"benchmark": "small_files", "model": model, "threads": 2, "runs": len(times),
                   "files": SMALL_FILES, **spread(times),
                   "files_a_second": round(SMALL_FILES / (1e-3 * spread(times)["median_ms"])),
                   **load()}


def in_turn(tasks: Mapping[Any, Task], runs: int,
            clock: Callable[[], float] = time.process_time) -> dict[Any, list[float]]:
    """Seconds of each run of each task, one after another."""
    times: dict[Any, list[float]] = {name: [] for name in tasks}
    for count in range(WARM_UP + runs):
        for name, task in tasks.items():
            start = clock()
            task()
            if count >= WARM_UP:
                times[name].append(clock() - start)
    return times


MEASURED = {measure.__name__: measure
            for measure in (front_end, utterance, opening, cold, small_files)}


def apart(runs: int) -> list[Line]:
    """All of them, measured by a process of its own, since libraries read how many threads they may
    have when they are loaded; none without the packages that they need."""
    if not have("torchaudio", "soundfile"):
        return []
    done = subprocess.run([sys.executable, __file__, "--runs", str(runs)], check=True, text=True,
                          stdout=subprocess.PIPE)
    return [line for line in map(json.loads, done.stdout.splitlines())
            if line["benchmark"] != "machine"]


def main() -> None:
    # NumPy's and PyTorch's libraries read these when they are loaded.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one})
    parser = parser_of(__doc__, runs=20)
    parser.add_argument("what", nargs="*", metavar="WHAT",
                        help=f"default all: {', '.join(MEASURED)}")
    arguments = parser.parse_args()
    for name in arguments.what:
        if name not in MEASURED:
            parser.error(f"expected one of {', '.join(MEASURED)}, found {name}")
    emit([machine()])
    for name in arguments.what or MEASURED:
        emit(MEASURED[name](arguments.runs))


if __name__ == "__main__":
    main()
