"""The page of `ee-ref web` in a headless Chromium: how soon there are words, beside native kernels.

    python benchmarks/browser.py --runs 9

The demo clip (3.3 s) goes through one stream at the last exit, in pieces of half a second, in turn
in the browser and here. Prints one line of JSON. In milliseconds of the clock: `page`, until the
page has its model, and `first_word` of the first stream after that; in milliseconds of CPU time:
`clip`, there and here. `ratio` is that of each pair; all but the first word are medians. Needs
chromium, chromedriver and selenium.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("EE_REF_ISA", "avx2")

from common import parser_of

import ee_ref
from ee_ref import audio, web
from ee_ref.stream import LONG
from tests.web.support import SITE, chromium, served

KERNELS = ("portable", "simd128")
LOAD = "return document.documentElement.dataset.state === 'ready' && performance.now()"
OPEN = """
    const [done] = [...arguments].slice(-1);
    (async () => {
      const { Model, decode } = await import('./ee-ref.mjs');
      const kernels = `ee-ref-${arguments[0]}.wasm`;
      window.model = await Model.open('model.bin', { kernels });
      window.clip = await decode(new Uint8Array(arguments[1]), model.sampleRate);
    })().then(() => done(model.kernels));
"""
HEAR = """
    const begun = performance.now();
    const stream = model.stream({ exit: model.exits, view: arguments[0] });
    let first = null;
    const note = ({ events }) => {
      if (events.some((event) => event.text)) first ??= performance.now() - begun;
    };
    for (let at = 0; at < clip.length; at += 8000) note(stream.feed(clip.subarray(at, at + 8000)));
    note(stream.finish());
    return first;
"""


def native(model: ee_ref.Model, samples) -> float:
    """Milliseconds of CPU time of the same stream here."""
    begun = time.process_time()
    stream = model.stream(exit=model.config.exits, view=LONG)
    for at in range(0, len(samples), 8000):
        stream.feed(samples[at : at + 8000])
    stream.finish()
    return 1000 * (time.process_time() - begun)


def busy(driver) -> float:
    """Milliseconds of CPU time that the page's thread has taken."""
    metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def in_browser(driver) -> float:
    """Milliseconds of CPU time of the stream there."""
    before = busy(driver)
    driver.execute_script(HEAR, asdict(LONG))
    return busy(driver) - before


def loaded(driver, address: str) -> float:
    """Milliseconds from the beginning of the page to its model being there."""
    driver.get(address)
    while not (found := driver.execute_script(LOAD)):
        time.sleep(0.01)
    return found


def main() -> None:
    args = parser_of(__doc__, runs=9).parse_args()
    model = ee_ref.load("english")
    clip = Path(ee_ref.__file__).with_name("assets") / "demo.wav"
    samples = audio.read(clip, model.config.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        web.write(Path(folder) / "site", model)
        with served(Path(folder) / "site") as address, chromium() as driver:
            driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
            pages = [loaded(driver, address) for _ in range(args.runs)]
            first, clip_ms, ratio = {}, {}, {}
            for kernels in KERNELS:
                loaded(driver, address)
                driver.execute_async_script(OPEN, kernels, list(clip.read_bytes()))
                first[kernels] = driver.execute_script(HEAR, asdict(LONG))
                in_browser(driver)
                pairs = [(in_browser(driver), native(model, samples)) for _ in range(args.runs)]
                clip_ms[kernels] = [statistics.median(times) for times in zip(*pairs)]
                ratio[kernels] = statistics.median(there / here for there, here in pairs)
            version = driver.capabilities["browserVersion"]
    print(json.dumps({
        "benchmark": "browser", "chromium": version, "native": os.environ["EE_REF_ISA"],
        "bytes": {name: (SITE / f"ee-ref-{name}.wasm").stat().st_size
                  + (SITE / "ee-ref.mjs").stat().st_size for name in KERNELS},
        "page": statistics.median(pages), "first_word": first, "clip": clip_ms, "ratio": ratio,
        "load": os.getloadavg()[0],
    }))


if __name__ == "__main__":
    main()
