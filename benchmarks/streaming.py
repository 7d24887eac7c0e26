"""What a stream of hours takes, and what it hears: memory, time, word errors.

    python benchmarks/streaming.py --manifest dev.jsonl --hours 10

Recordings of the manifest, again and again in another order, with silence, noise or nothing between
them, go through one stream in one process: in pieces of --piece seconds. Its words are
compared with those of the recordings one by one, at the same exit. --speech: share of the time that
is speech; the rest is silence and noise. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ee_ref
from ee_ref import audio
from ee_ref.evaluation import manifest, scoring
from ee_ref.stream import LIVE, LONG, Chunks, Windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--source", help="only recordings of this source")
    parser.add_argument("--model", default="english")
    parser.add_argument("--exit", type=int, help="default: the last")
    parser.add_argument("--policy", help="an operating point, in place of an exit")
    parser.add_argument("--hours", type=float, default=0.1)
    parser.add_argument("--speech", type=float, default=0.7)
    parser.add_argument("--piece", type=float, default=0.1)
    parser.add_argument("--view", default="long", help="live, long, LEFT,HOP,AHEAD or CHUNK,LEFT")
    args = parser.parse_args()

    model = ee_ref.load(args.model)
    depth = {"policy": args.policy} if args.policy else {"exit": args.exit or model.config.exits}
    rate = model.config.sample_rate
    recordings = [recording for recording in manifest.read(args.manifest)
                  if args.source in (None, recording.fields.get("source"))]
    clips = [audio.read(recording.path, rate) for recording in recordings]

    begun = time.process_time()
    alone = [model.transcribe(clip, **depth).text for clip in clips]
    alone_rtf = (time.process_time() - begun) / (sum(map(len, clips)) / rate)

    stream = model.stream(view=view_of(args.view), **depth)
    draw, order = np.random.default_rng(20), []
    heard = tempfile.TemporaryFile("w+")  # not in memory, which is measured
    spent, first_minute, most = 0.0, 0, 0
    for piece in joined(
            clips, args.hours * 3600, args.speech, int(args.piece * rate), rate, draw, order):
        begun = time.process_time()
        events = stream.feed(piece)
        spent += time.process_time() - begun
        print(*(event.text for event in events if event.final), file=heard)
        if stream.seconds < 60:
            first_minute = resident()
        else:
            most = max(most, resident())
    print(*(event.text for event in stream.finish() if event.final), file=heard)
    heard.seek(0)
    words = {"stream": 0, "alone": 0, "all": 0}
    words["all"] = sum(len(recordings[n].text.split()) for n in order)
    words["alone"] = sum(errors(recordings[n].text, alone[n]) for n in order)
    words["stream"] = errors(" ".join(recordings[n].text for n in order), heard.read())
    print(json.dumps({
        "hours": stream.seconds / 3600, "real_time_factor": spent / stream.seconds,
        "alone_real_time_factor": alone_rtf, "growth_bytes": most - first_minute,
        "wer": 100 * words["stream"] / words["all"],
        "alone_wer": 100 * words["alone"] / words["all"],
        "multiply_accumulates_per_second": stream.work.multiply_accumulates / stream.seconds,
        "exits": [count / stream.work.rows for count in stream.work.exits]}))


def view_of(text: str) -> Windows | Chunks:
    if text in ("live", "long"):
        return {"live": LIVE, "long": LONG}[text]
    numbers = [int(part) for part in text.split(",")]
    return Windows(*numbers) if len(numbers) == 3 else Chunks(*numbers)


def joined(clips: list[np.ndarray], seconds: float, speech: float, size: int, rate: int,
           draw: np.random.Generator, order: list[int]) -> Iterator[np.ndarray]:
    """Pieces of so many seconds of clips, of which `order` gets the numbers."""
    done = 0
    while done < seconds * rate:
        for number in draw.permutation(len(clips)):
            if done >= seconds * rate:
                break
            clip = clips[number]
            gap = int(draw.uniform(0, 2 * len(clip) * (1 / speech - 1)))
            loud = draw.choice([0.0, 0.0, 0.001, 0.005])
            order.append(int(number))
            done += gap + len(clip)
            for start in range(0, gap, size):
                noise = loud * draw.standard_normal(min(size, gap - start))
                yield noise.astype(np.float32)
            for start in range(0, len(clip), size):
                yield clip[start : start + size]


def errors(expected: str, found: str) -> int:
    """Word errors."""
    return scoring.edit_distance(expected.split(), found.split())


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return 4096 * pages


if __name__ == "__main__":
    main()
