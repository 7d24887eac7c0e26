"""Makes the demo clip of the package: a synthetic voice says words that the bundled model knows.

    python demo.py --out ee_ref/assets/demo.wav

Needs flite on the PATH.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import soundfile

from ee_ref import audio
from recipe import MODEL

VOICE = "rms"
PHRASE = "Computer. Go forward. Nine. Stop."  # full stops: flite pauses at them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        subprocess.run(["flite", "-voice", VOICE, "-t", PHRASE, "-o", str(spoken)], check=True)
        samples = audio.read(spoken, MODEL.sample_rate)
    soundfile.write(args.out, samples, MODEL.sample_rate, subtype="PCM_16")
    print(f"{args.out}: {len(samples) / MODEL.sample_rate:.2f} s")


if __name__ == "__main__":
    main()
