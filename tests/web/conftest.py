"""The page of `ee-ref web`, served by a plain web server, in a headless Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ee_ref
from ee_ref import web
from tests.web.support import chromium, require_browser, served

HOUSE = Path(__file__).parent.parent / "phrases" / "house.phrases"


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
    with contextlib.ExitStack() as started:
        def start(*arguments: str, microphone: int = 0, clip: Path | None = None):
            return started.enter_context(chromium(*arguments, microphone=microphone, clip=clip))

        yield start
