"""Fixtures of the boards.

What is built lies in a temporary folder, or in EE_REF_BOARDS_OUT, so that a second run is quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.boards.support import ISAS, require_tools


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Compilers and emulators take minutes: all of this folder is slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def out(tmp_path_factory) -> Path:
    folder = os.environ.get("EE_REF_BOARDS_OUT")
    return Path(folder).resolve() if folder else tmp_path_factory.mktemp("ports")


@pytest.fixture(scope="session")
def settings(out) -> tuple[str, ...]:
    """Variables of make that every call takes."""
    return f"OUT={out}", f"PYTHON={sys.executable}"


@pytest.fixture(params=ISAS)
def board(request) -> str:
    require_tools(request.param)
    return request.param
