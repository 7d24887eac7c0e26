"""The page of `ee-ref web`, served by a plain web server, in a headless Chromium."""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import ee_ref
from ee_ref import web
from tests.web.support import require_browser

HOUSE = Path(__file__).parent.parent / "phrases" / "house.phrases"


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


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder that `ee-ref web --phrases` writes."""
    folder = tmp_path_factory.mktemp("site") / "english"
    web.write(folder, ee_ref.load("english"), phrases=HOUSE)
    return folder


@pytest.fixture
def address(site) -> Iterator[str]:
    with served(site) as found:
        yield found


@pytest.fixture
def browser() -> Iterator[Callable[..., Any]]:
    """Starts a browser with these arguments; all end with the test."""
    require_browser()
    from selenium import webdriver

    with contextlib.ExitStack() as started:
        def start(*arguments: str, microphone: int = 0, clip: Path | None = None):
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which("chromium")
            for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                             "--window-size=900,1200", *arguments):
                options.add_argument(argument)
            if clip is not None:
                options.add_argument("--use-fake-device-for-media-stream")
                options.add_argument(f"--use-file-for-fake-audio-capture={clip}")
            # 1: allowed, 2: refused.
            options.add_experimental_option("prefs", {
                "profile.default_content_setting_values.media_stream_mic": microphone})
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            service = webdriver.ChromeService(shutil.which("chromedriver"))
            driver = webdriver.Chrome(options, service)
            started.callback(driver.quit)
            driver.set_script_timeout(120)
            return driver
        yield start
