"""Synthetic digits, digit strings, command words and wake phrases: what the data pack lacks.

    python synthesize.py --out SYNTH_DIR

Writes 16 kHz mono 16-bit WAV files and `synth.jsonl` (the same fields as the data pack's manifests)
with two programs that must be on the PATH: espeak-ng (formant voices: many accents and voice
variants) and flite (recorded diphone and clustergen voices). The draw is seeded, so a repeat gives
the same set.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from words import COMMANDS, DIGITS, OTHERS, WAKE

RATE = 16000
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd",
           "en-029", "en-us-nyc")
VARIANTS = ("", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7",
            "+m8", "+klatt", "+klatt2", "+klatt3", "+klatt4", "+croak", "+Alex", "+Annie", "+Andy",
            "+Denis", "+Diogo", "+Gene", "+Lee", "+linda", "+Marco", "+Mario", "+Michael", "+Mike",
            "+Tweaky", "+adam", "+anika", "+belinda", "+benjamin", "+boris", "+david", "+edward",
            "+grandma", "+grandpa", "+iven", "+john", "+max", "+norbert", "+pablo", "+pedro",
            "+quincy", "+steph", "+travis", "+zac")
FLITE_VOICES = ("awb", "rms", "slt", "kal16")
FLITE_SHARE = 0.25          # of the clips; four voices only, so a quarter is plenty
CLIPS_PER_TEXT = (          # (texts, clips of each)
    (DIGITS, 200),
    (COMMANDS, 36),
    (OTHERS, 45),
    (WAKE, 36),
)
DIGIT_STRINGS = 300


def espeak(text: str, rng: random.Random) -> tuple[np.ndarray, int, str]:
    """One utterance by a random espeak-ng voice. Returns (samples, rate, speaker)."""
    voice = rng.choice(ACCENTS) + rng.choice(VARIANTS)
    command = ["espeak-ng", "-v", voice, "-s", str(rng.randint(115, 205)),
               "-p", str(rng.randint(15, 90)), "--stdout", text.lower()]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    # Streamed WAV: the sizes in the header are placeholders, so the samples are read as raw.
    samples = np.frombuffer(wav[44:len(wav) // 2 * 2], "<i2").astype(np.float32) / 32768
    return samples, 22050, f"espeak-{voice}"


def flite(
    text: str, rng: random.Random, scratch: Path
) -> tuple[np.ndarray, int, str]:
    """One utterance by a random flite voice. Returns (samples, rate, speaker)."""
    voice = rng.choice(FLITE_VOICES)
    stretch = rng.uniform(0.75, 1.35)
    pitch = {"slt": 175, "kal16": 110, "awb": 120, "rms": 100}[voice] * rng.uniform(0.8, 1.3)
    subprocess.run(
        ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.2f}",
         "--setf", f"int_f0_target_mean={pitch:.0f}", "-t", text.lower(), "-o", str(scratch)],
        check=True)
    samples, rate = soundfile.read(io.BytesIO(scratch.read_bytes()), dtype="float32")
    return samples, rate, f"flite-{voice}"


def spoken_by(vocal_tract: float, samples: np.ndarray, rate: int) -> np.ndarray:
    """The samples at RATE, with a peak of 1, as if from a vocal tract longer by that factor.

    A slightly wrong rate moves formants and pitch together: another speaker.
    """
    samples = resample_poly(samples, round(RATE / 10 * vocal_tract), rate // 10)
    return samples / max(1e-3, np.abs(samples).max())


def write_manifest(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write a JSONL manifest, whole or not at all, and say how much there is."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
    temporary.replace(path)
    hours = sum(line["seconds"] for line in lines) / 3600
    print(f"{len(lines)} clips, {hours:.2f} h in {path.parent}")


def make(job: tuple[int, str, Path, int]) -> dict[str, Any]:
    """Synthesise one (number, text, out folder, seed) and return its manifest line."""
    number, text, out, seed = job
    rng = random.Random(f"{seed}-{number}")
    name = f"synth/{number:05d}.wav"
    path = out / name
    if rng.random() < FLITE_SHARE:
        samples, rate, speaker = flite(text, rng, path)
    else:
        samples, rate, speaker = espeak(text, rng)
    vocal_tract = rng.choice((0.85, 0.92, 1.0, 1.0, 1.09, 1.18))
    samples = spoken_by(vocal_tract, samples, rate) * 10 ** rng.uniform(-1.0, -0.1)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return {"id": f"synth-{number:05d}", "path": name, "text": text,
            "speaker": f"{speaker}-{vocal_tract}", "source": "synth", "licence": "generated",
            "seconds": round(len(samples) / RATE, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    (args.out / "synth").mkdir(parents=True, exist_ok=True)
    texts = [text for words, count in CLIPS_PER_TEXT for text in words for _ in range(count)]
    rng = random.Random(args.seed)
    texts += [" ".join(rng.choice(DIGITS) for _ in range(rng.randint(2, 6)))
              for _ in range(DIGIT_STRINGS)]
    jobs = [(number, text, args.out, args.seed) for number, text in enumerate(texts)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = list(pool.map(make, jobs))
    write_manifest(args.out / "synth.jsonl", lines)


if __name__ == "__main__":
    main()
