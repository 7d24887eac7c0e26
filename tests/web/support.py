"""Node and Chromium: each skipped where it is missing, with the reason; with
EE_REF_REQUIRE_BOARDS=1 in the environment, as in `.ci/web`, that is a failure."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ee_ref import web
from tests.boards.support import require

SITE = Path(web.__file__).parent
KERNELS = {"c": SITE / "ee-ref-portable.wasm", "simd128": SITE / "ee-ref-simd128.wasm"}
"""By their name in the module."""


def require_browser() -> None:
    require("chromium and chromedriver",
            all(shutil.which(name) for name in ("chromium", "chromedriver")))
    require("selenium", importlib.util.find_spec("selenium") is not None)


def node(do: str, **job: Any) -> Any:
    """What tests/web/module.mjs makes of a job; paths are given as they are."""
    require("node", shutil.which("node") is not None)
    job |= {"do": do, "module": (SITE / "ee-ref.mjs").as_uri()}
    done = subprocess.run(["node", str(Path(__file__).with_name("module.mjs"))], text=True,
                          input=json.dumps(job, default=str), capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Quiet(SimpleHTTPRequestHandler):
    """What `python -m http.server` answers, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(folder: Path, handler: type[SimpleHTTPRequestHandler] = Quiet) -> Iterator[str]:
    """The address of the folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0),
                                 functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def chromium(*arguments: str, microphone: int = 0, clip: Path | None = None) -> Iterator[Any]:
    """A headless browser with these arguments, as Selenium drives it.

    microphone: 1, pages may use it; 2, they may not; 0, nobody has said. clip: a WAV file that is
    spoken into it, over and over.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                     "--window-size=900,1200", *arguments):
        options.add_argument(argument)
    if clip is not None:
        options.add_argument("--use-fake-device-for-media-stream")
        options.add_argument(f"--use-file-for-fake-audio-capture={clip}")
    options.add_experimental_option(
        "prefs", {"profile.default_content_setting_values.media_stream_mic": microphone})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(120)
        yield driver
    finally:
        driver.quit()
